"""What travels between a client and the server, as types: docs/protocol.md and docs/api.md, seen from the client.

Pure; `client` and `sockets` decode with it, everything above reads its Structs. It holds no rule about what the values mean.
Apart from the server's own Structs on purpose: a client that decoded with those could not notice when they leave the documents.
Unknown fields are ignored, unknown types of frames decode to None: both may appear in newer servers.
"""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import msgspec

from secureconnect.ids import CallId, ConversationId, DeviceId, MessageId, SessionId, UserId

CallType = Literal["audio", "video"]
CallStatus = Literal["ringing", "active", "ended", "missed", "declined"]
ParticipantState = Literal["ringing", "joined", "reconnecting", "left", "declined", "missed", "cancelled", "busy"]
Item = TypeVar("Item")


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A value of the API: immutable, built by name."""


class User(Shape, frozen=True, kw_only=True):
    user_id: UserId
    display_name: str
    email: str | None = None


class SignIn(Shape, frozen=True, kw_only=True):
    """The answer to register, login and refresh; `expires_in` in seconds."""

    user: User
    access_token: str
    refresh_token: str | None
    expires_in: float


class Session(Shape, frozen=True, kw_only=True):
    session_id: SessionId
    device_id: DeviceId | None = None
    connected: bool = True


class Participant(Shape, frozen=True, kw_only=True):
    user_id: UserId
    display_name: str
    state: ParticipantState
    role: Literal["caller", "callee"] = "callee"
    sessions: list[Session] = []


class Call(Shape, frozen=True, kw_only=True):
    call_id: CallId
    conversation_id: ConversationId
    call_type: CallType
    status: CallStatus
    version: int
    caller_id: UserId
    participants: list[Participant]
    end_reason: str | None = None
    topology: str = "p2p"
    epoch: int = 0
    answered_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def live(self) -> bool:
        return self.status in {"ringing", "active"}

    @property
    def session_ids(self) -> list[SessionId]:
        return [session.session_id for person in self.participants for session in person.sessions]


class Member(Shape, frozen=True, kw_only=True):
    user_id: UserId
    display_name: str


class Message(Shape, frozen=True, kw_only=True):
    message_id: MessageId
    conversation_id: ConversationId
    sender_id: UserId
    kind: str
    content: str


class Conversation(Shape, frozen=True, kw_only=True):
    conversation_id: ConversationId
    participants: list[Member]
    title: str | None = None
    live_call: Call | None = None


class IceServer(Shape, frozen=True, kw_only=True):
    urls: list[str]
    username: str | None = None
    credential: str | None = None


class Page(Shape, Generic[Item], frozen=True, kw_only=True):
    items: list[Item]
    next_cursor: str | None = None


class MediaState(Shape, frozen=True, kw_only=True):
    audio_muted: bool = False
    video_muted: bool = False
    screen_share: bool = False
    hand_raised: bool = False


# Signaling frames. The tag is the frame's `type`; several types with one shape are one class with a `type` field of its own,
# which msgspec's tagged unions do not know: SIGNALS below maps each type to its class.


class Welcome(Shape, frozen=True, kw_only=True):
    session_id: SessionId
    user_id: UserId
    resume: str
    resumed: bool
    seq: int
    call: Call | None = None
    media: dict[SessionId, MediaState] = {}
    topology: str = "p2p"
    epoch: int = 0
    ice_servers: list[IceServer] = []
    token_expires_in: int | None = None


class Authenticated(Shape, frozen=True, kw_only=True):
    token_expires_in: int
    ice_servers: list[IceServer] | None = None


class Relayed(Shape, frozen=True, kw_only=True):
    """What every sequenced frame carries; `session_id` is the sender's, absent where the server itself speaks."""

    seq: int
    sender_id: UserId | None = None
    session_id: SessionId | None = None


class Description(Relayed, frozen=True, kw_only=True):
    """`offer` and `answer`. `connection_id` names the sender's RTCPeerConnection."""

    type: Literal["offer", "answer"]
    session_id: SessionId
    sdp: str
    connection_id: str | None = None


class ReceivedStream(Shape, frozen=True, kw_only=True):
    """What arrives in the section `mid`; not `active`: nothing any more, and then `session_id` is empty."""

    mid: str
    session_id: str
    source: str
    active: bool


class SfuDescription(Shape, frozen=True, kw_only=True):
    """`offer` and `answer` of the SFU, which is no session: its `session_id` is "sfu"."""

    type: Literal["offer", "answer"]
    seq: int
    sdp: str
    connection_id: str
    epoch: int
    streams: list[ReceivedStream] = []


class Switched(Relayed, frozen=True, kw_only=True):
    """The sender shows us on the way of this epoch."""

    session_id: SessionId
    epoch: int


class IceCandidate(Relayed, frozen=True, kw_only=True):
    """`candidate` is what RTCIceCandidate.toJSON() makes (W3C WebRTC, section 4.8.1), None at the end of candidates."""

    session_id: SessionId
    candidate: dict[str, Any] | None = None
    connection_id: str | None = None


