"""The servers that scenarios play on, and people at them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from secureconnect.push.vapid import new_private_key
from tests.cluster import Cluster, running_cluster
from tests.fakes import tabs
from tests.fakes.people import World
from tests.fakes.server import ServerProcess

on_one_and_on_many = pytest.mark.parametrize("place", ["one node", "three nodes"], indirect=True)
"""What a scenario is marked with that must hold wherever it is played."""


@asynccontextmanager
async def serving(data_dir: Path, **settings: str) -> AsyncIterator[ServerProcess]:
    """A server without rate limits unless told otherwise. It must end well, and find no fault with itself until then."""
    server = ServerProcess(data_dir, **{"RATE_LIMITS": "off", **settings})
    await server.start()
    try:
        yield server
    finally:
        status = await server.stop()
    assert status == 0
    assert faults(server) == []


def faults(server: ServerProcess) -> list[dict[str, object]]:
    """What the server has logged as a fault of its own."""
    return [line for line in server.lines if line.get("level") in ("error", "critical")]


@pytest.fixture(scope="session")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Three nodes behind the gateway, for all who play on many."""
    wide = {"requests_per_subject": 100_000, "requests_per_address": 1_000_000, "connections_per_address": 10_000}
    folder = tmp_path_factory.mktemp("cluster")
    async with running_cluster(
        folder, gateway_limits=wide, RATE_LIMITS="off", WEBPUSH_HOSTS=tabs.HOSTS, VAPID_PRIVATE_KEY=new_private_key()
    ) as cluster:
        yield cluster
    assert [faults(node) for node in cluster.nodes] == [[]] * len(cluster.nodes)


@pytest.fixture(scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """One for all who need nothing special of it; a module that does brings its own."""
    async with serving(tmp_path_factory.mktemp("data"), WEBPUSH_HOSTS=tabs.HOSTS) as server:
        yield server


@pytest.fixture
def place(request: pytest.FixtureRequest) -> tuple[str, Path | None]:
    """Where it is played, and the certificate to believe there: one node, or the gateway of three."""
    if getattr(request, "param", "one node") == "three nodes":
        cluster: Cluster = request.getfixturevalue("cluster")
        return cluster.url, cluster.gateway.certificate
    server: ServerProcess = request.getfixturevalue("server")
    return server.url, None


@pytest.fixture
async def world(place: tuple[str, Path | None]) -> AsyncIterator[World]:
    """People there."""
    world = World(*place)
    yield world
    await world.close()
