"""Readings on their way to the database: how many of a session, what waits while it is away, what is forgotten."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from secureconnect.calls.quality import Report
from secureconnect.calls.quality_log import KEPT_EVERY_SECONDS, REMEMBERED, WAITING_READINGS, QualityLog
from secureconnect.errors import Unavailable
from secureconnect.ids import CallId, IdFactory, SessionId, UserId
from secureconnect.store import Database, open_database
from secureconnect.store.quality import forget_readings
from secureconnect.store.schema import migrate
from tests.fakes.clock import ManualClock

pytestmark = pytest.mark.anyio

SESSION = SessionId(uuid4())
ADA = UserId(uuid4())


class World:
    """A log with its database, which may be away."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database = database
        self.clock = clock
        self.ids = IdFactory(clock.now_ms, lambda count: uuid4().bytes[:count])
        self.call_id: CallId = self.ids.call()
        self.heard: list[tuple[Report, float | None]] = []
        self.log = QualityLog(
            database=database, ids=self.ids, clock=clock, on_report=lambda report, mos: self.heard.append((report, mos))
        )

    def report(self, level: int, session_id: SessionId = SESSION) -> None:
        self.log.take(self.call_id, ADA, session_id, b'{"level":%d,"rtt_ms":40,"loss":0}' % level)

    async def levels(self) -> list[int | None]:
        """What is in the database, oldest first."""
        return [one.report.level for one in reversed(await self.log.of_call(self.call_id, before=None, limit=1000))]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    database = open_database(f"sqlite+aiosqlite:///{tmp_path / 'quality.sqlite3'}")
    await migrate(database)
    yield World(database, ManualClock())
    await database.close()


async def test_of_one_session_a_reading_is_kept_only_so_often(world: World) -> None:
    for level in (4, 3):
        world.report(level)  # at the same moment
    world.report(2, SessionId(uuid4()))
    world.clock.advance(KEPT_EVERY_SECONDS)
    world.report(1)
    await world.log.write()
    assert sorted(level for level in await world.levels() if level is not None) == [1, 2, 4]
    assert [report.level for report, _ in world.heard] == [4, 2, 1]


async def test_writing_does_not_make_a_session_talk_more_often(world: World) -> None:
    world.report(4)
    await world.log.write()
    world.report(3)
    await world.log.write()
    assert await world.levels() == [4]


async def test_what_was_written_comes_back_whole_and_in_pages(world: World) -> None:
    for level in (1, 2, 3):
        world.report(level)
        world.clock.advance(10)
    await world.log.write()
    newest, *_ = await world.log.of_call(world.call_id, before=None, limit=1)
    assert (newest.session_id, newest.user_id, newest.report) == (SESSION, ADA, Report(level=3, rtt_ms=40, loss=0))
    assert newest.mos == pytest.approx(4.38, abs=0.02)
    older = await world.log.of_call(world.call_id, before=newest.reading_id, limit=10)
    assert [one.report.level for one in older] == [2, 1]


async def test_while_the_database_is_away_the_newest_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object, **__: object) -> None:
        raise Unavailable

    with monkeypatch.context() as patch:
        patch.setattr(world.database, "transact", away)
        for number in range(WAITING_READINGS + 3):
            world.report(number % 5, SessionId(uuid4()))
        await world.log.write()
    await world.log.write()
    found = 0
    before = None
    while page := await world.log.of_call(world.call_id, before=before, limit=1000):
        found, before = found + len(page), page[-1].reading_id
    assert found == WAITING_READINGS
    await world.log.write()  # and is not written twice


async def test_old_calls_are_forgotten(world: World) -> None:
    world.report(4)
    await world.log.write()
    kept_until = world.clock.now() + REMEMBERED
    await world.database.transact(lambda connection: forget_readings(connection, kept_until - REMEMBERED))
    assert await world.levels() == [4]
    await world.database.transact(lambda connection: forget_readings(connection, kept_until + timedelta(seconds=1) - REMEMBERED))
    assert await world.levels() == []
