"""Every message of the two sockets: the shapes behind docs/protocol.md and /asyncapi.json. How a call looks is in `views`.

Pure. `signaling.handlers` decodes with it, services encode with it, the robot and the load tool read with it. `Raw` members pass
through unparsed: an SDP is 4 KB of escaped text, and taking it apart to put it together again would double the cost of a relay.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from secureconnect.calls.call import LeaveReason, Topology
from secureconnect.ids import CallId, DeviceId, RecordingId, SessionId, UserId
from secureconnect.signaling.raw_json import find_fault
from secureconnect.signaling.sfu_frames import SFU_FRAMES, Source
from secureconnect.signaling.views import CallView
from secureconnect.text import is_name

SUBPROTOCOL = "secureconnect.v1"
BEARER_PREFIX = "bearer."
MAX_FRAME_BYTES = 65_536
MESSAGES_PER_SECOND = 50
BURST = 200
QUEUE_MESSAGES = 256
QUEUE_BYTES = 1_048_576
CONNECTION_BYTES = 4 * QUEUE_BYTES
"""What one socket may be sent at once: a snapshot, all that a log keeps, and what came while it opened."""
MAX_TOKEN_CHARS = 8192
MAX_TRACKS = 3
"""A microphone, a camera, a screen."""
MAX_TILES = 200

Epoch = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""No larger than what JavaScript can count."""
Text64 = Annotated[str, Meta(max_length=64)]
encode = msgspec.json.Encoder().encode


# --- From the client ----------------------------------------------------------------------------------------------------------


class ClientMessage(Struct):
    """What every message may carry. `target_id`: a session or a user; absent means everybody else. `ref` returns in the answer."""

    relayed: ClassVar[bool] = True

    target_id: Text64 | UnsetType | None = UNSET
    ref: Text64 | UnsetType | None = UNSET

    def fault(self) -> str | None:
        """What is wrong with the parts that were not parsed, or None."""
        return None

    @property
    def size(self) -> int:
        """Bytes of the parts that were not parsed: of those that a client makes as large as it likes."""
        return 0


def _starts_with(raw: Raw, any_of: bytes) -> bool:
    """JSON's first byte tells the kind of value."""
    return memoryview(raw)[0] in any_of


def _named(member: str, fault: str | None) -> str | None:
    return None if fault is None else f"{member}: {fault}"


class OfferedTrack(Struct, frozen=True):
    """What is in the section `mid` of an offer to the SFU."""

    mid: Text64
    source: Source


class Offer(ClientMessage, tag="offer", kw_only=True):
    """An SDP offer (RFC 8829). `connection_id` names the sender's RTCPeerConnection; `epoch` and `tracks` are for the SFU."""

    sdp: Raw
    connection_id: Text64 | UnsetType = UNSET
    epoch: Epoch | UnsetType = UNSET
    tracks: Annotated[list[OfferedTrack], Meta(max_length=MAX_TRACKS)] | UnsetType = UNSET

    def fault(self) -> str | None:
        return None if _starts_with(self.sdp, b'"') else "sdp: expected a string"

    @property
    def size(self) -> int:
        return len(bytes(self.sdp))


class Answer(Offer, tag="answer", kw_only=True):
    """An SDP answer to an offer."""


class IceCandidate(ClientMessage, tag="ice_candidate", kw_only=True):
    """One ICE candidate as RTCIceCandidate.toJSON() makes it, or null when there are no more."""

    candidate: Raw
    connection_id: Text64 | UnsetType = UNSET
    epoch: Epoch | UnsetType = UNSET

    def fault(self) -> str | None:
        if not _starts_with(self.candidate, b"{n"):
            return "candidate: expected an object or null"
        return _named("candidate", find_fault(self.candidate))

    @property
    def size(self) -> int:
        return len(bytes(self.candidate))


class MuteAudio(ClientMessage, tag="mute_audio", kw_only=True):
    """The microphone is off, or on again."""

    muted: bool