class Muted(Relayed, frozen=True, kw_only=True):
    type: Literal["mute_audio", "mute_video"]
    session_id: SessionId
    muted: bool


class Silenced(Relayed, frozen=True, kw_only=True):
    """`muted`: the host has silenced this session."""

    session_id: SessionId
    kinds: list[str]


class ScreenShare(Relayed, frozen=True, kw_only=True):
    session_id: SessionId
    active: bool = True


class RaiseHand(Relayed, frozen=True, kw_only=True):
    session_id: SessionId
    raised: bool = True


class Leave(Relayed, frozen=True, kw_only=True):
    session_id: SessionId
    reason: str = "left"


class CallChanged(Relayed, frozen=True, kw_only=True):
    call: Call


class TopologyChanged(Relayed, frozen=True, kw_only=True):
    topology: str
    epoch: int = 0


class Reconnect(Shape, frozen=True, kw_only=True):
    """The node is going away: come back after `after_ms` milliseconds. On both sockets."""

    after_ms: int = 0


class Ack(Shape, frozen=True, kw_only=True):
    ref: str


class Refused(Shape, frozen=True, kw_only=True):
    """The `error` frame that answers the frame with this `ref`, or none in particular."""

    code: str
    detail: str = ""
    ref: str | None = None


Signal = (
    Welcome
    | Authenticated
    | Description
    | SfuDescription
    | Switched
    | IceCandidate
    | Muted
    | Silenced
    | ScreenShare
    | RaiseHand
    | Leave
    | CallChanged
    | TopologyChanged
    | Relayed
    | Reconnect
    | Ack
    | Refused
)

SIGNALS: dict[str, type[Signal]] = {
    "welcome": Welcome,
    "authenticated": Authenticated,
    "offer": Description,
    "answer": Description,
    "ice_candidate": IceCandidate,
    "switched": Switched,
    "mute_audio": Muted,
    "mute_video": Muted,
    "muted": Silenced,
    "screen_share": ScreenShare,
    "raise_hand": RaiseHand,
    "reaction": Relayed,
    "quality": Relayed,
    "join": Relayed,
    "leave": Leave,
    "call": CallChanged,
    "topology": TopologyChanged,
    "reconnect": Reconnect,
    "ack": Ack,
    "error": Refused,
}


# Frames of the events socket.


class EventsWelcome(Shape, frozen=True, kw_only=True):
    cursor: str
    resumed: bool
    user_id: UserId
    token_expires_in: int | None = None


class Event(Shape, frozen=True, kw_only=True):
    cursor: str


class CallEvent(Event, frozen=True, kw_only=True):
    """`call.incoming`, `call.updated`, `call.ended`, …; `waiting` says that one is in another call."""

    type: str
    call: Call
    waiting: bool = False
    device_id: UUID | None = None


class MessageCreated(Event, frozen=True, kw_only=True):
    message: Message


class ConversationUpdated(Event, frozen=True, kw_only=True):
    conversation_id: ConversationId
    conversation: Conversation | None = None


Notice = EventsWelcome | CallEvent | MessageCreated | ConversationUpdated

NOTICES: dict[str, type[Notice | Reconnect | Authenticated]] = {
    "welcome": EventsWelcome,
    "authenticated": Authenticated,
    "call.incoming": CallEvent,
    "call.updated": CallEvent,
    "call.answered_elsewhere": CallEvent,
    "call.declined_elsewhere": CallEvent,
    "call.cancelled": CallEvent,
    "call.missed": CallEvent,
    "call.ended": CallEvent,
    "message.created": MessageCreated,
    "conversation.updated": ConversationUpdated,
    "reconnect": Reconnect,
}


class _Typed(msgspec.Struct):
    type: str
    session_id: object = None


_type = msgspec.json.Decoder(_Typed)
_by_sfu = msgspec.json.Decoder(SfuDescription)
_signals = {name: msgspec.json.Decoder(shape) for name, shape in SIGNALS.items()}
_notices = {name: msgspec.json.Decoder(shape) for name, shape in NOTICES.items()}


def decode_signal(frame: str | bytes) -> Signal | None:
    """One frame of the signaling socket, or None when its type is not known here.

    Raises msgspec.DecodeError (or its ValidationError) when a known type has a shape that docs/protocol.md does not give it.
    """
    typed = _type.decode(frame)
    if typed.session_id == "sfu" and typed.type in {"offer", "answer"}:
        return _by_sfu.decode(frame)
    decoder = _signals.get(typed.type)
    return None if decoder is None else decoder.decode(frame)


def decode_notice(frame: str | bytes) -> Notice | Reconnect | Authenticated | None:
    """One frame of the events socket; as `decode_signal`."""
    decoder = _notices.get(_type.decode(frame).type)
    return None if decoder is None else decoder.decode(frame)
