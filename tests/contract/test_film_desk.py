"""From what an SFU has written to a film, and to the day it is deleted. The programs that make films are real."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from msgspec.structs import replace

from secureconnect.bus import Entry, user_topic
from secureconnect.bus.memory import MemoryBus
from secureconnect.calls.call import Recording
from secureconnect.ids import NodeId, RecordingId, UserId
from secureconnect.push import Retry, Verdict
from secureconnect.recording.desk import STILL_SECONDS, WORTH_TRYING, FilmDesk
from secureconnect.recording.objects import NoSuchObject, ObjectStore, ObjectsUnavailable
from secureconnect.recording.record import Record, Status
from secureconnect.store import Database, open_database
from secureconnect.store import recordings as store
from secureconnect.store import webhooks as webhook_store
from secureconnect.store.recordings import Answer
from secureconnect.store.schema import migrate
from secureconnect.webhooks import Webhook
from secureconnect.webhooks.delivery import Webhooks
from tests.contract.test_sfu import until
from tests.fakes import mjr
from tests.fakes.clock import ManualClock
from tests.unit.push.conftest import Switchboard

pytestmark = pytest.mark.anyio
KEPT = timedelta(days=30)
LENGTH = timedelta(seconds=1)


class Store(ObjectStore):
    """A folder that may be away."""

    is_away = False

    async def put(self, name: str, path: Path, content_type: str) -> None:
        if self.is_away:
            raise ObjectsUnavailable("nobody answers")
        await super().put(name, path, content_type)


class Nobody:
    """No application listens: what it would be told can be read."""

    async def send(self, webhook: Webhook) -> Verdict:
        return Retry("nobody listens")

    async def close(self) -> None: ...


class Workplace:
    """A desk, a database with one call, and what its members hear."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.clock = ManualClock()
        self.database = database
        self.written = folder / "written"
        self.objects = Store((folder / "films").as_uri())
        self.outcomes: list[str] = []
        self.told: list[str] = []
        self.bus = MemoryBus(self.clock)
        self.board = Switchboard(database, self.clock)
        self.desk = FilmDesk(
            database=database,
            bus=self.bus,
            clock=self.clock,
            node_id=NodeId(uuid4()),
            folder=self.written,
            scratch=folder / "scratch",
            objects=self.objects,
            on_outcome=self.outcomes.append,
            webhooks=Webhooks(
                database=database,
                ids=self.board.ids,
                clock=self.clock,
                node_id=NodeId(uuid4()),
                sender=Nobody(),
                on_outcome=lambda outcome: None,
            ),
        )

    async def recorded(self) -> Record:
        """A recording of one second that is over, in which somebody hummed."""
        ada, linus = await self.board.person("Ada"), await self.board.person("Linus")
        call = await self.board.ring(ada, linus)
        for user_id in (ada, linus):
            await self.bus.subscribe(user_topic(user_id), lambda entry, user_id=user_id: self._hear(entry, user_id))  # type: ignore[misc]
        recording = Recording(RecordingId(uuid4()), ada, self.clock.now())
        folder = self.written / str(recording.recording_id)
        folder.mkdir(parents=True)
        name = mjr.name_of(str(uuid4()), "audio", recording.started_at)
        mjr.write(folder / name, mjr.header("audio", "opus", "microphone", recording.started_at), mjr.tone(440, 1))
        self.clock.advance(LENGTH.total_seconds())
        now = self.clock.now()
        await self.database.transact(lambda connection: store.begin(connection, call, recording))
        await self.database.transact(
            lambda connection: store.stop(connection, recording.recording_id, now, due_at=now, kept_until=now + KEPT)
        )
        return await self.look(recording.recording_id)

    async def look(self, recording_id: RecordingId) -> Record:
        record = await self.database.read(lambda connection: store.load(connection, recording_id))
        assert record is not None
        return record

    async def attempt(self) -> tuple[Verdict, Answer]:
        """What the lane does with what is due."""
        due = await self.desk.next_due()
        now = self.clock.now()
        assert all(moment <= now for moment in due.values()), "nothing is due yet"
        (record,), _ = await self.desk.claim(now, now + timedelta(minutes=1), dict.fromkeys(due, 1), 1)
        sending = asyncio.create_task(self.desk.send(record))
        await until(lambda: self.clock.sleeping > 0, "the desk to look whether the files grow")
        self.clock.advance(STILL_SECONDS)
        verdict = await sending
        answer = self.desk.judge(record, verdict, now)
        await self.desk.record([answer])
        return verdict, answer

    async def application_hears(self) -> list[tuple[str, str | None]]:
        """The events, with their reasons."""
        events = await self.database.read(lambda connection: webhook_store.events_after(connection, None, 10))
        bodies = [msgspec.json.decode(event.body) for event in events]
        return [(body["type"], body["data"].get("reason")) for body in bodies]

    def _hear(self, entry: Entry, user_id: UserId) -> None:
        self.told.append(msgspec.json.decode(entry.body)["type"])


@pytest.fixture
async def workplace(tmp_path: Path) -> AsyncIterator[Workplace]:
    database = open_database(f"sqlite+aiosqlite:///{tmp_path / 'data.sqlite3'}")
    await migrate(database)
    yield Workplace(tmp_path, database)
    await database.close()


