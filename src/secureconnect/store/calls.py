"""Calls in the database: the SQL beside the function that runs it. Called by `calls.service` and, for lists, `chat.service`.

`save` names the version it read: of two who decide on the same call at the same moment, one is told to look again.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace
from sqlalchemy import Row, Select, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.call import Call, CallType, EndReason, Participant, Ring, RingEnd, Session, State, Status, due_at
from secureconnect.ids import CallId, ConversationId, DeviceId, NodeId, SessionId, UserId
from secureconnect.store.tables import call_participants, call_sessions, calls, nodes

FORGOTTEN = timedelta(hours=1)
"""A lease that ran out this long ago needs no row: its calls have been found."""
_IN = (State.JOINED, State.RECONNECTING)
_devices = msgspec.json.Decoder(tuple[DeviceId | None, ...])


async def load(connection: AsyncConnection, call_id: CallId) -> Call | None:
    """The call, or None."""
    return next(iter(await _assemble(connection, select(calls).where(calls.c.call_id == call_id))), None)


async def insert_call(connection: AsyncConnection, call: Call) -> Call:
    """Keep a new call; it comes back with its first version."""
    call = replace(call, version=1)
    await connection.execute(insert(calls).values(call_id=call.call_id, **_call_columns(call)))
    rows = [_participant_columns(call, position) for position in range(len(call.participants))]
    await connection.execute(insert(call_participants), rows)
    return call


async def save(connection: AsyncConnection, before: Call, after: Call) -> Call | None:
    """Keep `after` if the call is still as it was in `before`; None when somebody else was faster."""
    after = replace(after, version=before.version + 1)
    table = calls.c
    written = await connection.execute(
        update(calls).where(table.call_id == after.call_id, table.version == before.version).values(**_call_columns(after))
    )
    if written.rowcount != 1:
        return None
    known = {one.user_id: one for one in before.participants}
    for position, one in enumerate(after.participants):
        earlier = known.get(one.user_id)
        if earlier == one:
            continue
        await _save_participant(connection, _participant_columns(after, position), is_new=earlier is None)
        await _save_sessions(connection, after, earlier, one)
    return after


async def due(connection: AsyncConnection, now: datetime, limit: int) -> list[tuple[CallId, datetime]]:
    """Calls that time has something to do with, and since when; the longest overdue first."""
    query = select(calls.c.call_id, calls.c.due_at).where(calls.c.due_at <= now).order_by(calls.c.due_at).limit(limit)
    return [(CallId(row.call_id), row.due_at) for row in await connection.execute(query)]


async def next_due(connection: AsyncConnection) -> datetime | None:
    """When the next call is due."""
    query = select(calls.c.due_at).where(calls.c.due_at.is_not(None)).order_by(calls.c.due_at).limit(1)
    moment: datetime | None = (await connection.execute(query)).scalar()
    return moment


async def busy_among(connection: AsyncConnection, user_ids: Iterable[UserId]) -> set[UserId]:
    """Those of `user_ids` who are in a call now."""
    table = call_participants.c
    query = select(table.user_id).where(table.user_id.in_(list(user_ids)), table.state.in_(_IN))
    return {UserId(row.user_id) for row in await connection.execute(query)}


async def live_calls_in(connection: AsyncConnection, conversation_ids: Iterable[ConversationId]) -> dict[ConversationId, Call]:
    """The newest call that is not over, for each conversation that has one."""
    return {call.conversation_id: call for call in await all_live_calls_in(connection, conversation_ids)}


async def all_live_calls_in(connection: AsyncConnection, conversation_ids: Iterable[ConversationId]) -> list[Call]:
    """The calls of these conversations that are not over, the oldest first."""
    query = (
        select(calls)
        .where(calls.c.conversation_id.in_(list(conversation_ids)), calls.c.due_at.is_not(None))
        .order_by(calls.c.call_id)
    )
    return await _assemble(connection, query)


async def ringing_for(connection: AsyncConnection, user_id: UserId) -> list[Call]:
    """The calls that ring at this user now."""
    table = call_participants.c
    ringing = select(table.call_id).where(table.user_id == user_id, table.state == State.RINGING)
    return await _assemble(connection, select(calls).where(calls.c.call_id.in_(ringing)).order_by(calls.c.call_id))


async def history(
    connection: AsyncConnection,
    user_id: UserId,
    *,
    conversation_id: ConversationId | None,
    status: Status | None,
    before: UUID | None,
    limit: int,
) -> list[Call]:
    """The calls this user was in or rung for, newest first."""
    mine = call_participants.c
    query = (
        select(calls)
        .join(call_participants, mine.call_id == calls.c.call_id)
        .where(mine.user_id == user_id)
        .order_by(calls.c.call_id.desc())
        .limit(limit)
    )
    if conversation_id is not None:
        query = query.where(calls.c.conversation_id == conversation_id)
    if status is not None:
        query = query.where(calls.c.status == status)
    if before is not None:
        query = query.where(mine.call_id < before)
    return await _assemble(connection, query)


async def renew_lease(connection: AsyncConnection, node_id: NodeId, until: datetime) -> None:
    """This node lives at least until then."""
    await connection.execute(delete(nodes).where(nodes.c.lease_until < until - FORGOTTEN))
    renewed = await connection.execute(update(nodes).where(nodes.c.node_id == node_id).values(lease_until=until))
    if renewed.rowcount == 0:
        await connection.execute(insert(nodes).values(node_id=node_id, lease_until=until))


async def end_lease(connection: AsyncConnection, node_id: NodeId) -> None:
    """This node goes; what it held is for the others to find."""
    await connection.execute(delete(nodes).where(nodes.c.node_id == node_id))


async def end_all_leases(connection: AsyncConnection) -> None:
    """No node lives but the one that says so next."""
    await connection.execute(delete(nodes))


async def calls_of_lost_nodes(connection: AsyncConnection, now: datetime) -> list[tuple[CallId, NodeId]]:
    """Calls with a socket at a node whose lease has run out or was given back, with that node."""
    alive = select(nodes.c.node_id).where(nodes.c.lease_until > now)
    sessions = call_sessions.c
    query = (
        select(sessions.call_id, sessions.node_id)
        .where(sessions.node_id.is_not(None), sessions.node_id.not_in(alive))
        .distinct()
        .limit(500)
    )
    return [(CallId(row.call_id), NodeId(row.node_id)) for row in await connection.execute(query)]


async def _save_participant(connection: AsyncConnection, columns: dict[str, Any], *, is_new: bool) -> None:
    if is_new:
        await connection.execute(insert(call_participants).values(**columns))
        return
    table = call_participants.c
    key = (table.call_id == columns["call_id"]) & (table.user_id == columns["user_id"])
    await connection.execute(update(call_participants).where(key).values(**columns))


async def _save_sessions(connection: AsyncConnection, call: Call, before: Participant | None, after: Participant) -> None:
    known = {session.session_id: session for session in before.sessions} if before else {}
    for session in after.sessions:
        columns = {
            "device_id": session.device_id,
            "node_id": session.node_id,
            "generation": session.generation,
            "expires_at": session.expires_at,
        }
        key = session.session_id
        if known.pop(key, None) is None:
            row = columns | {"session_id": key, "call_id": call.call_id, "user_id": after.user_id}
            await connection.execute(insert(call_sessions).values(**row))
        else:
            await connection.execute(update(call_sessions).where(call_sessions.c.session_id == key).values(**columns))
    if known:
        await connection.execute(delete(call_sessions).where(call_sessions.c.session_id.in_(list(known))))


async def _assemble(connection: AsyncConnection, query: Select[Any]) -> list[Call]:
    """The calls a query finds, each with its people and their sessions, in three statements however many there are."""
    found = (await connection.execute(query)).all()
    if not found:
        return []
    ids = [row.call_id for row in found]
    people = call_participants.c
    sessions_by_person: dict[tuple[UUID, UUID], list[Session]] = {}
    for row in await connection.execute(
        select(call_sessions).where(call_sessions.c.call_id.in_(ids)).order_by(call_sessions.c.session_id)
    ):
        sessions_by_person.setdefault((row.call_id, row.user_id), []).append(_session(row))
    people_by_call: dict[UUID, list[Participant]] = {}
    for row in await connection.execute(
        select(call_participants).where(people.call_id.in_(ids)).order_by(people.call_id, people.position)
    ):
        sessions = sessions_by_person.get((row.call_id, row.user_id), ())
        people_by_call.setdefault(row.call_id, []).append(_participant(row, sessions))
    return [_call(row, people_by_call.get(row.call_id, [])) for row in found]


def _call_columns(call: Call) -> dict[str, Any]:
    return {
        "conversation_id": call.conversation_id,
        "call_type": call.call_type,
        "status": call.status,
        "end_reason": call.end_reason,
        "version": call.version,
        "caller_id": call.caller_id,
        "capacity": call.capacity,
        "created_at": call.created_at,
        "answered_at": call.answered_at,
        "ended_at": call.ended_at,
        "due_at": due_at(call),
    }


def _participant_columns(call: Call, position: int) -> dict[str, Any]:
    one = call.participants[position]
    ring = one.ring
    return {
        "call_id": call.call_id,
        "user_id": one.user_id,
        "position": position,
        "display_name": one.display_name,
        "state": one.state,
        "waiting": one.waiting,
        "devices": msgspec.json.encode(one.devices).decode(),
        "ring_deadline": one.ring_deadline,
        "grace_deadline": one.grace_deadline,
        "joined_at": one.joined_at,
        "left_at": one.left_at,
        "rang_at": ring and ring.began_at,
        "rang_waiting": ring and ring.waiting,
        "ring_end": ring and ring.end,
        "ring_ended_at": ring and ring.ended_at,
        "ring_device_id": ring and ring.device_id,
    }


def _call(row: Row[Any], participants: Sequence[Participant]) -> Call:
    return Call(
        call_id=CallId(row.call_id),
        conversation_id=ConversationId(row.conversation_id),
        call_type=CallType(row.call_type),
        status=Status(row.status),
        caller_id=UserId(row.caller_id),
        capacity=row.capacity,
        created_at=row.created_at,
        participants=tuple(participants),
        version=row.version,
        end_reason=EndReason(row.end_reason) if row.end_reason else None,
        answered_at=row.answered_at,
        ended_at=row.ended_at,
    )


def _participant(row: Row[Any], sessions: Sequence[Session]) -> Participant:
    return Participant(
        user_id=UserId(row.user_id),
        display_name=row.display_name,
        state=State(row.state),
        waiting=row.waiting,
        devices=_devices.decode(row.devices),
        sessions=tuple(sessions),
        ring_deadline=row.ring_deadline,
        grace_deadline=row.grace_deadline,
        joined_at=row.joined_at,
        left_at=row.left_at,
        ring=_ring(row) if row.rang_at else None,
    )


def _ring(row: Row[Any]) -> Ring:
    return Ring(
        began_at=row.rang_at,
        waiting=row.rang_waiting,
        end=RingEnd(row.ring_end) if row.ring_end else None,
        ended_at=row.ring_ended_at,
        device_id=DeviceId(row.ring_device_id) if row.ring_device_id else None,
    )


def _session(row: Row[Any]) -> Session:
    return Session(
        session_id=SessionId(row.session_id),
        device_id=DeviceId(row.device_id) if row.device_id else None,
        node_id=NodeId(row.node_id) if row.node_id else None,
        generation=row.generation,
        expires_at=row.expires_at,
    )
