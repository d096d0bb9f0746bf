"""Recordings in the database: the SQL beside the function that runs it. Called by the modules of `recording`.

Whoever makes a film has its recording by lease, as a push is had: one that dies gives it back by doing nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.call import Call, Recording
from secureconnect.ids import CallId, ConversationId, NodeId, RecordingId, UserId
from secureconnect.recording.record import Record, Status
from secureconnect.store.tables import conversations, recordings

FAILURE_CHARS = 200


class Answer(Struct, frozen=True):
    """What one attempt came to: `changed` is the record with its film or its failure, None while it is tried again at `again`."""

    record: Record
    changed: Record | None = None
    again: datetime | None = None


async def begin(connection: AsyncConnection, call: Call, recording: Recording) -> None:
    """The call is being recorded from now on."""
    await connection.execute(
        insert(recordings).values(
            recording_id=recording.recording_id,
            call_id=call.call_id,
            conversation_id=call.conversation_id,
            started_by=recording.started_by,
            started_at=recording.started_at,
            status=Status.RECORDING,
            attempts=0,
        )
    )


async def stop(
    connection: AsyncConnection, recording_id: RecordingId, now: datetime, *, due_at: datetime, kept_until: datetime
) -> None:
    """It is over: its film may be made from `due_at` on."""
    values = {"status": Status.PROCESSING, "stopped_at": now, "due_at": due_at, "kept_until": kept_until}
    await connection.execute(update(recordings).where(_table.recording_id == recording_id).values(values))


async def of_call(connection: AsyncConnection, call_id: CallId, now: datetime) -> list[Record]:
    """Those of a call that are kept, the newest first."""
    is_kept = _table.kept_until.is_(None) | (_table.kept_until > now)
    query = select(recordings).where(_table.call_id == call_id, is_kept).order_by(_table.recording_id.desc())
    return [_record(row) for row in await connection.execute(query)]


async def live(connection: AsyncConnection) -> list[Record]:
    """Those that are being recorded now."""
    query = select(recordings).where(_table.status == Status.RECORDING, _table.stopped_at.is_(None))
    return [_record(row) for row in await connection.execute(query)]


async def count_live(connection: AsyncConnection) -> int:
    """How many are being recorded now."""
    query = select(func.count()).select_from(recordings)
    query = query.where(_table.status == Status.RECORDING, _table.stopped_at.is_(None))
    return int((await connection.execute(query)).scalar_one())


async def kept_bytes(connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId) -> tuple[int, int]:
    """How many bytes of films are kept of a conversation, and of those that a user started."""
    total = func.coalesce(func.sum(_table.bytes), 0)
    of_conversation = await connection.execute(select(total).where(_table.conversation_id == conversation_id))
    of_user = await connection.execute(select(total).where(_table.started_by == user_id))
    return int(of_conversation.scalar_one()), int(of_user.scalar_one())


async def give_up(connection: AsyncConnection, recording_id: RecordingId, now: datetime) -> None:
    """Keep it no longer: nobody is shown it from now on, and what there is of it is deleted soon."""
    await connection.execute(update(recordings).where(_table.recording_id == recording_id).values(kept_until=now))


async def load(connection: AsyncConnection, recording_id: RecordingId) -> Record | None:
    """The one with this id, also when it is kept no longer and not deleted yet."""
    row = (await connection.execute(select(recordings).where(_table.recording_id == recording_id))).first()
    return None if row is None else _record(row)


async def next_due(connection: AsyncConnection) -> datetime | None:
    """When there may next be a film to make."""
    moment: datetime | None = (await connection.execute(select(func.min(_table.due_at)))).scalar()
    return moment


async def claim(connection: AsyncConnection, owner: NodeId, now: datetime, *, until: datetime, limit: int) -> list[Record]:
    """Take up to `limit` of those that are due until then."""
    due = (
        select(_table.recording_id)
        .where(_table.due_at <= now)
        .order_by(_table.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True, of=recordings)
    )
    taken = await connection.execute(
        update(recordings)
        .where(_table.recording_id.in_(due))
        .values(lease_owner=owner, due_at=until, attempts=_table.attempts + 1)
        .returning(*recordings.c)
    )
    return [_record(row) for row in taken.all()]


async def renew(connection: AsyncConnection, records: Sequence[Record], owner: NodeId, until: datetime) -> None:
    """They are still under way: keep them until then, but for those that somebody else has taken in the meantime."""
    held = _table.recording_id.in_([record.recording_id for record in records]), _table.lease_owner == owner
    await connection.execute(update(recordings).where(*held).values(due_at=until))


async def write_down(connection: AsyncConnection, answers: Sequence[Answer], owner: NodeId) -> list[Record]:
    """Close those that are done, give back those that are tried again, but for what somebody else has taken in the meantime.

    Those that were closed.
    """
    closed = []
    for answer in answers:
        held = _table.recording_id == answer.record.recording_id, _table.lease_owner == owner
        values: dict[str, Any] = {"lease_owner": None, "due_at": None if answer.changed is not None else answer.again}
        if answer.changed is not None:
            values |= _film(answer.changed)
        written = await connection.execute(update(recordings).where(*held).values(values))
        if answer.changed is not None and written.rowcount:
            closed.append(answer.changed)
    return closed


async def release(connection: AsyncConnection, now: datetime, owner: NodeId | None = None) -> None:
    """This node, or with None no node at all, is making films any more: what it had is due."""
    owned = _table.lease_owner.is_not(None) if owner is None else _table.lease_owner == owner
    await connection.execute(update(recordings).where(owned).values(lease_owner=None, due_at=now))


async def outlived(connection: AsyncConnection, now: datetime, limit: int) -> list[Record]:
    """Those that are kept no longer: their time is over, or their conversation was deleted."""
    deleted = select(conversations.c.conversation_id).where(conversations.c.deleted_at.is_not(None))
    is_over = (_table.kept_until <= now) | _table.conversation_id.in_(deleted)
    query = select(recordings).where(is_over, _table.due_at.is_(None), _table.stopped_at.is_not(None)).limit(limit)
    return [_record(row) for row in await connection.execute(query)]


async def forget(connection: AsyncConnection, recording_id: RecordingId) -> None:
    """There was no such recording."""
    await connection.execute(delete(recordings).where(_table.recording_id == recording_id))


def _film(record: Record) -> dict[str, Any]:
    return {
        "status": record.status,
        "seconds": record.seconds,
        "bytes": record.bytes,
        "content_type": record.content_type,
        "object_name": record.object_name,
        "failure": record.failure and record.failure[:FAILURE_CHARS],
    }


def _record(row: Row[Any]) -> Record:
    return Record(
        recording_id=RecordingId(row.recording_id),
        call_id=CallId(row.call_id),
        conversation_id=ConversationId(row.conversation_id),
        started_by=UserId(row.started_by),
        started_at=row.started_at,
        status=Status(row.status),
        stopped_at=row.stopped_at,
        seconds=row.seconds,
        bytes=row.bytes,
        content_type=row.content_type,
        object_name=row.object_name,
        failure=row.failure,
        kept_until=row.kept_until,
        attempts=row.attempts,
    )


_table = recordings.c
