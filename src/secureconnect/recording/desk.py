"""Films, made one at a time of what SFUs have written, put into the store and told of; and deleted when their time is over.

One lane, started by app at every node that sees the folder the SFUs write to. Any of them makes any film: one that dies in the
middle of it gives it back by doing nothing. What cannot be made now is tried again for a day, and the SFU's files stay meanwhile.
"""

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import structlog
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.bus import Bus, user_topic
from secureconnect.clock import Clock
from secureconnect.errors import ServiceError
from secureconnect.ids import NodeId, UserId, short
from secureconnect.ops.loops import keep_running
from secureconnect.push import Delivered, Refused, Retry, Verdict
from secureconnect.push.lane import Backoff, Lane
from secureconnect.recording import CannotCompose, Film, NothingRecorded
from secureconnect.recording.compose import compose
from secureconnect.recording.objects import ObjectStore, ObjectsUnavailable
from secureconnect.recording.record import Record, Status
from secureconnect.signaling.events import RecordingReady
from secureconnect.signaling.protocol import encode
from secureconnect.store import Database
from secureconnect.store import calls as call_store
from secureconnect.store import chat as chat_store
from secureconnect.store import recordings as store
from secureconnect.store.recordings import Answer
from secureconnect.webhooks.delivery import Webhooks

log = structlog.get_logger(__name__)

HERE = ""
"""All films are made at one place, one after the other: each may take all cores there are, and calls come first."""
SEND_SECONDS = 6 * 3600.0
LEASE = timedelta(seconds=30)
"""How long a film waits whose maker has died. Renewed while it is being made."""
BACKOFF = Backoff(10.0, 1800.0)
WORTH_TRYING = timedelta(days=1)
STILL_SECONDS = 1.0
"""Files that do not grow for so long are complete: what is said fills one many times a second."""
TIDYING_SECONDS = 600.0
BATCH = 50

OnOutcome = Callable[[str], None]


class _Made(Delivered, frozen=True, kw_only=True):
    """The film, as it lies in the store."""

    film: Film
    name: str


