"""Limits of recordings: when one is stopped, why, and which sessions are silenced."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from msgspec.structs import replace

from secureconnect.calls.call import Call, Recording
from secureconnect.calls.commands import StopRecording
from secureconnect.calls.service import CallService
from secureconnect.errors import RecordingUnavailable, Unavailable
from secureconnect.ids import CallId, RecordingId
from secureconnect.recording.limits import Disk, RecordingLimits, Volume, require_room
from secureconnect.recording.watch import OFFENCES, RecordingWatch, sizes_of
from secureconnect.store import Database, open_database
from secureconnect.store import recordings as store
from secureconnect.store.schema import migrate
from tests.fakes import mjr
from tests.fakes.clock import ManualClock
from tests.unit.push.conftest import Switchboard

pytestmark = pytest.mark.anyio
KBPS = 1000
LIMITS = RecordingLimits(
    seconds=3600,
    at_once=2,
    conversation_bytes=1_000_000,
    user_bytes=1_000_000,
    free_bytes=0,
    disk_share=1.0,
    session_kbps=KBPS,
)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = open_database(f"sqlite+aiosqlite:///{tmp_path / 'calls.sqlite3'}")
    await migrate(database)
    yield database
    await database.close()


class Studio:
    """A watch over a folder that a test fills, and what came of it."""

    def __init__(self, folder: Path, database: Database, limits: RecordingLimits = LIMITS) -> None:
        self.clock = ManualClock()
        self.database = database
        self.folder = folder
        self.stopped: list[tuple[CallId, StopRecording]] = []
        self.silenced: list[str] = []
        self.board = Switchboard(database, self.clock)
        self.watch = self.watching(limits)

    def watching(self, limits: RecordingLimits) -> RecordingWatch:
        calls = cast("CallService", self)
        return RecordingWatch(
            database=self.database, calls=calls, clock=self.clock, folder=self.folder, limits=limits, silence=self._silence
        )

    async def command_by_server(self, call_id: CallId, command: StopRecording) -> None:
        self.stopped.append((call_id, command))

    async def _silence(self, _call_id: CallId, session_id: str) -> None:
        self.silenced.append(session_id)

    async def record(self) -> tuple[Call, RecordingId]:
        ada, linus = await self.board.person("Ada"), await self.board.person("Linus")
        call = await self.board.ring(ada, linus)
        recording = Recording(RecordingId(uuid4()), ada, self.clock.now())
        await self.database.transact(lambda connection: store.begin(connection, call, recording))
        return call, recording.recording_id

    def write(self, recording_id: RecordingId, session_id: str, size: int, kind: Any = "video") -> None:
        folder = self.folder / str(recording_id)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / mjr.name_of(session_id, kind, self.clock.now().replace(microsecond=0))).open("ab") as file:
            file.write(b"\0" * size)

    @property
    def reasons(self) -> list[str | None]:
        return [command.reason for _, command in self.stopped]


@pytest.fixture
def studio(tmp_path: Path, database: Database) -> Studio:
    return Studio(tmp_path / "written", database)


async def test_nothing_is_looked_at_while_nothing_is_recorded(studio: Studio) -> None:
    assert not await studio.watch.look()


async def test_a_recording_ends_at_its_length(studio: Studio) -> None:
    call, recording_id = await studio.record()
    studio.clock.advance(3599)
    assert await studio.watch.look()
    assert studio.stopped == []
    studio.clock.advance(1)
    await studio.watch.look()
    assert studio.stopped == [(call.call_id, StopRecording(None, recording_id, "length"))]


@pytest.mark.parametrize("quota", ["conversation_bytes", "user_bytes"])
async def test_a_recording_ends_when_a_quota_is_used_up(studio: Studio, quota: str) -> None:
    _, recording_id = await studio.record()
    watch = studio.watching(replace(LIMITS, session_kbps=10**9, **{quota: 500_000}))
    studio.write(recording_id, str(uuid4()), 300_000)
    await watch.look()
    assert studio.reasons == []
    studio.write(recording_id, str(uuid4()), 200_000, "audio")
    await watch.look()
    assert studio.reasons == ["quota"]


@pytest.mark.parametrize("full", [{"free_bytes": 10**18}, {"disk_share": 0.0}])
async def test_a_recording_ends_when_the_disk_is_full(studio: Studio, full: dict[str, Any]) -> None:
    await studio.record()
    limits = replace(LIMITS, **full)
    await studio.watching(limits).look()
    assert studio.reasons == ["disk"]
    with pytest.raises(Unavailable, match="No call can be recorded"):
        await Volume(studio.folder, limits).ping()
    await Volume(studio.folder, LIMITS).ping()


def test_a_disk_is_judged_by_what_is_free_and_by_its_share() -> None:
    limits = replace(LIMITS, free_bytes=100, disk_share=0.9)
    assert Disk(10_000, 1_000).fault(limits) is None
    assert "more than 90% full" in (Disk(10_000, 999).fault(limits) or "")
    assert "free" in (Disk(500, 99).fault(limits) or "")


async def test_a_session_that_sends_a_multiple_is_silenced_and_others_are_not(studio: Studio) -> None:
    _, recording_id = await studio.record()
    watch = studio.watching(replace(LIMITS, conversation_bytes=10**12, user_bytes=10**12))
    eve, ada = str(uuid4()), str(uuid4())
    second = KBPS * 1000 // 8
    await watch.look()
    for _ in range(5):
        studio.clock.advance(1)
        studio.write(recording_id, ada, second)
        await watch.look()
    assert studio.silenced == []
    for number in range(OFFENCES):
        studio.clock.advance(1)
        studio.write(recording_id, ada, second)
        studio.write(recording_id, eve, 20 * second)
        assert studio.reasons == []
        await watch.look()
        assert studio.silenced == [eve] * (number + 1)
    assert studio.reasons == ["bit_rate"], "a client that lifts its silence each time does not fill the disk"


async def test_a_recording_is_refused_when_too_many_run_or_a_quota_is_used_up(studio: Studio) -> None:
    call, _ = await studio.record()

    async def fault(limits: RecordingLimits) -> str | None:
        try:
            await studio.database.read(lambda connection: require_room(connection, limits, call.conversation_id, call.caller_id))
        except RecordingUnavailable as refusal:
            return refusal.detail
        return None

    assert await fault(LIMITS) is None
    await studio.record()
    assert "2 calls are being recorded" in (await fault(LIMITS) or "")
    roomy = replace(LIMITS, at_once=10)
    assert await fault(roomy) is None
    assert "of this conversation" in (await fault(replace(roomy, conversation_bytes=0)) or "")
    assert "Your recordings" in (await fault(replace(roomy, user_bytes=0)) or "")


def test_only_what_an_sfu_writes_is_counted(tmp_path: Path) -> None:
    assert sizes_of(tmp_path / "none") == {}
    (tmp_path / "readme.txt").write_bytes(b"12345")
    assert sizes_of(tmp_path) == {}
