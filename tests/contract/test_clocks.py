"""Nodes whose clocks are seconds apart, on one PostgreSQL: a ring that one begins and another ends is neither short nor long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from secureconnect.calls.timers import Timers
from secureconnect.clock import CorrectedClock, SystemClock
from secureconnect.ids import NodeId
from secureconnect.ops.timekeeping import Timekeeper
from secureconnect.store import Database, open_database
from secureconnect.store.probes import clock as time_there
from secureconnect.store.schema import migrate
from tests.contract.test_store import empty_postgres_database, postgres  # noqa: F401  (a fixture)
from tests.unit.push.conftest import Switchboard

pytestmark = pytest.mark.anyio
RING_SECONDS = 1.5


class WrongClock(SystemClock):
    """A machine's clock that nobody has set for a while."""

    def __init__(self, seconds: float) -> None:
        self._off = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return super().now() + self._off


@pytest.fixture
async def databases(postgres: str) -> AsyncIterator[list[Database]]:  # noqa: F811
    """Two nodes' pools."""
    async with empty_postgres_database(postgres) as url:
        databases = [open_database(url) for _ in range(2)]
        await migrate(databases[0])
        yield databases
        for database in databases:
            await database.close()


async def node(database: Database, seconds: float) -> Switchboard:
    """A node whose machine is wrong by so much, once it has compared the time."""
    clock = CorrectedClock(WrongClock(seconds))
    await Timekeeper(clock, lambda: database.read(time_there)).measure()
    return Switchboard(database, clock)


@asynccontextmanager
async def firing(board: Switchboard) -> AsyncIterator[None]:
    timers = Timers(service=board.calls, database=board.database, clock=board.clock, node_id=NodeId(uuid4()), on_lapse=lambda: None)
    await timers.start()
    running = asyncio.ensure_future(timers.run())
    yield
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(("rings", "fires"), [(7.0, -6.0), (-6.0, 7.0)], ids=["set ahead, fired behind", "set behind, fired ahead"])
async def test_a_ring_lasts_as_long_as_it_was_meant_to(databases: list[Database], rings: float, fires: float) -> None:
    caller, other = await node(databases[0], rings), await node(databases[1], fires)
    async with firing(other):
        ada, linus = await caller.person("Ada"), await caller.person("Linus")
        conversation = await caller.chat.create(ada, [linus])
        begun = caller.clock.monotonic()
        call = await caller.ring_in(conversation.conversation_id, ada, linus, seconds=RING_SECONDS)
        async with asyncio.timeout(RING_SECONDS + 5):  # six or seven seconds of skew would take longer
            while not call.over:
                await asyncio.sleep(0.02)
                call = await caller.calls.get(ada, call.call_id)
        assert caller.clock.monotonic() - begun >= RING_SECONDS - 0.1
    (_, callee) = call.participants
    assert callee.ring is not None
    assert callee.ring.ended_at is not None
    assert abs(callee.ring.ended_at - callee.ring.began_at - timedelta(seconds=RING_SECONDS)) <= timedelta(seconds=1)
