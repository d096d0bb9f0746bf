"""Webhooks in the database: the SQL beside the function that runs it. Called by webhooks.delivery and by the commands.

An event is claimed by lease, as a push is. Within a call none is given out while an earlier one is not done.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct, json
from sqlalchemy import ColumnElement, Row, delete, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.ids import CallId, NodeId
from secureconnect.store.tables import webhook_events
from secureconnect.webhooks import Event, EventType, Kept, Webhook

REMEMBERED = timedelta(days=30)
"""How long an event can be asked for and sent again."""
WORTH_SENDING = timedelta(days=3)
"""How long an event is tried before it is given up."""
DETAIL_CHARS = 200
EXPIRED = "expired"


class Answer(Struct, frozen=True):
    """What one attempt came to. `again`: when it is tried again, None when `outcome` is how it ended."""

    event_id: UUID
    outcome: str
    answered_at: datetime
    detail: str
    again: datetime | None = None


async def insert_events(connection: AsyncConnection, events: Sequence[tuple[UUID, Event]], now: datetime) -> None:
    """Keep them under these ids, due at once."""
    rows = [
        {
            "event_id": event_id,
            "call_id": event.data.call_id,
            "sequence": event.data.sequence,
            "type": event.type,
            "body": json.encode(event).decode(),
            "created_at": now,
            "expires_at": now + WORTH_SENDING,
            "due_at": now,
            "attempts": 0,
        }
        for event_id, event in events
    ]
    await connection.execute(insert(webhook_events), rows)


async def last_sequence(connection: AsyncConnection, call_id: CallId) -> int | None:
    """The largest number among the events of a call."""
    query = select(func.max(webhook_events.c.sequence)).where(webhook_events.c.call_id == call_id)
    last: int | None = (await connection.execute(query)).scalar()
    return last


async def next_due(connection: AsyncConnection) -> datetime | None:
    """When there may next be something to send."""
    moment: datetime | None = (await connection.execute(select(func.min(webhook_events.c.due_at)))).scalar()
    return moment


async def claim(
    connection: AsyncConnection, owner: NodeId, now: datetime, *, until: datetime, limit: int
) -> tuple[list[Webhook], int]:
    """Take up to `limit` due events until then, and say how many they were with those that were given up instead."""
    mine, other = webhook_events.c, webhook_events.alias("other")
    before_it = exists().where(other.c.call_id == mine.call_id, other.c.sequence < mine.sequence, other.c.done_at.is_(None))
    due = (
        select(mine.event_id)
        .where(mine.due_at <= now, ~before_it)
        .order_by(mine.due_at, mine.event_id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=webhook_events)
    )
    taken = await connection.execute(
        update(webhook_events)
        .where(mine.event_id.in_(due))
        .values(lease_owner=owner, due_at=until, attempts=mine.attempts + 1)
        .returning(mine.event_id, mine.call_id, mine.type, mine.body, mine.expires_at, mine.attempts)
    )
    rows = taken.all()
    for row in rows:
        if row.expires_at <= now:
            await finish(connection, row.event_id, owner, now, outcome=EXPIRED)
    live = [
        Webhook(row.event_id, CallId(row.call_id), EventType(row.type), row.body.encode(), row.expires_at, row.attempts)
        for row in rows
        if row.expires_at > now
    ]
    return live, len(rows)


async def finish(
    connection: AsyncConnection, event_id: UUID, owner: NodeId, now: datetime, *, outcome: str, detail: str | None = None
) -> None:
    """It is done, unless somebody else has taken it in the meantime."""
    values = {"lease_owner": None, "due_at": None, "done_at": now, "outcome": outcome}
    if detail is not None:
        values["detail"] = detail[:DETAIL_CHARS]
    await connection.execute(update(webhook_events).where(*_held(event_id, owner)).values(values))


async def postpone(connection: AsyncConnection, event_id: UUID, owner: NodeId, until: datetime, detail: str) -> None:
    """Give it back, to be tried again from then on."""
    values = {"lease_owner": None, "due_at": until, "detail": detail[:DETAIL_CHARS]}
    await connection.execute(update(webhook_events).where(*_held(event_id, owner)).values(values))


async def renew(connection: AsyncConnection, webhooks: Sequence[Webhook], owner: NodeId, until: datetime) -> None:
    """They are still under way: keep them until then, but for those that somebody else has taken in the meantime."""
    table = webhook_events.c
    held = table.event_id.in_([webhook.event_id for webhook in webhooks]), table.lease_owner == owner
    await connection.execute(update(webhook_events).where(*held).values(due_at=until))


async def write_down(connection: AsyncConnection, answers: Sequence[Answer], owner: NodeId) -> None:
    """Close what was answered, or give it back."""
    for answer in answers:
        if answer.again is not None:
            await postpone(connection, answer.event_id, owner, answer.again, answer.detail)
        else:
            await finish(connection, answer.event_id, owner, answer.answered_at, outcome=answer.outcome, detail=answer.detail)


async def release(connection: AsyncConnection, now: datetime, owner: NodeId | None = None) -> None:
    """This node, or with None no node at all, is sending anything any more: what it had is due."""
    table = webhook_events.c
    owned = table.lease_owner.is_not(None) if owner is None else table.lease_owner == owner
    await connection.execute(update(webhook_events).where(owned).values(lease_owner=None, due_at=now))


async def events_after(connection: AsyncConnection, after: UUID | None, limit: int) -> list[Kept]:
    """At most `limit` events after the one of this id, or from the first that is remembered, in the order they were made."""
    query = select(webhook_events).order_by(webhook_events.c.event_id).limit(limit)
    if after is not None:
        query = query.where(webhook_events.c.event_id > after)
    return [_kept(row) for row in await connection.execute(query)]


async def send_again(connection: AsyncConnection, after: UUID | None, now: datetime, *, only_failed: bool = False) -> int:
    """Make what is done and after the event of this id due again; how many there are."""
    table = webhook_events.c
    query = update(webhook_events).where(table.done_at.is_not(None))
    if after is not None:
        query = query.where(table.event_id > after)
    if only_failed:
        query = query.where(table.outcome != "delivered")
    values = {"done_at": None, "outcome": None, "detail": None, "attempts": 0, "due_at": now, "expires_at": now + WORTH_SENDING}
    return (await connection.execute(query.values(values))).rowcount


async def forget_old_events(connection: AsyncConnection, now: datetime) -> None:
    """What nobody will ask about any more."""
    await connection.execute(delete(webhook_events).where(webhook_events.c.done_at < now - REMEMBERED))


def _held(event_id: UUID, owner: NodeId) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return webhook_events.c.event_id == event_id, webhook_events.c.lease_owner == owner


def _kept(row: Row[Any]) -> Kept:
    return Kept(
        event_id=row.event_id,
        call_id=CallId(row.call_id),
        type=EventType(row.type),
        body=row.body.encode(),
        created_at=row.created_at,
        attempts=row.attempts,
        done_at=row.done_at,
        outcome=row.outcome,
        detail=row.detail,
    )