class FilmDesk:
    """`folder` is where SFUs write, `scratch` where films are made; `on_outcome` hears of attempts: ready, failed or retried."""

    name = "recording"

    def __init__(
        self,
        *,
        database: Database,
        bus: Bus,
        clock: Clock,
        node_id: NodeId,
        folder: Path,
        scratch: Path,
        objects: ObjectStore,
        on_outcome: OnOutcome,
        webhooks: Webhooks | None = None,
    ) -> None:
        self._database = database
        self._bus = bus
        self._clock = clock
        self._node_id = node_id
        self._folder = folder
        self._scratch = scratch
        self._objects = objects
        self._on_outcome = on_outcome
        self._webhooks = webhooks
        self._lane = Lane(self, clock, lease=LEASE, send_seconds=SEND_SECONDS, concurrency=1)

    async def start(self) -> None:
        """Nobody shares an SQLite file: what an earlier run was making there is due at once."""
        if not self._database.is_shared:
            await self._database.transact(partial(store.release, now=self._clock.now()), isolation="committed")

    async def run(self) -> None:
        """Until cancelled: make films, and delete what is kept no longer."""
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_running(self.name, self._lane.run))
            group.create_task(keep_running("old_recordings", self._tidy))

    async def stop(self) -> None:
        """Once nothing runs any more, give back what was under way."""
        give_back = partial(store.release, now=self._clock.now(), owner=self._node_id)
        await self._database.transact(give_back, isolation="committed")

    # The desk of the lane

    async def next_due(self) -> Mapping[str, datetime]:
        moment = await self._database.read(store.next_due)
        return {} if moment is None else {HERE: moment}

    async def claim(self, now: datetime, until: datetime, room: Mapping[str, int], limit: int) -> tuple[Sequence[Record], int]:
        work = partial(store.claim, owner=self._node_id, now=now, until=until, limit=min(room[HERE], limit))
        records = await self._database.transact(work, isolation="committed")
        return records, len(records)

    async def renew(self, records: Sequence[Record], until: datetime) -> None:
        work = partial(store.renew, records=records, owner=self._node_id, until=until)
        await self._database.transact(work, isolation="committed")

    def service_of(self, record: Record) -> str:
        return HERE

    async def send(self, record: Record) -> Verdict:
        """Make the film and put it into the store."""
        written = self._folder / str(record.recording_id)
        if not await asyncio.to_thread(self._folder.is_dir):
            return Retry(f"{self._folder} is not there")
        if not await asyncio.to_thread(written.is_dir):
            return Refused("nobody was recorded")
        before = await asyncio.to_thread(_bytes_in, written)
        await self._clock.sleep(STILL_SECONDS)
        if await asyncio.to_thread(_bytes_in, written) != before:
            return Retry("an SFU still writes")
        self._scratch.mkdir(parents=True, exist_ok=True)
        target = self._scratch / f"{record.recording_id}.mp4"
        try:
            film = await compose(written, target, record.started_at, record.stopped_at or self._clock.now())
            name = f"{record.call_id}/{record.recording_id}.mp4"
            await self._objects.put(name, film.path, film.content_type)
        except NothingRecorded as nothing:
            return Refused(str(nothing))
        except (CannotCompose, ObjectsUnavailable, OSError) as failure:
            return Retry(str(failure))
        finally:
            target.unlink(missing_ok=True)
        return _Made(film=film, name=name)

    def judge(self, record: Record, verdict: Verdict, sent_at: datetime) -> Answer:
        """Ready, failed for good, or tried again later."""
        now = self._clock.now()
        again = BACKOFF.again(verdict, record.attempts, now, (record.stopped_at or now) + WORTH_TRYING)
        match verdict:
            case _Made(film=film, name=name):
                changed: Record | None = replace(
                    record,
                    status=Status.READY,
                    seconds=film.seconds,
                    bytes=film.bytes,
                    content_type=film.content_type,
                    object_name=name,
                )
                word = "ready"
            case _ if again is not None:
                changed, word = None, "retried"
            case _:
                changed, word = replace(record, status=Status.FAILED, failure=verdict.detail), "failed"
        log.info(
            "recording",
            call=short(record.call_id),
            recording=short(record.recording_id),
            outcome=word,
            detail=verdict.detail,
            attempt=record.attempts,
            ms=round((now - sent_at).total_seconds() * 1000),
        )
        self._on_outcome(word)
        return Answer(record, changed, again)

    async def record(self, answers: Sequence[Answer]) -> None:
        """Write it down, then tell the members; what the SFUs wrote is needed no more once the film is there.

        Of what another node has taken meanwhile nothing is said, and its files stay: it makes the film of them.
        """

        async def work(connection: AsyncConnection) -> dict[Record, list[UserId]]:
            told = {}
            for record in await store.write_down(connection, answers, self._node_id):
                await self._tell_application(connection, record)
                if record.status is Status.READY:
                    members = await chat_store.members_of(connection, record.conversation_id)
                    told[record] = [member.user_id for member in members]
            return told

        ready = await self._database.transact(work, isolation="committed")
        if self._webhooks is not None:
            self._webhooks.wake()
        for record, members in ready.items():
            body = encode(RecordingReady(record.call_id, self._clock.now(), record.conversation_id, record.recording_id))
            for user_id in members:
                self._bus.publish(user_topic(user_id), body)
            await self._delete_written(record)

    async def _tell_application(self, connection: AsyncConnection, record: Record) -> None:
        call = await call_store.load(connection, record.call_id) if self._webhooks is not None else None
        if self._webhooks is not None and call is not None:
            now = self._clock.now()
            await self._webhooks.enqueue_recording(connection, call, record.recording_id, now, failure=record.failure)

    # What is kept no longer

    async def delete_old(self) -> None:
        """Some of what is kept no longer. Raises ServiceError, ObjectsUnavailable: then it is there the next time."""
        for record in await self._database.read(partial(store.outlived, now=self._clock.now(), limit=BATCH)):
            await self._delete(record)

    async def _tidy(self) -> None:
        while True:
            try:
                await self.delete_old()
            except (ServiceError, ObjectsUnavailable) as failure:
                log.warning("old recordings wait", reason=str(failure))
            await self._clock.sleep(TIDYING_SECONDS)

    async def _delete(self, record: Record) -> None:
        """The row last: while it is there, somebody comes back to what is left."""
        if record.object_name is not None:
            await self._objects.delete(record.object_name)
        await self._delete_written(record)
        await self._database.transact(partial(store.forget, recording_id=record.recording_id), isolation="committed")
        log.info("recording deleted", call=short(record.call_id), recording=short(record.recording_id))

    async def _delete_written(self, record: Record) -> None:
        folder = self._folder / str(record.recording_id)
        try:
            await asyncio.to_thread(shutil.rmtree, folder)
        except FileNotFoundError:
            return
        except OSError as failure:
            log.warning("recorded files not deleted", folder=str(folder), reason=str(failure))


def _bytes_in(folder: Path) -> int:
    """How much has been written there."""
    return sum(entry.stat().st_size for entry in folder.iterdir())