class MuteVideo(ClientMessage, tag="mute_video", kw_only=True):
    """The camera is off, or on again."""

    muted: bool


class ScreenShare(ClientMessage, tag="screen_share"):
    """A screen is shown, or no longer."""

    active: bool = True


class RaiseHand(ClientMessage, tag="raise_hand"):
    """A hand is raised, or lowered."""

    raised: bool = True


class Reaction(ClientMessage, tag="reaction"):
    """A feeling, in passing."""

    emoji: Annotated[str, Meta(min_length=1, max_length=32)] = "👍"

    def fault(self) -> str | None:
        return None if is_name(self.emoji) else "emoji: expected an emoji"


class Quality(ClientMessage, tag="quality"):
    """The sender's own statistics, so that others can be shown how well one is connected."""

    report: Raw | UnsetType = UNSET

    def fault(self) -> str | None:
        if self.report is UNSET:
            return None
        return _named("report", find_fault(self.report)) if _starts_with(self.report, b"{") else "report: expected an object"


class IceRestart(ClientMessage, tag="ice_restart", kw_only=True):
    """To the SFU: offer the connection `connection_id`, by which this session receives, with new ICE; without one, another."""

    relayed: ClassVar[bool] = False

    connection_id: Text64 | UnsetType = UNSET
    epoch: Epoch | UnsetType = UNSET


class Tile(Struct, frozen=True):
    """What is shown of a session, in device pixels."""

    session_id: Text64
    source: Source
    width: Annotated[int, Meta(ge=0, le=32_767)]
    height: Annotated[int, Meta(ge=0, le=32_767)]


class View(ClientMessage, tag="view", kw_only=True):
    """Which pictures this session shows and how large; what is not named is not shown. Decides what the SFU sends it."""

    relayed: ClassVar[bool] = False

    tiles: Annotated[list[Tile], Meta(max_length=MAX_TILES)]


class Switched(ClientMessage, tag="switched", kw_only=True):
    """The sender shows the target's picture on the way of this epoch: the way before is not needed for it."""

    epoch: Epoch


class LeaveMessage(ClientMessage, tag="leave"):
    """This session leaves the call."""

    relayed: ClassVar[bool] = False


class Auth(ClientMessage, tag="auth", kw_only=True):
    """A newer access token of the same user: the socket stays open for as long as this one counts."""

    relayed: ClassVar[bool] = False

    token: Annotated[str, Meta(min_length=1, max_length=MAX_TOKEN_CHARS)]


AnyClientMessage = (
    Offer
    | Answer
    | IceCandidate
    | IceRestart
    | View
    | Switched
    | MuteAudio
    | MuteVideo
    | ScreenShare
    | RaiseHand
    | Reaction
    | Quality
    | LeaveMessage
    | Auth
)
KeptMessage = MuteAudio | MuteVideo | ScreenShare | RaiseHand
decode: Callable[[bytes], ClientMessage] = msgspec.json.Decoder(AnyClientMessage).decode


class MediaState(Struct, frozen=True, omit_defaults=False):
    """What a session has said about itself; part of the snapshot."""

    audio_muted: bool = False
    video_muted: bool = False
    screen_share: bool = False
    hand_raised: bool = False

    def after(self, message: KeptMessage) -> "MediaState":
        match message:
            case MuteAudio():
                return msgspec.structs.replace(self, audio_muted=message.muted)
            case MuteVideo():
                return msgspec.structs.replace(self, video_muted=message.muted)
            case ScreenShare():
                return msgspec.structs.replace(self, screen_share=message.active)
            case RaiseHand():
                return msgspec.structs.replace(self, hand_raised=message.raised)


# --- From the server, signaling -----------------------------------------------------------------------------------------------


class IceServer(Struct, frozen=True, omit_defaults=True):
    """An RTCIceServer (W3C WebRTC, section 4.2.4)."""

    urls: list[str]
    username: str | None = None
    credential: str | None = None


