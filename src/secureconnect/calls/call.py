"""A call as a value: what is known about it and about everybody in it.

`calls.machine` changes it, `store.calls` keeps it, `signaling.protocol` shows it. Pure: no clock, no I/O.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from secureconnect.ids import CallId, ConversationId, DeviceId, NodeId, RecordingId, SessionId, UserId

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


class RingEnd(StrEnum):
    """How the ringing of one person ended. `caller_lost`: nobody was left in the call who had not just lost the connection."""

    ANSWERED = "answered"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    CALLER_LOST = "caller_lost"
    TIMEOUT = "timeout"
    BUSY = "busy"


class Withholding(StrEnum):
    """How a ring is kept from a person who blocks the caller.

    `hidden`: the call is not shown to the person; `silent`: it is shown as a call that does not ring the person.
    """

    HIDDEN = "hidden"
    SILENT = "silent"


class Ring(msgspec.Struct, frozen=True):
    """What is remembered of ringing one person, whatever they do afterwards. `device_id`: the one that answered or declined."""

    began_at: datetime
    waiting: bool = False
    end: RingEnd | None = None
    ended_at: datetime | None = None
    device_id: DeviceId | None = None
    withheld: Withholding | None = None


class Topology(StrEnum):
    """How media flows: straight between two, all to all, or by an SFU."""

    P2P = "p2p"
    MESH = "mesh"
    SFU = "sfu"


class Session(msgspec.Struct, frozen=True):
    """One device's presence in a call; it outlives the sockets that carry it.

    `node_id` holds the open socket, None between two. `generation` counts the sockets, so that a late close of an old one is not
    mistaken for a close of the present one. `attempt` is the client's own number of the attempt that opened the present one, 0 of a
    client that does not number them. `expires_at` is when a session without a socket is given up.
    """

    session_id: SessionId
    device_id: DeviceId | None
    node_id: NodeId | None
    generation: int
    expires_at: datetime | None = None
    attempt: int = 0

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
    ring: Ring | None = None

    @property
    def is_in(self) -> bool:
        return self.state in (State.JOINED, State.RECONNECTING)

    @property
    def connected(self) -> bool:
        return any(session.connected for session in self.sessions)

    @property
    def is_withheld(self) -> bool:
        """The person was rung by someone whom they block, and has not come in by themselves."""
        return self.ring is not None and self.ring.withheld is not None and self.joined_at is None

    def ring_ended(self, end: RingEnd, now: datetime, device_id: DeviceId | None = None) -> Ring | None:
        """The ring of this person, over. None of one that rang before rings were remembered."""
        return None if self.ring is None else replace(self.ring, end=end, ended_at=now, device_id=device_id)

    def admitted_by(self, sessions: Sequence[Session]) -> set[DeviceId | None]:
        """The devices these sessions live by: None admits whoever has no name, or did not say it at the join."""
        return {session.device_id if session.device_id in self.devices else None for session in sessions}

    def devices_without(self, gone: Sequence[Session]) -> tuple[DeviceId | None, ...]:
        """Return the devices that are in when these sessions are not: each takes along the device by which it was admitted.

        A session without a device name keeps its person in when the devices that were named have gone.
        """
        rest = [session for session in self.sessions if session not in gone]
        ended = self.admitted_by(gone) - self.admitted_by(rest)
        devices = tuple(device for device in self.devices if device not in ended)
        return devices or ((None,) if rest else ())


class Recording(msgspec.Struct, frozen=True):
    """What records a call, and who began that. While it is there, the call goes by an SFU, which writes down what it forwards."""

    recording_id: RecordingId
    started_by: UserId
    started_at: datetime


class Call(msgspec.Struct, frozen=True):
    """A call. `version` counts its changes; a save names the version it read.

    `epoch` counts the switches of the media's way, `sfu` names the SFU it goes by (None while it waits for another), and at
    `topology_due` the way is looked at again. `recording` is what records it now, `recorded` whether anything ever did.
    """

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
    topology: Topology = Topology.P2P
    epoch: int = 0
    sfu: str | None = None
    topology_due: datetime | None = None
    recording: Recording | None = None
    recorded: bool = False

    @property
    def over(self) -> bool:
        return self.status not in (Status.RINGING, Status.ACTIVE)

    def participant(self, user_id: UserId) -> Participant | None:
        return next((one for one in self.participants if one.user_id == user_id), None)

    @property
    def hidden_from(self) -> UserId | None:
        """The person who blocks the caller, in a conversation of the two."""
        for participant in self.participants:
            if participant.ring is not None and participant.ring.withheld is Withholding.HIDDEN:
                return participant.user_id
        return None


def shown_to(call: Call, user_id: UserId) -> Call | None:
    """Return the call as this member may know it: without a ring that is withheld from the member; None if it is hidden."""
    me = call.participant(user_id)
    if me is None or not me.is_withheld:
        return call
    if me.ring is not None and me.ring.withheld is Withholding.HIDDEN:
        return None
    return replace(call, participants=tuple(participant for participant in call.participants if participant is not me))


def due_at(call: Call) -> datetime | None:
    """When time alone will next change this call, or None when it is over."""
    if call.over:
        return None
    moments = [call.created_at + LIFE] + ([call.topology_due] if call.topology_due else [])
    for one in call.participants:
        if one.state is State.RINGING and one.ring_deadline:
            moments.append(one.ring_deadline)
        if one.is_in and one.grace_deadline:
            moments.append(one.grace_deadline)
        moments += [session.expires_at for session in one.sessions if session.expires_at]
    return min(moments)
