"""How a call looks on the wire: in answers, events and snapshots. Pure."""

from datetime import datetime

from msgspec import Struct

from secureconnect.calls.call import Call, CallType, EndReason, Participant, Recording, Session, State, Status, Topology
from secureconnect.ids import CallId, ConversationId, DeviceId, SessionId, UserId


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
    """A call in answers, events and snapshots. The larger `version` is the newer. `recorded`: it is, or was at some time."""

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
