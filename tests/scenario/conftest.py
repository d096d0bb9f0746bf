"""A server of its own for each module of scenarios, and people at it."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes.people import World
from tests.fakes.server import ServerProcess


@pytest.fixture(scope="module")
async def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """`secureconnect serve` with the module's SETTINGS. It must end well, and have complained of nothing as its own fault."""
    settings: dict[str, str] = {"RATE_LIMITS": "off", **getattr(request.module, "SETTINGS", {})}
    server = ServerProcess(tmp_path_factory.mktemp("data"), **settings)
    await server.start()
    yield server
    status = await server.stop()
    assert status == 0
    assert not faults(server)


@pytest.fixture
async def world(server: ServerProcess) -> AsyncIterator[World]:
    world = World(server.url)
    yield world
    await world.close()


def faults(server: ServerProcess) -> list[dict[str, object]]:
    """What the server has logged as a fault of its own."""
    return [line for line in server.lines if line.get("level") in ("error", "critical")]