class Limits(Struct, frozen=True):
    """What a socket may do: bytes a frame, messages a second, messages at once; and seconds a place is kept without a socket."""

    grace_seconds: float
    max_frame_bytes: int = MAX_FRAME_BYTES
    messages_per_second: int = MESSAGES_PER_SECOND
    burst: int = BURST


class Welcome(Struct, frozen=True, tag="welcome"):
    """The first frame of a signaling socket. `call` and `media` are the snapshot at `seq`, absent when what was missed follows.

    `token_expires_in`: in so many seconds the socket closes with 4004 unless the client shows a newer token.
    """

    session_id: SessionId
    user_id: UserId
    resume: str
    resumed: bool
    seq: int
    topology: Topology
    epoch: int
    ice_servers: list[IceServer]
    limits: Limits
    token_expires_in: int
    call: CallView | UnsetType = UNSET
    media: dict[str, Raw] | UnsetType = UNSET


class JoinFrame(Struct, frozen=True, tag="join"):
    """A session is there for the first time; it will send the offers."""

    call_id: CallId
    timestamp: datetime
    sender_id: UserId
    session_id: SessionId
    device_id: DeviceId | None
    display_name: str


class LeaveFrame(Struct, frozen=True, tag="leave"):
    """A session has left for good."""

    call_id: CallId
    timestamp: datetime
    sender_id: UserId
    session_id: SessionId
    reason: LeaveReason


class CallFrame(Struct, frozen=True, tag="call"):
    """The call's state changed."""

    call_id: CallId
    timestamp: datetime
    call: CallView


class TopologyFrame(Struct, frozen=True, tag="topology"):
    """Media takes another way from now on. The same topology in a later epoch: another SFU, so everything is published anew."""

    call_id: CallId
    timestamp: datetime
    topology: Topology
    epoch: int


class RecordingFrame(Struct, frozen=True, tag="recording"):
    """A recording has begun, or has stopped. `user_id` is who did that, None when it ended with the call or without an SFU.

    `reason` is the limit at which the server stopped it: `length`, `quota`, `disk` or `bit_rate`.
    """

    call_id: CallId
    timestamp: datetime
    recording_id: RecordingId
    state: Literal["started", "stopped"]
    user_id: UserId | None
    reason: str | None = None


class Reconnect(Struct, frozen=True, tag="reconnect"):
    """This node goes away: close, wait `after_ms` milliseconds, come back with `resume` or `cursor`. On both sockets."""

    after_ms: int


class Ack(Struct, frozen=True, tag="ack"):
    """The message with this `ref` was accepted, under this `seq`; one to the SFU alone has none."""

    ref: str
    seq: int | UnsetType = UNSET


class Authenticated(Struct, frozen=True, tag="authenticated"):
    """The `auth` frame with this `ref` was accepted; the new token expires in so many seconds. On both sockets.

    `ice_servers`, on the signaling socket: with credentials that are good for as long as the new token.
    """

    token_expires_in: int
    ref: str | None = None
    ice_servers: list[IceServer] | UnsetType = UNSET


class ErrorFrame(Struct, frozen=True, tag="error"):
    """The last frame, or the one with `ref`, was not accepted; the socket stays open."""

    code: str
    detail: str
    ref: str | None = None


SIGNALING_FRAMES: tuple[type[Struct], ...] = (
    Welcome,
    JoinFrame,
    LeaveFrame,
    CallFrame,
    TopologyFrame,
    RecordingFrame,
    *SFU_FRAMES,
    Reconnect,
    Ack,
    Authenticated,
    ErrorFrame,
)


def with_seq(seq: int, body: bytes) -> bytes:
    """A log entry as a frame: seq is known only once the log has given it."""
    return b'{"seq":%d,' % seq + body[1:]


def type_of(frame: type[Struct]) -> Any:
    """The `type` a frame carries."""
    return frame.__struct_config__.tag
