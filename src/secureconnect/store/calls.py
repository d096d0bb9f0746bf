"""Calls in the database: the SQL beside the function that runs it. Called by `calls.service` and, for lists, `chat.service`.

`save` names the version it read: of two who decide on the same call at the same moment, one is told to look again.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace
from sqlalchemy import ColumnElement, Select, Table, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.call import (
    Call,
    CallType,
    EndReason,
    Participant,
    Recording,
    Ring,
    RingEnd,
    Session,
    State,
    Status,
    Topology,
    Withholding,
    due_at,
)
from secureconnect.ids import CallId, ConversationId, DeviceId, MessageId, NodeId, RecordingId, SessionId, UserId
from secureconnect.store.prepared import Prepared, given
from secureconnect.store.tables import call_participants, call_sessions, calls, nodes
from secureconnect.store.visibility import sees_call

FORGOTTEN = timedelta(hours=1)
"""A lease that ran out this long ago needs no row: its calls have been found."""
_IN = (State.JOINED, State.RECONNECTING)
_devices = msgspec.json.Decoder(tuple[DeviceId | None, ...])


async def load(connection: AsyncConnection, call_id: CallId) -> Call | None:
    """The call, or None."""
    return next(iter(_assembled(await _LOAD.all(connection, call_id=call_id))), None)


async def insert_call(connection: AsyncConnection, call: Call, entry_id: MessageId | None = None) -> Call:
    """Keep a new call, which the timeline shows as `entry_id`; it comes back with its first version."""
    call = replace(call, version=1)
    await _INSERT_CALL.run(connection, call_id=call.call_id, entry_id=entry_id, **_call_columns(call))
    rows = [_participant_columns(call, position) for position in range(len(call.participants))]
    await _INSERT_PARTICIPANT.run_each(connection, rows)
    return call


async def save(connection: AsyncConnection, before: Call, after: Call) -> Call | None:
    """Keep `after` if the call is still as it was in `before`; None when somebody else was faster."""
    after = replace(after, version=before.version + 1)
    if await _UPDATE_CALL.run(connection, of=after.call_id, read=before.version, **_changing(_call_columns(after))) != 1:
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


async def live_calls_in(connection: AsyncConnection, conversation_ids: Iterable[ConversationId]) -> dict[ConversationId, Call]:
    """The newest call that is not over, for each conversation that has one."""
    return {call.conversation_id: call for call in await all_live_calls_in(connection, conversation_ids)}


async def all_live_calls_in(connection: AsyncConnection, conversation_ids: Iterable[ConversationId]) -> list[Call]:
    """The calls of these conversations that are not over, the oldest first."""
    query = select(calls).where(calls.c.conversation_id.in_(list(conversation_ids)), calls.c.due_at.is_not(None))
    return await _assemble(connection, query)


async def ringing_for(connection: AsyncConnection, user_id: UserId) -> list[Call]:
    """The calls that ring at this user now."""
    table = call_participants.c
    rings = (table.user_id == user_id) & (table.state == State.RINGING) & table.ring_withheld.is_(None)
    ringing = select(table.call_id).where(rings)
    return await _assemble(connection, select(calls).where(calls.c.call_id.in_(ringing), sees_call(user_id)))


async def history(
    connection: AsyncConnection,
    user_id: UserId,
    *,
    conversation_id: ConversationId | None,
    status: Status | None,
    before: UUID | None,
    limit: int,
) -> list[Call]:
    """The calls this user was in or rung for, of those the user may see, newest first."""
    mine = call_participants.c
    query = (
        select(calls)
        .join(call_participants, mine.call_id == calls.c.call_id)
        .where(mine.user_id == user_id, mine.ring_withheld.is_(None) | mine.joined_at.is_not(None), sees_call(user_id))
        .order_by(calls.c.call_id.desc())
        .limit(limit)
    )
    if conversation_id is not None:
        query = query.where(calls.c.conversation_id == conversation_id)
    if status is not None:
        query = query.where(calls.c.status == status)
    if before is not None:
        query = query.where(mine.call_id < before)
    return await _assemble(connection, query, newest_first=True)


async def sessions_of_device(connection: AsyncConnection, user_id: UserId, device_id: DeviceId) -> list[tuple[CallId, SessionId]]:
    """The sessions that this device of this user has, with their calls."""
    table = call_sessions.c
    query = select(table.call_id, table.session_id).where(table.user_id == user_id, table.device_id == device_id)
    return [(CallId(row.call_id), SessionId(row.session_id)) for row in await connection.execute(query)]


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


async def is_lost(connection: AsyncConnection, node_id: NodeId, now: datetime) -> bool:
    """Whether a node's lease has run out or was given back."""
    alive = select(nodes.c.node_id).where(nodes.c.node_id == node_id, nodes.c.lease_until > now)
    return (await connection.execute(alive)).first() is None


async def _save_participant(connection: AsyncConnection, columns: dict[str, Any], *, is_new: bool) -> None:
    if is_new:
        await _INSERT_PARTICIPANT.run(connection, **columns)
    else:
        key = {"of_call": columns["call_id"], "of_user": columns["user_id"]}
        await _UPDATE_PARTICIPANT.run(connection, **key, **_changing(columns))


async def _save_sessions(connection: AsyncConnection, call: Call, before: Participant | None, after: Participant) -> None:
    known = {session.session_id: session for session in before.sessions} if before else {}
    for session in after.sessions:
        earlier = known.pop(session.session_id, None)
        columns = {
            "session_id": session.session_id,
            "device_id": session.device_id,
            "node_id": session.node_id,
            "generation": session.generation,
            "attempt": session.attempt,
            "expires_at": session.expires_at,
        }
        if earlier is None:
            await _INSERT_SESSION.run(connection, call_id=call.call_id, user_id=after.user_id, **columns)
        elif earlier != session:
            await _UPDATE_SESSION.run(connection, of=session.session_id, **_changing(columns))
    if known:
        await _DELETE_SESSIONS.run(connection, session_ids=list(known))


