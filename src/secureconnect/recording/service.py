"""Recordings: who starts and stops them, what there is of a call, and how a film is fetched. Called by api.recordings.

The rules are in `calls.machine`: a recording begins and ends as part of its call. How films are made is in `recording.desk`.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.call import Call
from secureconnect.calls.commands import Command, StartRecording, StopRecording, Tick
from secureconnect.calls.members import Members
from secureconnect.calls.service import CallService
from secureconnect.clock import Clock
from secureconnect.errors import Conflict, Forbidden, NotFound, NotRecording, RecordingUnavailable, Unavailable
from secureconnect.ids import CallId, IdFactory, RecordingId, UserId
from secureconnect.keys import InternalKeys, Purpose
from secureconnect.recording.limits import RecordingLimits, Volume, require_room
from secureconnect.recording.links import is_good, signature_of
from secureconnect.recording.objects import NoSuchObject, ObjectStore, ObjectsUnavailable
from secureconnect.recording.record import Record, Status
from secureconnect.store import Database
from secureconnect.store import recordings as store
from secureconnect.store.idempotency import Idempotency, find_or_claim


class Link(Struct, frozen=True):
    """Where a film can be fetched until `expires_at`, by whoever has this."""

    url: str
    expires_at: datetime


class Recordings:
    """`trouble` is why nothing can be recorded here, None when it can. `keys` sign links, which live for `link_life`."""

    def __init__(
        self,
        *,
        calls: CallService,
        database: Database,
        ids: IdFactory,
        clock: Clock,
        objects: ObjectStore | None,
        keys: InternalKeys,
        link_life: timedelta,
        trouble: str | None,
        limits: RecordingLimits,
        volume: Volume,
    ) -> None:
        self._calls = calls
        self._database = database
        self._ids = ids
        self._clock = clock
        self._objects = objects
        self._keys = keys
        self._link_life = link_life
        self._trouble = trouble
        self._limits = limits
        self._volume = volume

    async def start(self, user_id: UserId, call_id: CallId, promise: Idempotency | None = None) -> tuple[Record, bool]:
        """The recording of this call from now on, and whether it has just begun.

        With a promise, a repeat gives the recording that the first request began, also when that was stopped meanwhile.
        Raises NotFound, CallEnded, NotJoined, RecordingUnavailable.
        """
        call = await self._calls.get(user_id, call_id)
        if self._trouble is not None:
            raise RecordingUnavailable(self._trouble)
        if call.recording is None:
            await self._require_room(user_id, call)
        fresh = self._ids.recording()
        earlier: Record | None = None

        async def make(connection: AsyncConnection, _members: Members) -> Command:
            nonlocal earlier
            known = await find_or_claim(connection, promise, fresh, self._clock.now())
            earlier = await store.load(connection, RecordingId(known)) if known is not None else None
            return StartRecording(user_id, fresh) if earlier is None else Tick()

        call = await self._calls.command(user_id, call_id, make)
        if earlier is not None:
            return earlier, False
        if call.recording is None:
            raise RecordingUnavailable
        record = await self._load(call.recording.recording_id)
        return record, record.recording_id == fresh

    async def _require_room(self, user_id: UserId, call: Call) -> None:
        fault = await asyncio.to_thread(self._volume.fault)
        if fault is not None:
            raise RecordingUnavailable(f"Nothing can be recorded now: {fault}.")
        limits = self._limits
        await self._database.read(lambda connection: require_room(connection, limits, call.conversation_id, user_id))

    async def stop(self, user_id: UserId, call_id: CallId) -> Record:
        """The recording that is over now, or was before: again is as good. Raises NotFound, NotJoined, NotRecording."""
        await self._calls.command(user_id, call_id, StopRecording(user_id))
        over = [record for record in await self._kept(call_id) if record.stopped_at is not None]
        if not over:
            raise NotRecording
        return over[0]

    async def of_call(self, user_id: UserId, call_id: CallId) -> list[Record]:
        """All of them, the newest first, for members. Raises NotFound."""
        await self._calls.get(user_id, call_id)
        return await self._kept(call_id)

    async def delete(self, user_id: UserId, call_id: CallId, recording_id: RecordingId) -> None:
        """Keep it no longer: by who started it, or the call. Raises NotFound, Forbidden; Conflict while its film is to come."""
        call = await self._calls.get(user_id, call_id)
        record = next((one for one in await self._kept(call_id) if one.recording_id == recording_id), None)
        if record is None:
            raise NotFound
        if user_id not in (record.started_by, call.caller_id):
            raise Forbidden("A recording is deleted by who started it, or by who started the call.")
        if record.status not in (Status.READY, Status.FAILED):
            raise Conflict("Its film is still to come: delete it then.")
        await self._database.transact(lambda connection: store.give_up(connection, recording_id, self._clock.now()))

    async def link_to(self, record: Record) -> Link | None:
        """Where its film can be fetched for a while; None when there is none. Raises Unavailable."""
        if record.object_name is None or record.status is not Status.READY or self._objects is None:
            return None
        expires_at = self._clock.now() + self._link_life
        if not self._objects.is_folder:
            try:
                return Link(await self._objects.link(record.object_name, self._link_life), expires_at)
            except ObjectsUnavailable as failure:
                raise Unavailable(f"The store of recordings does not answer: {failure}") from None
        expires = int(expires_at.timestamp())
        signature = signature_of(self._key_of(record.recording_id), record.recording_id, expires)
        path = f"/v1/calls/{record.call_id}/recordings/{record.recording_id}/film"
        return Link(f"{path}?expires={expires}&signature={signature}", expires_at)

    async def film(self, call_id: CallId, recording_id: RecordingId, expires: int, signature: str) -> Record:
        """The recording that a link leads to. Raises NotFound for any but a good one that has not expired."""
        if self._objects is None or not is_good(self._key_of(recording_id), recording_id, expires, signature, self._clock.now()):
            raise NotFound(EXPIRED)
        record = await self._load(recording_id)
        is_kept = record.kept_until is not None and record.kept_until > self._clock.now()
        if record.call_id != call_id or record.object_name is None or not is_kept:
            raise NotFound(EXPIRED)
        return record

    async def read(self, record: Record, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes of its film from `start` up to `end`. Raises NotFound, Unavailable, both before the first of them."""
        assert self._objects is not None
        assert record.object_name is not None
        pieces = self._objects.read(record.object_name, start, end)
        try:
            first = await anext(pieces)
        except NoSuchObject:
            raise NotFound(EXPIRED) from None
        except ObjectsUnavailable as failure:
            raise Unavailable(f"The store of recordings does not answer: {failure}") from None
        return _with(first, pieces)

    def _key_of(self, recording_id: RecordingId) -> bytes:
        return self._keys.of(Purpose.RECORDING_LINKS, recording_id)

    async def _kept(self, call_id: CallId) -> list[Record]:
        return await self._database.read(lambda connection: store.of_call(connection, call_id, self._clock.now()))

    async def _load(self, recording_id: RecordingId) -> Record:
        record = await self._database.read(lambda connection: store.load(connection, recording_id))
        if record is None:
            raise NotFound
        return record


async def _with(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


EXPIRED = "This link has expired, or never was one: ask for the call's recordings again."