async def is_kept(workplace: Workplace, name: str) -> bool:
    try:
        return bool([piece async for piece in workplace.objects.read(name, 0, 1)])
    except NoSuchObject:
        return False


async def test_a_film_is_made_kept_told_of_and_what_it_was_made_of_is_deleted(workplace: Workplace) -> None:
    record = await workplace.recorded()
    await workplace.attempt()
    ready = await workplace.look(record.recording_id)
    assert (ready.status, ready.content_type, ready.failure) == (Status.READY, "audio/mp4", None)
    assert ready.seconds == pytest.approx(1.0, abs=0.1)
    assert ready.object_name is not None
    assert await is_kept(workplace, ready.object_name)
    assert workplace.told.count("recording.ready") == 2
    assert list(workplace.written.iterdir()) == []
    assert workplace.outcomes == ["ready"]
    assert await workplace.application_hears() == [("recording.ready", None)]
    assert await workplace.desk.next_due() == {}


async def test_of_what_another_has_taken_meanwhile_nothing_is_told_and_its_files_stay(workplace: Workplace) -> None:
    record = await workplace.recorded()
    now = workplace.clock.now()
    (record,), _ = await workplace.desk.claim(now, now + timedelta(minutes=1), {"": 1}, 1)
    later = now + timedelta(minutes=2)
    await workplace.database.transact(partial(store.claim, owner=NodeId(uuid4()), now=later, until=later, limit=1))
    made = replace(record, status=Status.READY, content_type="audio/mp4", object_name="late.mp4")
    await workplace.desk.record([Answer(record, made)])
    assert (await workplace.look(record.recording_id)).status is Status.PROCESSING
    assert (workplace.written / str(record.recording_id)).is_dir(), "the other makes the film of it"
    assert workplace.told.count("recording.ready") == 0
    assert await workplace.application_hears() == []


async def test_a_store_that_is_away_is_tried_again_for_a_day_and_nothing_is_deleted(workplace: Workplace) -> None:
    record = await workplace.recorded()
    workplace.objects.is_away = True
    verdict, answer = await workplace.attempt()
    assert isinstance(verdict, Retry)
    assert answer.again is not None
    assert (await workplace.look(record.recording_id)).status is Status.PROCESSING
    workplace.clock.advance((answer.again - workplace.clock.now()).total_seconds())
    workplace.objects.is_away = False
    await workplace.attempt()
    assert (await workplace.look(record.recording_id)).status is Status.READY
    assert workplace.outcomes == ["retried", "ready"]


async def test_after_a_day_it_has_failed_and_says_why(workplace: Workplace) -> None:
    record = await workplace.recorded()
    workplace.objects.is_away = True
    workplace.clock.advance(WORTH_TRYING.total_seconds())
    await workplace.attempt()
    failed = await workplace.look(record.recording_id)
    assert (failed.status, failed.failure) == (Status.FAILED, "nobody answers")
    assert (workplace.written / str(record.recording_id)).is_dir(), "what the SFU wrote can still be looked at"
    assert workplace.told.count("recording.ready") == 0
    assert await workplace.application_hears() == [("recording.failed", "nobody answers")]


async def test_what_is_still_being_written_is_left_alone(workplace: Workplace) -> None:
    record = await workplace.recorded()
    now = workplace.clock.now()
    (record,), _ = await workplace.desk.claim(now, now + timedelta(minutes=1), {"": 1}, 1)
    sending = asyncio.create_task(workplace.desk.send(record))
    await until(lambda: workplace.clock.sleeping > 0, "the desk to look whether the files grow")
    with next((workplace.written / str(record.recording_id)).iterdir()).open("ab") as file:
        file.write(b"more")
    workplace.clock.advance(STILL_SECONDS)
    assert await sending == Retry("an SFU still writes")


async def test_its_time_over_all_of_it_is_deleted(workplace: Workplace) -> None:
    record = await workplace.recorded()
    await workplace.attempt()
    ready = await workplace.look(record.recording_id)
    await workplace.desk.delete_old()
    assert await workplace.look(record.recording_id) == ready, "not before"
    workplace.clock.advance(KEPT.total_seconds())
    await workplace.desk.delete_old()
    assert await workplace.database.read(lambda connection: store.load(connection, record.recording_id)) is None
    assert ready.object_name is not None
    assert not await is_kept(workplace, ready.object_name)


async def test_what_is_given_up_is_shown_to_nobody_and_deleted_soon(workplace: Workplace) -> None:
    record = await workplace.recorded()
    await workplace.attempt()
    now = workplace.clock.now()
    await workplace.database.transact(lambda connection: store.give_up(connection, record.recording_id, now))
    assert await workplace.database.read(lambda connection: store.of_call(connection, record.call_id, now)) == []
    await workplace.desk.delete_old()
    assert await workplace.database.read(lambda connection: store.load(connection, record.recording_id)) is None


async def test_a_conversation_takes_its_recordings_along(workplace: Workplace) -> None:
    record = await workplace.recorded()
    await workplace.attempt()
    await workplace.board.chat.delete(record.started_by, record.conversation_id)
    await workplace.desk.delete_old()
    assert await workplace.database.read(lambda connection: store.load(connection, record.recording_id)) is None
