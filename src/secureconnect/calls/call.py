"""A call as a value: what is known about it and about everybody in it.

`calls.machine` changes it, `store.calls` keeps it, `signaling.protocol` shows it. Pure: no clock, no I/O.
"""

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from secureconnect.ids import CallId, ConversationId, DeviceId, NodeId, SessionId, UserId

LIFE = timedelta(hours=24)
"""A call that nobody ends is ended: a forgotten tab must not hold a line, and everything that belongs to it, for ever."""


class CallType(StrEnum):
    AUDIO = "audio"
    VIDEO = "video"


class Status(StrEnum):
    RINGING = "ringing"
    ACTIVE = "active"
    ENDED = "ended"
    MISSED = "missed"
    DECLINED = "declined"


class EndReason(StrEnum):
    COMPLETED = "completed"
    DECLINED = "declined"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    BUSY = "busy"
    FAILED = "failed"


class State(StrEnum):
    """Where one participant stands."""

    RINGING = "ringing"
    JOINED = "joined"
    RECONNECTING = "reconnecting"
    LEFT = "left"
    DECLINED = "declined"
    MISSED = "missed"
    CANCELLED = "cancelled"
    BUSY = "busy"


class LeaveReason(StrEnum):
    """Why a session is no longer in the call."""

    LEFT = "left"
    TIMEOUT = "timeout"
    MOVED = "moved"
    ENDED = "ended"


class Session(msgspec.Struct, frozen=True):
    """One device's presence in a call; it outlives the sockets that carry it.

    `node_id` holds the open socket, None between two. `generation` counts the sockets, so that a late close of an old one is not
    mistaken for a close of the present one. `expires_at` is when a session without a socket is given up.
    """

    session_id: SessionId
    device_id: DeviceId | None
    node_id: NodeId | None
    generation: int
    expires_at: datetime | None = None

    @property
    def connected(self) -> bool:
        return self.node_id is not None


class Participant(msgspec.Struct, frozen=True):
    """One person in a call.

    `ring_deadline` stays as the record that this person was rung; `devices` are those that are in, None for one that gave no name.
    """

    user_id: UserId
    display_name: str
    state: State
    waiting: bool = False
    devices: tuple[DeviceId | None, ...] = ()
    sessions: tuple[Session, ...] = ()
    ring_deadline: datetime | None = None
    grace_deadline: datetime | None = None
    joined_at: datetime | None = None
    left_at: datetime | None = None

    @property
    def is_in(self) -> bool:
        return self.state in (State.JOINED, State.RECONNECTING)

    @property
    def connected(self) -> bool:
        return any(session.connected for session in self.sessions)


class Call(msgspec.Struct, frozen=True):
    """A call. `version` counts its changes; a save names the version it read."""

    call_id: CallId
    conversation_id: ConversationId
    call_type: CallType
    status: Status
    caller_id: UserId
    capacity: int
    created_at: datetime
    participants: tuple[Participant, ...]
    version: int = 0
    end_reason: EndReason | None = None
    answered_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def over(self) -> bool:
        return self.status not in (Status.RINGING, Status.ACTIVE)

    @property
    def topology(self) -> str:
        """How media flows: straight between two people, a mesh among more."""
        return "p2p" if sum(one.is_in for one in self.participants) <= 2 else "mesh"

    def participant(self, user_id: UserId) -> Participant | None:
        return next((one for one in self.participants if one.user_id == user_id), None)


def due_at(call: Call) -> datetime | None:
    """When time alone will next change this call, or None when it is over."""
    if call.over:
        return None
    moments = [call.created_at + LIFE]
    for one in call.participants:
        if one.state is State.RINGING and one.ring_deadline:
            moments.append(one.ring_deadline)
        if one.is_in and one.grace_deadline:
            moments.append(one.grace_deadline)
        moments += [session.expires_at for session in one.sessions if session.expires_at]
    return min(moments)
