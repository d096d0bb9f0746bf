"""How a call looks on the wire: in answers, events and snapshots. Pure."""

from datetime import datetime

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from secureconnect.calls.call import Call, CallType, EndReason, Participant, Recording, Session, State, Status, Topology
from secureconnect.ids import CallId, ConversationId, DeviceId, SessionId, UserId

VIEW_BYTES = 44 * 1024
"""What a call may take of a frame of 64 KiB: a `welcome` has the media state of each session besides."""
SHORT_NAME = 32
PLAIN_ENTRIES = 60
"""People, sessions and devices together of which even the longest entries fit."""


class SessionView(Struct, frozen=True):
    """One device in a call; not `connected`: it is expected back."""

    session_id: SessionId
    device_id: DeviceId | None
    connected: bool


class ParticipantView(Struct, frozen=True):
    """One person in a call."""

    user_id: UserId
    display_name: str
    role: str
    state: State
    waiting: bool
    ring_deadline: datetime | None
    joined_at: datetime | None
    left_at: datetime | None
    devices: list[DeviceId]
    sessions: list[SessionView]


class CallView(Struct, frozen=True):
    """A call in answers, events and snapshots. The larger `version` is the newer. `recorded`: it is, or was at some time.

    `participants_truncated`: this is not all, see `shorten`. An answer to a request is always whole.
    """

    call_id: CallId
    conversation_id: ConversationId
    call_type: CallType
    status: Status
    end_reason: EndReason | None
    version: int
    caller_id: UserId
    topology: Topology
    epoch: int
    created_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    participants: list[ParticipantView]
    recording: Recording | None
    recorded: bool
    participants_truncated: bool = False


def shorten(view: CallView) -> CallView:
    """Return the view as frames carry it: within `VIEW_BYTES`, with every session that is in the call.

    Of a call that is too large, the people who are no longer in it are left out, those who left first before the others; then the
    lists of devices, which sessions name as well; then the ends of long names.
    """
    if sum(1 + len(person.sessions) + len(person.devices) for person in view.participants) <= PLAIN_ENTRIES:
        return view
    rest = VIEW_BYTES - len(msgspec.json.encode(replace(view, participants=[])))
    people = list(view.participants)
    if _size(people) <= rest:
        return view
    absent = sorted((person for person in people if not _is_present(person)), key=lambda person: person.left_at or view.created_at)
    size = _size(people)
    left_out = set()
    for person in absent:
        if size <= rest:
            break
        size -= _size([person])
        left_out.add(person.user_id)
    people = [person for person in people if person.user_id not in left_out]
    if size > rest:
        people = [replace(person, devices=[]) for person in people]
    if _size(people) > rest:
        people = [replace(person, display_name=person.display_name[:SHORT_NAME]) for person in people]
    return replace(view, participants=people, participants_truncated=True)


def _is_present(person: ParticipantView) -> bool:
    return person.state in (State.RINGING, State.JOINED, State.RECONNECTING)


def _size(people: list[ParticipantView]) -> int:
    return sum(len(msgspec.json.encode(person)) + 1 for person in people)


def view_of(call: Call) -> CallView:
    """How a call is shown."""
    return CallView(
        call_id=call.call_id,
        conversation_id=call.conversation_id,
        call_type=call.call_type,
        status=call.status,
        end_reason=call.end_reason,
        version=call.version,
        caller_id=call.caller_id,
        topology=call.topology,
        epoch=call.epoch,
        created_at=call.created_at,
        answered_at=call.answered_at,
        ended_at=call.ended_at,
        participants=[_participant_view(one, call.caller_id) for one in call.participants],
        recording=call.recording,
        recorded=call.recorded,
    )


def _participant_view(one: Participant, caller_id: UserId) -> ParticipantView:
    return ParticipantView(
        user_id=one.user_id,
        display_name=one.display_name,
        role="caller" if one.user_id == caller_id else "callee",
        state=one.state,
        waiting=one.waiting,
        ring_deadline=one.ring_deadline,
        joined_at=one.joined_at,
        left_at=one.left_at,
        devices=[device for device in one.devices if device is not None],
        sessions=[_session_view(session) for session in one.sessions],
    )


def _session_view(session: Session) -> SessionView:
    return SessionView(session.session_id, session.device_id, session.connected)
