"""The servers that scenarios play on, and people at them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.fakes.people import World
from tests.fakes.server import ServerProcess


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
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """One for all who need nothing special of it; a module that does brings its own."""
    async with serving(tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.fixture
async def world(server: ServerProcess) -> AsyncIterator[World]:
    world = World(server.url)
    yield world
    await world.close()
