"""The life of a call, as a pure function: Call + command + now → Outcome. Read this first if you read one file.

`calls.service` loads a Call, asks here, saves what comes back if nobody was faster, and publishes the events. Nothing here awaits,
reads a clock or knows of databases and sockets. The rules are the table in docs/calls.md, a handler a row; `settle` follows each.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from secureconnect.calls.call import (
    LIFE,
    Call,
    EndReason,
    LeaveReason,
    Participant,
    Recording,
    Ring,
    RingEnd,
    Session,
    State,
    Status,
    Topology,
)
from secureconnect.calls.commands import (
    AnsweredByDevice,
    CloseSession,
    Command,
    Decline,
    DeclinedByDevice,
    End,
    Initiate,
    Invite,
    Join,
    Leave,
    MediaLost,
    Missed,
    NodeLost,
    OpenSession,
    Outcome,
    SessionJoined,
    StartRecording,
    StopRecording,
    Tick,
)
from secureconnect.calls.draft import Draft
from secureconnect.calls.topology import bereft
from secureconnect.errors import (
    AlreadyJoined,
    AnsweredElsewhere,
    CalleeIsCaller,
    CallFull,
    Conflict,
    DuplicateCallee,
    NotHost,
    NotJoined,
    RecordingUnavailable,
    Superseded,
    TooManyDevices,
    TooManyParticipants,
)
from secureconnect.ids import DeviceId

MAX_SESSIONS = 4
"""Sessions and devices of one person in a call. Every other client connects to each, and each is in every snapshot."""


def initiate(command: Initiate, now: datetime) -> Outcome:
    """A new call: the caller in, the callees ringing.

    Raises CalleeIsCaller, DuplicateCallee or TooManyParticipants before anything exists.
    """
    callee_ids = [callee.user_id for callee in command.callees]
    if command.caller.user_id in callee_ids:
        raise CalleeIsCaller
    if len(set(callee_ids)) < len(callee_ids):
        raise DuplicateCallee
    if 1 + len(callee_ids) > command.capacity:
        raise TooManyParticipants(f"A call holds {command.capacity} people here, and this would be {1 + len(callee_ids)}.")
    caller = Participant(
        user_id=command.caller.user_id,
        display_name=command.caller.display_name,
        state=State.JOINED,
        devices=(command.device_id,),
        grace_deadline=now + command.grace,
        joined_at=now,
    )
    call = Call(
        call_id=command.call_id,
        conversation_id=command.conversation_id,
        call_type=command.call_type,
        status=Status.RINGING,
        caller_id=caller.user_id,
        capacity=command.capacity,
        created_at=now,
        participants=(caller,),
    )
    draft = Draft(call, now)
    for callee in command.callees:
        if callee.busy and command.reject_busy:
            ring = Ring(now, end=RingEnd.BUSY, ended_at=now)
            draft.put(Participant(user_id=callee.user_id, display_name=callee.display_name, state=State.BUSY, ring=ring))
        else:
            draft.ring(callee, now + command.ring)
    draft.settle()
    return draft.outcome()


def decide(call: Call, command: Command, now: datetime, place: str | None = None) -> Outcome:
    """What `command` makes of `call`. `place` is the SFU that would take its media, None when there is none at hand.

    Raises the Conflict or Forbidden that the rules name; then nothing has changed.
    """
    draft = Draft(call, now, place)
    _HANDLERS[type(command)](draft, command)
    draft.settle()
    return draft.outcome()


def _join(draft: Draft, command: Join) -> None:
    draft.need_life()
    user_id, device_id, now = command.user.user_id, command.device_id, draft.now
    me = draft.people.get(user_id)
    if me is not None and me.is_in:
        _join_with_another_device(draft, me, command)
        return
    draft.need_room()
    if me is not None and me.state is State.RINGING:
        me = replace(me, ring=me.ring_ended(RingEnd.ANSWERED, now, device_id))
        draft.events.append(AnsweredByDevice(user_id, device_id))
    me = me or Participant(user_id=user_id, display_name=command.user.display_name, state=State.JOINED)
    draft.put(
        replace(
            me,
            state=State.JOINED,
            waiting=False,
            devices=(device_id,),
            grace_deadline=now + command.grace,
            joined_at=now,
            left_at=None,
        )
    )
    if user_id != draft.call.caller_id and draft.call.answered_at is None:
        draft.call = replace(draft.call, status=Status.ACTIVE, answered_at=now)


def _join_with_another_device(draft: Draft, me: Participant, command: Join) -> None:
    device_id = command.device_id
    if command.mode == "move" and me.devices != (device_id,):
        # A device that is in beside others stays as it is; they go.
        me = draft.drop_sessions(me, LeaveReason.MOVED, keep=lambda one: one.connected and one.device_id == device_id)
        deadline = None if me.connected else draft.now + command.grace
        draft.put(replace(me, state=State.JOINED, devices=(device_id,), grace_deadline=deadline))
    elif device_id in me.devices:
        return
    elif command.mode == "add":
        if len(me.devices) >= MAX_SESSIONS:
            raise TooManyDevices
        draft.put(replace(me, devices=(*me.devices, device_id)))
    else:
        raise AnsweredElsewhere


def _decline(draft: Draft, command: Decline) -> None:
    me = draft.people.get(command.user_id)
    if me is not None and me.state is State.DECLINED:
        return
    draft.need_life()
    if me is None:
        raise Conflict("Nobody rang you in this call, so there is nothing to decline.")
    if me.is_in:
        raise AlreadyJoined
    if me.state is State.RINGING:
        ring = me.ring_ended(RingEnd.DECLINED, draft.now, command.device_id)
        draft.put(replace(me, state=State.DECLINED, waiting=False, ring=ring))
        draft.events.append(DeclinedByDevice(command.user_id, command.device_id))


def _leave(draft: Draft, command: Leave) -> None:
    me = draft.people.get(command.user_id)
    if draft.call.over or me is None:
        return
    if me.state is State.RINGING:
        # Whoever leaves a ringing call does not want it.
        _decline(draft, Decline(command.user_id))
    elif me.is_in and command.session_id is None:
        draft.leave(me, LeaveReason.LEFT)
    elif me.is_in:
        _leave_with_one_device(draft, me, command)


def _leave_with_one_device(draft: Draft, me: Participant, command: Leave) -> None:
    leaving = next((session for session in me.sessions if session.session_id == command.session_id), None)
    if leaving is None:
        return  # it moved to another device, or was given up: its last word does not count
    devices = me.devices_without([leaving])
    if not devices:
        draft.leave(me, LeaveReason.LEFT)
        return
    me = replace(draft.drop_sessions(me, LeaveReason.LEFT, keep=lambda session: session is not leaving), devices=devices)
    if not me.connected:
        # Those that stay have lost their sockets, or not opened one yet: the last to be given up takes the person along.
        deadlines = [session.expires_at for session in me.sessions if session.expires_at]
        if not me.admitted_by(me.sessions).issuperset(devices):
            deadlines.append(draft.now + command.grace)
        me = replace(me, state=State.RECONNECTING, grace_deadline=max(deadlines))
    draft.put(me)


def _end(draft: Draft, command: End) -> None:
    if draft.call.over:
        return
    is_side_of_two = len(draft.people) == 2 and command.user_id in draft.people
    if command.user_id != draft.call.caller_id and not is_side_of_two:
        raise NotHost
    for one in draft.ringing():
        draft.cancel(one)
    for one in draft.inside():
        draft.leave(one, LeaveReason.ENDED)


def _invite(draft: Draft, command: Invite) -> None:
    draft.need_life()
    draft.need_presence(command.inviter_id)
    new = [person for person in command.people if _may_be_rung(draft.people.get(person.user_id))]
    if draft.occupied + len(draft.ringing()) + len(new) > draft.room:
        raise CallFull
    for person in new:
        draft.ring(person, draft.now + command.ring)


def _may_be_rung(one: Participant | None) -> bool:
    """Members who neither rang nor are in it: a call does not ring twice at the same person."""
    return one is None or (one.ring_deadline is None and not one.is_in)


def _start_recording(draft: Draft, command: StartRecording) -> None:
    draft.need_life()
    draft.need_presence(command.user_id)
    if draft.call.recording:
        return
    if draft.call.answered_at is None:
        raise RecordingUnavailable("Nobody has answered yet, so there is nothing to record.")
    if draft.place is None and draft.call.topology is not Topology.SFU:
        raise RecordingUnavailable("A call is recorded by an SFU, and none is at hand.")
    draft.call = replace(draft.call, recording=Recording(command.recording_id, command.user_id, draft.now), recorded=True)


def _stop_recording(draft: Draft, command: StopRecording) -> None:
    if not draft.call.recording:
        return
    if command.user_id is not None:
        draft.need_presence(command.user_id)
    elif draft.call.recording.recording_id != command.recording_id:
        return  # another one has begun since
    draft.stopped_by, draft.stopped_for = command.user_id, command.reason
    draft.call = replace(draft.call, recording=None)


def _open_session(draft: Draft, command: OpenSession) -> None:
    draft.need_life()
    me = draft.people.get(command.user_id)
    if me is None or not me.is_in:
        raise NotJoined
    earlier = next((session for session in me.sessions if session.session_id == command.resume), None)
    if command.generation is not None and (earlier is None or earlier.generation != command.generation):
        raise NotJoined
    if earlier is not None:
        attempt = earlier.attempt if command.attempt is None else command.attempt
        if attempt < earlier.attempt:
            raise Superseded
        reopened = replace(earlier, node_id=command.node_id, generation=earlier.generation + 1, expires_at=None, attempt=attempt)
        sessions = tuple(reopened if session is earlier else session for session in me.sessions)
    else:
        me = _make_room(draft, _admit_device(draft, me, command.device_id))
        begun = Session(command.session_id, command.device_id, command.node_id, generation=1, attempt=command.attempt or 0)
        sessions = (*me.sessions, begun)
        draft.events.append(SessionJoined(command.user_id, begun))
    draft.put(replace(me, state=State.JOINED, sessions=sessions, grace_deadline=None))


def _admit_device(draft: Draft, me: Participant, device_id: DeviceId | None) -> Participant:
    """Room for a new session of `device_id`: only a device that joined may open one, and it has one at a time."""
    if device_id is None:
        return me
    if device_id not in me.devices and None not in me.devices:
        raise AnsweredElsewhere
    return draft.drop_sessions(me, LeaveReason.LEFT, keep=lambda session: session.device_id != device_id)


def _make_room(draft: Draft, me: Participant) -> Participant:
    """Make room for one more session of this person: those without a socket go first, then the oldest.

    Raises CallFull when the call is a mesh that holds no more sessions, and this person has none to give up.
    """
    draft.put(me)
    if not me.sessions:
        return me
    waiting = sum(not session.connected for session in me.sessions)
    full = max(0, draft.occupied + 1 - draft.room) if draft.is_mesh else 0
    beyond = max(len(me.sessions) + 1 - MAX_SESSIONS, min(full, waiting))
    if beyond > 0:
        leaving = sorted(me.sessions, key=lambda session: session.connected)[:beyond]
        me = draft.drop_sessions(me, LeaveReason.LEFT, keep=lambda session: session not in leaving)
        draft.put(me)
    if draft.is_mesh and me.sessions:
        draft.need_room()
    return me


def _close_session(draft: Draft, command: CloseSession) -> None:
    me = draft.people.get(command.user_id)
    if me is not None:
        _lose_sockets(
            draft,
            me,
            command.grace,
            lost=lambda one: one.session_id == command.session_id and one.generation == command.generation,
        )


def _node_lost(draft: Draft, command: NodeLost) -> None:
    for one in list(draft.people.values()):
        _lose_sockets(draft, one, command.grace, lost=lambda session: session.node_id == command.node_id)


def _lose_sockets(draft: Draft, one: Participant, grace: timedelta, *, lost: Callable[[Session], bool]) -> None:
    if not any(session.connected and lost(session) for session in one.sessions):
        return
    deadline = draft.now + grace
    sessions = tuple(
        replace(session, node_id=None, expires_at=deadline) if session.connected and lost(session) else session
        for session in one.sessions
    )
    one = replace(one, sessions=sessions)
    if one.is_in and not one.connected:
        one = replace(one, state=State.RECONNECTING, grace_deadline=deadline)
    draft.put(one)


def _media_lost(draft: Draft, command: MediaLost) -> None:
    draft.call = bereft(draft.call, command.sfu, command.epoch, draft.now)


def _tick(draft: Draft, _command: Tick) -> None:
    if draft.call.over:
        return
    now = draft.now
    if draft.call.created_at + LIFE <= now:
        for one in draft.ringing():
            draft.cancel(one)
        draft.closing = EndReason.COMPLETED
        return
    for one in list(draft.people.values()):
        if one.state is State.RINGING and one.ring_deadline and one.ring_deadline <= now:
            draft.put(replace(one, state=State.MISSED, waiting=False, ring=one.ring_ended(RingEnd.TIMEOUT, now)))
            draft.events.append(Missed(one.user_id))
        elif one.is_in and one.grace_deadline and one.grace_deadline <= now:
            draft.leave(one, LeaveReason.TIMEOUT)
        elif late := [session for session in one.sessions if session.expires_at and session.expires_at <= now]:
            rest = draft.drop_sessions(one, LeaveReason.TIMEOUT, keep=lambda s: s.expires_at is None or s.expires_at > now)
            draft.put(replace(rest, devices=one.devices_without(late)))


_HANDLERS: dict[type[Command], Callable[[Draft, Any], None]] = {
    Join: _join,
    Decline: _decline,
    Leave: _leave,
    End: _end,
    Invite: _invite,
    StartRecording: _start_recording,
    StopRecording: _stop_recording,
    OpenSession: _open_session,
    CloseSession: _close_session,
    NodeLost: _node_lost,
    MediaLost: _media_lost,
    Tick: _tick,
}
