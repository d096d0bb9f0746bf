"""The frames of the events socket: what one signed-in device is told of its user's calls. Pure.

Made by `calls.announce` and `recording.desk`, sent by `signaling.inbox`.
Those about conversations are in `chat.events`, those about devices in `accounts.devices`.
"""

from datetime import datetime

from msgspec import Struct

from secureconnect.ids import CallId, ConversationId, DeviceId, RecordingId, UserId
from secureconnect.signaling.protocol import Authenticated, Reconnect
from secureconnect.signaling.views import CallView


def with_cursor(seq: int, body: bytes) -> bytes:
    """The same for the events socket, where the position is the client's to keep and not to count with."""
    return b'{"cursor":"%d",' % seq + body[1:]


class EventsWelcome(Struct, frozen=True, tag="welcome"):
    """The first frame of an events socket. Not resumed: load the lists again. `token_expires_in`: as on the signaling socket."""

    user_id: UserId
    cursor: str
    resumed: bool
    token_expires_in: int


class CallEvent(Struct, frozen=True):
    """Something happened to a call of yours."""

    call_id: CallId
    timestamp: datetime
    call: CallView


class CallIncoming(CallEvent, frozen=True, tag="call.incoming"):
    """This call rings you; `waiting`: while you are in another."""

    waiting: bool


class CallUpdated(CallEvent, frozen=True, tag="call.updated"):
    """A call in one of your conversations changed."""


class CallAnsweredElsewhere(CallEvent, frozen=True, tag="call.answered_elsewhere"):
    """Another device of yours answered: stop ringing."""

    device_id: DeviceId | None


class CallDeclinedElsewhere(CallEvent, frozen=True, tag="call.declined_elsewhere"):
    """Another device of yours declined: stop ringing."""

    device_id: DeviceId | None


class CallCancelled(CallEvent, frozen=True, tag="call.cancelled"):
    """The caller gave up: stop ringing."""


class CallMissed(CallEvent, frozen=True, tag="call.missed"):
    """You missed this call."""


class CallEndedEvent(CallEvent, frozen=True, tag="call.ended"):
    """A call in one of your conversations is over."""


class RecordingReady(Struct, frozen=True, tag="recording.ready"):
    """The film of a recording of one of your calls can be fetched: ask for the call's recordings."""

    call_id: CallId
    timestamp: datetime
    conversation_id: ConversationId
    recording_id: RecordingId


EVENT_FRAMES: tuple[type[Struct], ...] = (
    EventsWelcome,
    CallIncoming,
    CallUpdated,
    CallAnsweredElsewhere,
    CallDeclinedElsewhere,
    CallCancelled,
    CallMissed,
    CallEndedEvent,
    RecordingReady,
    Reconnect,
    Authenticated,
)