def _whole(found: Select[Any]) -> Select[Any]:
    """The calls a query finds, each with its people and their sessions: a row a session, or a person without one.

    Calls come in the order of the query's own when the caller adds it; within a call people are in theirs.
    """
    call, one, session = found.subquery("call"), call_participants.c, call_sessions.c
    return (
        select(
            call,
            *(column.label(f"one_{column.key}") for column in one if column.key != "call_id"),
            *(column.label(f"session_{column.key}") for column in session if column.key not in ("call_id", "user_id")),
        )
        .join_from(call, call_participants, one.call_id == call.c.call_id, isouter=True)
        .join(call_sessions, (session.call_id == one.call_id) & (session.user_id == one.user_id), isouter=True)
    )


async def _assemble(connection: AsyncConnection, found: Select[Any], *, newest_first: bool = False) -> list[Call]:
    """The calls a query finds, in one statement however many there are."""
    query = _whole(found)
    call_id = query.selected_columns.call_id
    query = query.order_by(call_id.desc() if newest_first else call_id, *_WITHIN)
    return _assembled((await connection.execute(query)).all())


def _assembled(rows: Iterable[Any]) -> list[Call]:
    """What `_whole` found, put together; the rows of a call follow each other."""
    whole = []
    for _, of_call in groupby(rows, attrgetter("call_id")):
        listed = list(of_call)
        by_person = groupby((row for row in listed if row.one_user_id is not None), attrgetter("one_user_id"))
        whole.append(_call(listed[0], [_participant(list(of_person)) for _, of_person in by_person]))
    return whole


def _call_columns(call: Call) -> dict[str, Any]:
    recording = call.recording
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
        "topology": call.topology,
        "epoch": call.epoch,
        "sfu": call.sfu,
        "topology_due": call.topology_due,
        "recording_id": recording and recording.recording_id,
        "recording_by": recording and recording.started_by,
        "recording_at": recording and recording.started_at,
        "recorded": call.recorded,
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
        "ring_withheld": ring and ring.withheld,
    }


def _call(row: Any, participants: Sequence[Participant]) -> Call:
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
        topology=Topology(row.topology),
        epoch=row.epoch,
        sfu=row.sfu,
        topology_due=row.topology_due,
        recording=_recording(row) if row.recording_id else None,
        recorded=row.recorded,
    )


def _recording(row: Any) -> Recording:
    return Recording(RecordingId(row.recording_id), UserId(row.recording_by), row.recording_at)


def _participant(rows: Sequence[Any]) -> Participant:
    row = rows[0]
    return Participant(
        user_id=UserId(row.one_user_id),
        display_name=row.one_display_name,
        state=State(row.one_state),
        waiting=row.one_waiting,
        devices=_devices.decode(row.one_devices),
        sessions=tuple(_session(one) for one in rows if one.session_session_id is not None),
        ring_deadline=row.one_ring_deadline,
        grace_deadline=row.one_grace_deadline,
        joined_at=row.one_joined_at,
        left_at=row.one_left_at,
        ring=_ring(row) if row.one_rang_at else None,
    )


def _ring(row: Any) -> Ring:
    return Ring(
        began_at=row.one_rang_at,
        waiting=row.one_rang_waiting,
        end=RingEnd(row.one_ring_end) if row.one_ring_end else None,
        ended_at=row.one_ring_ended_at,
        device_id=DeviceId(row.one_ring_device_id) if row.one_ring_device_id else None,
        withheld=Withholding(row.one_ring_withheld) if row.one_ring_withheld else None,
    )


def _session(row: Any) -> Session:
    return Session(
        session_id=SessionId(row.session_session_id),
        device_id=DeviceId(row.session_device_id) if row.session_device_id else None,
        node_id=NodeId(row.session_node_id) if row.session_node_id else None,
        generation=row.session_generation,
        attempt=row.session_attempt,
        expires_at=row.session_expires_at,
    )


def _changing(columns: dict[str, Any]) -> dict[str, Any]:
    """Without what never changes."""
    return {name: value for name, value in columns.items() if name not in _FIXED}


def _prepare_update(table: Table, *key: ColumnElement[bool]) -> Prepared:
    """Everything in a row that may change."""
    return Prepared(update(table).where(*key).values({one.key: given(one.key) for one in table.c if one.key not in _FIXED}))


_FIXED = frozenset({"call_id", "user_id", "session_id", "conversation_id", "call_type", "caller_id", "created_at", "entry_id"})
_WITHIN = (call_participants.c.position, call_sessions.c.session_id)
_people = call_participants.c
_LOAD = Prepared(_whole(select(calls).where(calls.c.call_id == given("call_id"))).order_by(*_WITHIN))
_INSERT_CALL = Prepared(insert(calls))
_UPDATE_CALL = _prepare_update(calls, calls.c.call_id == given("of"), calls.c.version == given("read"))
_INSERT_PARTICIPANT = Prepared(insert(call_participants))
_UPDATE_PARTICIPANT = _prepare_update(call_participants, _people.call_id == given("of_call"), _people.user_id == given("of_user"))
_INSERT_SESSION = Prepared(insert(call_sessions))
_UPDATE_SESSION = _prepare_update(call_sessions, call_sessions.c.session_id == given("of"))
_DELETE_SESSIONS = Prepared(delete(call_sessions).where(call_sessions.c.session_id.in_(given("session_ids", many=True))))
