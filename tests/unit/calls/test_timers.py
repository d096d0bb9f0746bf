"""What the timers make of bad times: a database that was away, a call that cannot be handled, more due than one turn can do."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.service import CallService
from secureconnect.calls.timers import BATCH, LEASE, RENEWAL, Timers
from secureconnect.errors import Unavailable
from secureconnect.ids import CallId, NodeId
from secureconnect.store import Database, open_database
from secureconnect.store import calls as store
from secureconnect.store.schema import migrate
from secureconnect.store.tables import call_sessions, calls, conversations, users
from tests.fakes.clock import ManualClock

pytestmark = pytest.mark.anyio
HERE, THERE = NodeId(UUID(int=1)), NodeId(UUID(int=2))


class Calls:
    """The part of the call service that timers use; it notes what it is asked, and fails where it is told to."""

    def __init__(self) -> None:
        self.ticked: list[CallId] = []
        self.lost: list[NodeId] = []
        self.lapses: list[datetime] = []
        self.failing: dict[CallId, Exception] = {}

    async def tick(self, call_id: CallId) -> None:
        if call_id in self.failing:
            raise self.failing[call_id]
        self.ticked.append(call_id)

    async def node_lost(self, _call_id: CallId, node_id: NodeId) -> None:
        self.lost.append(node_id)


class SharedDatabase:
    """A database of many nodes, which a test may take away."""

    is_shared = True

    def __init__(self, database: Database) -> None:
        self.away = False
        self._database = database

    async def transact(self, work: object) -> object:
        return await self._answer(self._database.transact(work))  # type: ignore[arg-type]

    async def read(self, work: object) -> object:
        return await self._answer(self._database.read(work))  # type: ignore[arg-type]

    async def _answer(self, working: object) -> object:
        if self.away:
            working.close()  # type: ignore[attr-defined]
            raise Unavailable
        return await working  # type: ignore[misc]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SharedDatabase]:
    database = open_database(f"sqlite+aiosqlite:///{tmp_path / 'timers.sqlite3'}")
    await migrate(database)
    yield SharedDatabase(database)
    await database.close()


def timers_of(database: SharedDatabase, clock: ManualClock, calls: Calls, node_id: NodeId) -> Timers:
    return Timers(
        service=cast(CallService, calls),
        database=cast(Database, database),
        clock=clock,
        node_id=node_id,
        on_lapse=lambda: calls.lapses.append(clock.now()),
    )


async def insert_calls(database: SharedDatabase, clock: ManualClock, number: int) -> list[CallId]:
    """Calls that are due, the first with a socket at THERE."""
    now, user, conversation = clock.now(), uuid4(), uuid4()
    ids = [CallId(UUID(int=0xC0000 + one)) for one in range(number)]

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(insert(users).values(user_id=user, display_name="Ann", search_text="", created_at=now))
        talk = {"conversation_id": conversation, "created_by": user, "created_at": now, "last_activity_id": conversation}
        await connection.execute(insert(conversations).values(**talk))
        call = {"conversation_id": conversation, "call_type": "audio", "status": "active", "version": 1, "caller_id": user}
        call |= {"capacity": 4, "created_at": now}
        due = [{"call_id": one, "due_at": now - timedelta(seconds=1), **call} for one in ids]
        await connection.execute(insert(calls), due)
        session = {"session_id": uuid4(), "call_id": ids[0], "user_id": user, "node_id": THERE, "generation": 1}
        await connection.execute(insert(call_sessions).values(**session))
        await store.renew_lease(connection, THERE, now + LEASE)

    await database.transact(work)
    return ids


async def turns(clock: ManualClock, seconds: float) -> None:
    """Let time pass, second by second, with the timers asleep in between."""
    for _ in range(int(seconds)):
        await asleep(clock)
        clock.advance(1)
    await asleep(clock)


async def asleep(clock: ManualClock) -> None:
    async with asyncio.timeout(10):
        while not clock.sleeping:  # noqa: ASYNC110  (what is waited for happens in a thread of the database)
            await asyncio.sleep(0.001)


async def test_a_database_that_was_away_makes_no_node_lost(database: SharedDatabase) -> None:
    clock, calls = ManualClock(), Calls()
    await insert_calls(database, clock, 1)
    timers = timers_of(database, clock, calls, HERE)
    await timers.start()
    running = asyncio.create_task(timers.run())
    await turns(clock, 4)
    database.away = True
    await turns(clock, LEASE.total_seconds() + 5)
    database.away = False
    await turns(clock, RENEWAL.total_seconds())
    assert calls.lost == [], "the other node has not had its time to renew"
    await turns(clock, LEASE.total_seconds() + RENEWAL.total_seconds())
    assert set(calls.lost) == {THERE}, "it has had it, and did not"
    running.cancel()


async def test_a_newcomer_does_not_judge_at_once(database: SharedDatabase) -> None:
    clock, calls = ManualClock(), Calls()
    await insert_calls(database, clock, 1)
    clock.advance(60)
    await timers_of(database, clock, calls, HERE).start()
    assert calls.lost == []


async def test_a_call_that_cannot_be_handled_keeps_no_other_waiting(database: SharedDatabase) -> None:
    clock, calls = ManualClock(), Calls()
    bad, good = await insert_calls(database, clock, 2)
    calls.failing[bad] = AssertionError("a fault of ours")
    assert not await timers_of(database, clock, calls, HERE).fire_due()
    assert calls.ticked == [good]


async def test_one_turn_does_one_batch(database: SharedDatabase) -> None:
    clock, calls = ManualClock(), Calls()
    await insert_calls(database, clock, BATCH + 1)
    assert await timers_of(database, clock, calls, HERE).fire_due()
    assert len(calls.ticked) == BATCH


async def test_a_node_that_was_late_for_its_own_lease_is_told(database: SharedDatabase) -> None:
    """It was stopped, or the database was away: others may have taken it for lost."""
    clock, calls = ManualClock(), Calls()
    timers = timers_of(database, clock, calls, HERE)
    await timers.start()
    running = asyncio.create_task(timers.run())
    await turns(clock, 2 * LEASE.total_seconds())
    assert calls.lapses == [], "a lease that is renewed in time does not lapse"
    await asleep(clock)
    clock.advance(LEASE.total_seconds() + 1)
    await turns(clock, 1)
    assert len(calls.lapses) == 1
    await turns(clock, LEASE.total_seconds())
    assert len(calls.lapses) == 1, "once"
    running.cancel()
