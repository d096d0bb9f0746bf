"""What can be asked of a call, and what the asking may lead to: the words that `calls.machine` is written in.

`calls.service` makes the commands and tells the world of the events. Pure values.
"""

from datetime import timedelta

import msgspec

from secureconnect.calls.call import Call, CallType, LeaveReason, Recording, Session, Withholding
from secureconnect.ids import CallId, ConversationId, DeviceId, NodeId, RecordingId, SessionId, UserId


class Person(msgspec.Struct, frozen=True):
    """Someone to ring. `busy`: in another call now. `withheld`: the person blocks who rings, so no device is told."""

    user_id: UserId
    display_name: str
    busy: bool = False
    withheld: Withholding | None = None


class Initiate(msgspec.Struct, frozen=True):
    """Start a call and ring `callees`. `grace` and `ring` are how long a place is kept and a phone rings."""

    call_id: CallId
    conversation_id: ConversationId
    call_type: CallType
    caller: Person
    callees: tuple[Person, ...]
    capacity: int
    ring: timedelta
    grace: timedelta
    device_id: DeviceId | None = None
    reject_busy: bool = False


class Join(msgspec.Struct, frozen=True):
    """`mode` is None (answer), "add" (one more device) or "move" (this device instead of the other)."""

    user: Person
    grace: timedelta
    device_id: DeviceId | None = None
    mode: str | None = None


class Decline(msgspec.Struct, frozen=True):
    user_id: UserId
    device_id: DeviceId | None = None


class Leave(msgspec.Struct, frozen=True):
    """`session_id`: only that device leaves, the person stays with the others. `grace`: of one that has not opened a socket yet."""

    user_id: UserId
    session_id: SessionId | None = None
    grace: timedelta = timedelta(seconds=30)


class End(msgspec.Struct, frozen=True):
    user_id: UserId


class Invite(msgspec.Struct, frozen=True):
    inviter_id: UserId
    people: tuple[Person, ...]
    ring: timedelta


class StartRecording(msgspec.Struct, frozen=True):
    """`recording_id` is what it is called, unless the call is being recorded already."""

    user_id: UserId
    recording_id: RecordingId


class StopRecording(msgspec.Struct, frozen=True):
    """`user_id` is None when the server stops the recording `recording_id` for a `reason`, a word of `recording.limits`."""

    user_id: UserId | None
    recording_id: RecordingId | None = None
    reason: str | None = None


class OpenSession(msgspec.Struct, frozen=True):
    """A socket has opened. `resume` is the session it comes back to; when that is gone, `session_id` begins.

    With `generation`, the socket of `resume` has been open all the time, at a node that was taken for lost. It goes on if the
    session has had no other socket since; else nothing begins.

    `attempt` is what the client numbers its attempts to connect with. One that it has given up may arrive late, from a gateway or a
    node that was busy: behind a later one it is refused, or it would take the session away from the socket that the client holds.
    """

    user_id: UserId
    session_id: SessionId
    node_id: NodeId
    device_id: DeviceId | None = None
    resume: SessionId | None = None
    generation: int | None = None
    attempt: int | None = None


class CloseSession(msgspec.Struct, frozen=True):
    """A socket has closed without a leave."""

    user_id: UserId
    session_id: SessionId
    generation: int
    grace: timedelta


class NodeLost(msgspec.Struct, frozen=True):
    """A node is gone with all its sockets."""

    node_id: NodeId
    grace: timedelta


class MediaLost(msgspec.Struct, frozen=True):
    """The SFU that the call went by in this epoch is gone, or is being emptied."""

    sfu: str
    epoch: int


class Tick(msgspec.Struct, frozen=True):
    """Time has passed. Does what is due, which may be nothing: timers may fire twice and anywhere."""


Command = (
    Join
    | Decline
    | Leave
    | End
    | Invite
    | StartRecording
    | StopRecording
    | OpenSession
    | CloseSession
    | NodeLost
    | MediaLost
    | Tick
)


class Rang(msgspec.Struct, frozen=True):
    user_id: UserId
    waiting: bool


class AnsweredByDevice(msgspec.Struct, frozen=True):
    """This device answered: the person's other devices stop ringing."""

    user_id: UserId
    device_id: DeviceId | None


class DeclinedByDevice(msgspec.Struct, frozen=True):
    user_id: UserId
    device_id: DeviceId | None


class Cancelled(msgspec.Struct, frozen=True):
    user_id: UserId


class Missed(msgspec.Struct, frozen=True):
    user_id: UserId


class SessionJoined(msgspec.Struct, frozen=True):
    user_id: UserId
    session: Session


class SessionLeft(msgspec.Struct, frozen=True):
    user_id: UserId
    session_id: SessionId
    reason: LeaveReason


class RecordingStarted(msgspec.Struct, frozen=True):
    recording: Recording


class RecordingStopped(msgspec.Struct, frozen=True):
    """`user_id`: who stopped it, None when it ended with the call, with the SFU, or at a limit, which is the `reason`."""

    recording: Recording
    user_id: UserId | None = None
    reason: str | None = None


Event = (
    Rang
    | AnsweredByDevice
    | DeclinedByDevice
    | Cancelled
    | Missed
    | SessionJoined
    | SessionLeft
    | RecordingStarted
    | RecordingStopped
)


class Outcome(msgspec.Struct, frozen=True):
    """What a command made of a call: save `call` if `changed`, then tell of `events` in this order."""

    call: Call
    events: tuple[Event, ...] = ()
    changed: bool = True
