"""Watches recordings while they run: stops one that is too long or too large, and silences a session that sends too much.

The call goes on; all who are in it hear why. Every node that reads the folder of recordings watches all of them: a recording is
stopped once, whoever sees it first. Run by app.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.commands import StopRecording
from secureconnect.calls.service import CallService
from secureconnect.clock import Clock
from secureconnect.errors import ServiceError
from secureconnect.ids import CallId, RecordingId, short
from secureconnect.recording.limits import RecordingLimits, StopReason, Volume
from secureconnect.recording.record import Record
from secureconnect.recording.tracks import NAME
from secureconnect.store import Database
from secureconnect.store import recordings as store

log = structlog.get_logger(__name__)

WATCH_SECONDS = 1.0
"""How often recordings are looked at: one query, and the sizes of the files of each."""
YOUNG_SECONDS = 10.0
TOLERATED_MULTIPLE = 2.0
"""A session that sends more than so many times what it may does not heed the SFU's requests (REMB) and is silenced."""
OFFENCES = 3
"""After so many of one call its recording is stopped: a client that lifts its silence does not fill the disk in steps."""

SilenceSession = Callable[[CallId, str], Awaitable[None]]


class _Seen(Struct):
    """What was there of a recording at the last look: bytes by session, when, and how often sessions sent too much."""

    sizes: dict[str, int]
    at: float
    offences: int = 0


class RecordingWatch:
    """Watches the recordings in `folder`. `silence` has the SFU forward and record nothing more of a session."""

    def __init__(
        self,
        *,
        database: Database,
        calls: CallService,
        clock: Clock,
        folder: Path,
        limits: RecordingLimits,
        silence: SilenceSession,
    ) -> None:
        self._database = database
        self._calls = calls
        self._clock = clock
        self._folder = folder
        self._limits = limits
        self._volume = Volume(folder, limits)
        self._silence = silence
        self._seen: dict[RecordingId, _Seen] = {}

    async def run(self) -> None:
        """Until cancelled: look at what is being recorded."""
        while True:
            try:
                await self.look()
            except ServiceError as failure:
                log.warning("recordings are not watched", reason=failure.detail)
            await self._clock.sleep(WATCH_SECONDS)

    async def look(self) -> bool:
        """Look at all recordings once; return whether there are any."""
        live = await self._database.read(store.live)
        self._seen = {record.recording_id: self._seen[record.recording_id] for record in live if record.recording_id in self._seen}
        if not live:
            return False
        disk_fault = await asyncio.to_thread(self._volume.fault)
        for record in live:
            sizes = await asyncio.to_thread(sizes_of, self._folder / str(record.recording_id))
            reason = StopReason.DISK if disk_fault is not None else await self._reason(record, sum(sizes.values()))
            if reason is None and await self._check_rates(record, sizes):
                reason = StopReason.BIT_RATE
            if reason is not None:
                log.warning("recording stopped", call=short(record.call_id), reason=str(reason), bytes=sum(sizes.values()))
                await self._calls.command_by_server(record.call_id, StopRecording(None, record.recording_id, str(reason)))
        return True

    async def _reason(self, record: Record, size: int) -> StopReason | None:
        limits = self._limits
        if (self._clock.now() - record.started_at).total_seconds() >= limits.seconds:
            return StopReason.LENGTH

        async def read(connection: AsyncConnection) -> tuple[int, int]:
            return await store.kept_bytes(connection, record.conversation_id, record.started_by)

        of_conversation, of_user = await self._database.read(read)
        if of_conversation + size >= limits.conversation_bytes or of_user + size >= limits.user_bytes:
            return StopReason.QUOTA
        return None

    async def _check_rates(self, record: Record, sizes: dict[str, int]) -> bool:
        """Silence sessions that have sent too much since the last look; return whether that was once too often."""
        now = self._clock.monotonic()
        seen = self._seen.get(record.recording_id)
        if seen is None:
            # A young one has written all of it since its start; what was there of an old one came at an unknown time.
            age = (self._clock.now() - record.started_at).total_seconds()
            seen = _Seen({}, now - age) if 0 < age < YOUNG_SECONDS else _Seen(sizes, now)
            self._seen[record.recording_id] = seen
        seconds = now - seen.at
        if seconds < WATCH_SECONDS / 2:
            return False
        allowed = self._limits.session_kbps * 1000 / 8 * TOLERATED_MULTIPLE * max(seconds, WATCH_SECONDS)
        for session_id, size in sizes.items():
            grown = size - seen.sizes.get(session_id, 0)
            if grown > allowed:
                seen.offences += 1
                kbps = round(grown * 8 / 1000 / seconds)
                log.warning("session silenced", call=short(record.call_id), session=short(session_id), kbps=kbps)
                await self._silence(record.call_id, session_id)
        seen.sizes, seen.at = sizes, now
        return seen.offences >= OFFENCES


def sizes_of(folder: Path) -> dict[str, int]:
    """Return how many bytes an SFU has written to a folder, by session. Blocks."""
    sizes: Counter[str] = Counter()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = NAME.fullmatch(entry.name)
                if name is not None:
                    sizes[name["session_id"]] += entry.stat(follow_symlinks=False).st_size
    except OSError:
        pass  # nothing is written yet, or a file went away
    return dict(sizes)
