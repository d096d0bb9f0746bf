"""The outbox in the database: the SQL beside the function that runs it. Called by push.queue and push.outbox.

A push is claimed by lease: its `due_at` moves to where the lease ends, so a sender that dies gives it back by doing nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Select, delete, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.call import State
from secureconnect.ids import CallId, DeviceId, NodeId, UserId
from secureconnect.push import Attempt, Kind, Outcome, Provider, Push, Record
from secureconnect.store.devices import remove_address
from secureconnect.store.prepared import Prepared, given
from secureconnect.store.tables import call_participants, devices, pushes

REMEMBERED = timedelta(days=30)
"""How long it is known what became of a push."""
DETAIL_CHARS = 200
_payload = msgspec.json.Decoder(dict[str, str])
_history = msgspec.json.Decoder(tuple[Attempt, ...])


class Claim(msgspec.Struct, frozen=True):
    """`pushes` are to be sent now; `taken` also counts those that were closed because there was nothing left to send."""

    pushes: list[Push]
    taken: int


class Answer(msgspec.Struct, frozen=True):
    """What one attempt came to. `again`: when it is tried again, None when `outcome` is how it ended. `history` has it, too."""

    push: Push
    outcome: Outcome
    answered_at: datetime
    detail: str
    history: tuple[Attempt, ...]
    again: datetime | None = None


async def insert_pushes(connection: AsyncConnection, queued: Sequence[Push], now: datetime) -> None:
    """Keep them, due at once."""
    if not queued:
        return
    rows = [
        {
            "push_id": push.push_id,
            "call_id": push.call_id,
            "user_id": push.user_id,
            "device_id": push.device_id,
            "provider": push.provider,
            "service": push.service,
            "kind": push.kind,
            "payload": msgspec.json.encode(push.payload).decode(),
            "dedupe_key": f"{push.call_id}:{push.user_id}:{push.device_id}:{push.provider}:{push.kind}",
            "created_at": now,
            "expires_at": push.expires_at,
            "due_at": now,
            "attempts": 0,
        }
        for push in queued
    ]
    await _INSERT.run_each(connection, rows)


async def next_due(connection: AsyncConnection, provider: Provider) -> dict[str, datetime]:
    """When there may next be something to send by this provider, by service, the longest due first."""
    return {row.service: row.moment for row in await _NEXT_DUE.all(connection, provider=provider)}


async def claim(
    connection: AsyncConnection,
    provider: Provider,
    owner: NodeId,
    now: datetime,
    *,
    until: datetime,
    room: Mapping[str, int],
    limit: int,
) -> Claim:
    """Take due pushes until then: of each service as many as it has room for, `limit` in all.

    Those that must not be sent any more are closed instead of given out.
    """
    ids: list[UUID] = []
    for service, places in room.items():
        if len(ids) < limit:
            which = {"provider": provider, "service": service, "now": now, "limit": min(places, limit - len(ids))}
            ids += [row.push_id for row in await _TAKE.all(connection, **which, lease_owner=owner, until=until)]
    if not ids:
        return Claim([], 0)
    live, over = [], []
    for row in await _LOOK.all(connection, push_ids=ids):
        outcome = _over(row, now)
        if outcome is None:
            live.append(_push(row))
        else:
            over.append({"of": row.push_id, "owner": owner, "detail": "", "history": None, "done_at": now, "outcome": outcome})
    if over:
        await _FINISH.run_each(connection, over)
    return Claim(live, len(ids))


async def renew(connection: AsyncConnection, pushes: Sequence[Push], owner: NodeId, until: datetime) -> None:
    """They are still under way: keep them until then, but for those that somebody else has taken in the meantime."""
    await _RENEW.run(connection, push_ids=[push.push_id for push in pushes], owner=owner, until=until)


async def write_down(connection: AsyncConnection, answers: Sequence[Answer], owner: NodeId) -> None:
    """Close what was answered, or give it back, but for what somebody else has taken in the meantime.

    Addresses that are gone are forgotten.
    """
    ended = [
        _words(answer, owner) | {"done_at": answer.answered_at, "outcome": answer.outcome}
        for answer in answers
        if answer.again is None
    ]
    given_back = [_words(answer, owner) | {"due_at": answer.again} for answer in answers if answer.again is not None]
    if ended:
        await _FINISH.run_each(connection, ended)
    if given_back:
        await _POSTPONE.run_each(connection, given_back)
    for address in sorted({answer.push.address for answer in answers if answer.outcome is Outcome.GONE}):
        await remove_address(connection, address)


async def records_of(connection: AsyncConnection, call_id: CallId) -> list[Record]:
    """All pushes of a call, in the order they were queued."""
    query = select(pushes).where(pushes.c.call_id == call_id).order_by(pushes.c.push_id)
    return [_record(row) for row in await connection.execute(query)]


async def release(connection: AsyncConnection, now: datetime, owner: NodeId | None = None) -> None:
    """This node, or with None no node at all, is sending anything any more: what it had is due."""
    owned = pushes.c.lease_owner.is_not(None) if owner is None else pushes.c.lease_owner == owner
    await connection.execute(update(pushes).where(owned).values(lease_owner=None, due_at=now))


async def forget_old_pushes(connection: AsyncConnection, now: datetime) -> None:
    """What nobody will ask about any more."""
    await connection.execute(delete(pushes).where(pushes.c.done_at < now - REMEMBERED))


def _over(row: Any, now: datetime) -> Outcome | None:
    """Why it must not be sent any more, if so."""
    if row.kind == Kind.RING and row.state != State.RINGING:
        return Outcome.OVERTAKEN
    if row.expires_at <= now:
        return Outcome.EXPIRED
    return Outcome.GONE if row.address is None else None


def _words(answer: Answer, owner: NodeId) -> dict[str, Any]:
    kept = msgspec.json.encode(answer.history).decode() if answer.history else None
    return {"of": answer.push.push_id, "owner": owner, "detail": answer.detail[:DETAIL_CHARS], "history": kept}


def _record(row: Any) -> Record:
    return Record(
        user_id=UserId(row.user_id),
        device_id=DeviceId(row.device_id),
        provider=Provider(row.provider),
        kind=Kind(row.kind),
        created_at=row.created_at,
        expires_at=row.expires_at,
        attempts=row.attempts,
        history=_history.decode(row.history) if row.history else (),
        is_under_way=row.lease_owner is not None,
        done_at=row.done_at,
        outcome=Outcome(row.outcome) if row.outcome else None,
        detail=row.detail or "",
    )


def _push(row: Any) -> Push:
    return Push(
        push_id=row.push_id,
        call_id=CallId(row.call_id),
        user_id=UserId(row.user_id),
        device_id=DeviceId(row.device_id),
        provider=Provider(row.provider),
        kind=Kind(row.kind),
        payload=_payload.decode(row.payload),
        expires_at=row.expires_at,
        address=row.address,
        attempts=row.attempts,
        history=_history.decode(row.history) if row.history else (),
        queued_at=row.created_at,
        service=row.service,
    )


def _due() -> Select[tuple[UUID]]:
    """Those whose time has come and before which nothing is left to tell the same device about the same call: a cancel must not
    overtake its ring, whether that is on its way at another node or waits to be tried again.
    """
    mine, other = pushes.c, pushes.alias("other")
    same_device = (
        (other.c.call_id == mine.call_id)
        & (other.c.user_id == mine.user_id)
        & (other.c.device_id == mine.device_id)
        & (other.c.provider == mine.provider)
    )
    before_it = exists().where(same_device, other.c.push_id < mine.push_id, other.c.done_at.is_(None))
    return (
        select(mine.push_id)
        .where(mine.provider == given("provider"), mine.service == given("service"), mine.due_at <= given("now"), ~before_it)
        .order_by(mine.due_at, mine.push_id)
        .limit(given("limit"))
        .with_for_update(skip_locked=True, of=pushes)
    )


def _with_device_and_state() -> Select[Any]:
    mine, people = pushes.c, call_participants.c
    at_device = (
        (devices.c.user_id == mine.user_id) & (devices.c.device_id == mine.device_id) & (devices.c.provider == mine.provider)
    )
    return (
        select(pushes, devices.c.address, people.state)
        .outerjoin(devices, at_device)
        .outerjoin(call_participants, (people.call_id == mine.call_id) & (people.user_id == mine.user_id))
        .where(mine.push_id.in_(given("push_ids", many=True)))
        .order_by(mine.push_id)
    )


_held = (pushes.c.push_id == given("of"), pushes.c.lease_owner == given("owner"))
_INSERT = Prepared(insert(pushes))
_NEXT_DUE = Prepared(
    select(pushes.c.service, func.min(pushes.c.due_at).label("moment"))
    .where(pushes.c.provider == given("provider"), pushes.c.due_at.is_not(None))
    .group_by(pushes.c.service)
    .order_by("moment")
)
_TAKE = Prepared(
    update(pushes)
    .where(pushes.c.push_id.in_(_due()))
    .values(lease_owner=given("lease_owner"), due_at=given("until"), attempts=pushes.c.attempts + 1)
    .returning(pushes.c.push_id)
)
_RENEW = Prepared(
    update(pushes)
    .where(pushes.c.push_id.in_(given("push_ids", many=True)), pushes.c.lease_owner == given("owner"))
    .values(due_at=given("until"))
)
_LOOK = Prepared(_with_device_and_state())
_said = {"lease_owner": None, "detail": given("detail"), "history": func.coalesce(given("history"), pushes.c.history)}
_FINISH = Prepared(update(pushes).where(*_held).values(due_at=None, done_at=given("done_at"), outcome=given("outcome"), **_said))
_POSTPONE = Prepared(update(pushes).where(*_held).values(due_at=given("due_at"), **_said))
