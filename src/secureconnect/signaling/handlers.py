"""From a frame to its effect: one row a message type. Called by the socket for every frame of a signaling session.

Relaying publishes to the bus and waits for nothing; only `leave` goes to the call service. Refuses in words and keeps the socket.
"""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

from secureconnect.bus import Bus
from secureconnect.calls.at_sfu import CallsAtSfu
from secureconnect.signaling.call_room import CallRoom, Seat
from secureconnect.signaling.hub import Channel
from secureconnect.signaling.lifetime import Holder
from secureconnect.signaling.protocol import (
    Ack,
    Answer,
    Auth,
    ClientMessage,
    ErrorFrame,
    IceCandidate,
    IceRestart,
    LeaveMessage,
    MuteAudio,
    MuteVideo,
    Offer,
    Quality,
    RaiseHand,
    Reaction,
    ScreenShare,
    Switched,
    View,
    decode,
    encode,
)
from secureconnect.signaling.relay_timer import ONE_IN, RelayTimer
from secureconnect.signaling.sfu_frames import SFU

POLICY_VIOLATION = 1008

SFU_HEARS = (Offer, Answer, IceCandidate)
"""What may be said to a session as well as to the SFU."""

OnLeave = Callable[[Seat], None]
OnReport = Callable[[Seat, bytes], None]
Renew = Callable[[Holder, Channel, str, str | None], None]


class Refusal(Exception):
    """A frame that cannot be accepted; becomes an `error` frame."""

    def __init__(self, code: str, detail: str, ref: str | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.ref = ref


class Handlers:
    """What to do with each message."""

    def __init__(
        self,
        *,
        bus: Bus,
        on_leave: OnLeave,
        on_report: OnReport,
        at_sfu: CallsAtSfu,
        unix_time: Callable[[], float],
        timer: RelayTimer,
        limited: bool,
        renew: Renew,
    ) -> None:
        self._publish = bus.publish
        self._on_leave = on_leave
        self._on_report = on_report
        self._at_sfu = at_sfu
        self._limited = limited
        self._renew_token = renew
        self._stamp = _Stamp(unix_time)
        self._timer = timer
        self.relayed = 0
        self.refused: Counter[str] = Counter()
        self._table: dict[type[ClientMessage], Callable[[CallRoom, Seat, Any], None]] = {
            Offer: self._relay,
            Answer: self._relay,
            IceCandidate: self._relay,
            IceRestart: self._to_sfu,
            View: self._to_sfu,
            Switched: self._relay,
            Reaction: self._relay,
            Quality: self._relay_and_report,
            MuteAudio: self._relay_and_keep,
            MuteVideo: self._relay_and_keep,
            ScreenShare: self._relay_and_keep,
            RaiseHand: self._relay_and_keep,
            LeaveMessage: self._leave,
            Auth: self._renew,
        }

    def receive(self, room: CallRoom, seat: Seat, frame: bytes, now: float) -> None:
        """One text frame. `now`: seconds of a monotonic clock."""
        try:
            self._check_rate(seat, frame, now)
            message = parse(frame)
            self._table[type(message)](room, seat, message)
        except Refusal as refusal:
            self._refuse(seat, refusal, now)

    def _check_rate(self, seat: Seat, frame: bytes, now: float) -> None:
        if self._limited and not seat.messages.take(now):
            raise Refusal("rate_limited", "More than 50 messages a second: slow down.", _ref_of(frame))

    def _refuse(self, seat: Seat, refusal: Refusal, now: float) -> None:
        self.refused[refusal.code] += 1
        if seat.channel is None:
            return
        seat.channel.send(encode(ErrorFrame(refusal.code, refusal.detail, refusal.ref)))
        if self._limited and not seat.strikes.take(now):
            seat.channel.close(POLICY_VIOLATION, "too many frames that could not be accepted")

    def _relay(self, room: CallRoom, seat: Seat, message: ClientMessage) -> None:
        target = message.target_id or ""
        if not target:
            message.target_id = UNSET  # null and empty are no target either, and nobody need hear of it
        elif target == SFU and isinstance(message, SFU_HEARS):
            self._to_sfu(room, seat, message)
            return
        elif not room.is_reachable(target):
            raise Refusal("unknown_target", "target_id: no such session or user is in this call.", message.ref or None)
        self._send(seat, message, target, None)

    def _to_sfu(self, room: CallRoom, seat: Seat, message: ClientMessage) -> None:
        """It is no session: what it is told goes to nobody else."""
        self._at_sfu.take(room.topic, seat.session_id, message)
        if message.ref and seat.channel is not None:
            seat.channel.send(encode(Ack(message.ref)))

    def _relay_and_keep(self, room: CallRoom, seat: Seat, message: MuteAudio | MuteVideo | ScreenShare | RaiseHand) -> None:
        """Goes to everybody, whatever its target: it changes the snapshot, and that is one for all."""
        message.target_id = UNSET
        media = seat.media.after(message)
        self._send(seat, message, "", (seat.session_id, encode(media)))
        seat.media = media
        if isinstance(message, MuteAudio | MuteVideo) and not message.muted:
            kinds = frozenset({"audio" if isinstance(message, MuteAudio) else "video"})
            self._at_sfu.silence(room.topic, seat.session_id, kinds, silent=False)

    def _relay_and_report(self, room: CallRoom, seat: Seat, message: Quality) -> None:
        """The others show it now, and the server keeps it."""
        report = message.report
        self._relay(room, seat, message)
        if report is not UNSET:
            self._on_report(seat, bytes(report))
            self._at_sfu.report(room.topic, seat.session_id, bytes(report))

    def _send(self, seat: Seat, message: ClientMessage, target: str, retain: tuple[str, bytes | None] | None) -> None:
        """Stamp the message and publish it: the other half of the relay."""
        ref = message.ref or None
        message.ref = UNSET
        body = encode(message)[:-1] + seat.envelope + self._stamp() + b'"}'
        acknowledge = None if ref is None else _acknowledge(seat, ref)
        self.relayed += 1
        if not self.relayed % ONE_IN:
            self._timer.begin(body)
        if not self._publish(seat.topic, body, sender=seat.session_id, target=target, retain=retain, acknowledge=acknowledge):
            raise Refusal("unavailable", "The others cannot be reached now; send it again later.", ref)

    def _renew(self, _room: CallRoom, seat: Seat, message: Auth) -> None:
        if seat.channel is not None:
            self._renew_token(seat, seat.channel, message.token, message.ref or None)

    def _leave(self, _room: CallRoom, seat: Seat, message: LeaveMessage) -> None:
        seat.leave_ref = message.ref or None
        self._on_leave(seat)


def parse(frame: bytes) -> ClientMessage:
    """The message in a frame. Raises Refusal for whatever is not an acceptable one."""
    if not frame.isascii():
        # Raw members are passed on as they came, and a socket that gets broken UTF-8 must close (RFC 6455, section 8.1).
        try:
            frame.decode()
        except UnicodeDecodeError:
            raise Refusal("malformed", "Not UTF-8.") from None
    try:
        message = decode(frame)
    except msgspec.ValidationError as failure:
        raise Refusal(_code_of(failure), str(failure), _ref_of(frame)) from None
    except (msgspec.DecodeError, RecursionError) as failure:
        raise Refusal("malformed", str(failure)) from None
    fault = message.fault()
    if fault is not None:
        raise Refusal("malformed", fault, message.ref or None)
    return message


def _code_of(failure: msgspec.ValidationError) -> str:
    return "unknown_type" if "Invalid value" in str(failure) and str(failure).endswith("`$.type`") else "malformed"


class _OnlyRef(msgspec.Struct):
    ref: Any = None


_only_ref = msgspec.json.Decoder(_OnlyRef)


def _ref_of(frame: bytes) -> str | None:
    """The ref of a frame that is otherwise no good, so that its sender can tell which one it was."""
    try:
        ref = _only_ref.decode(frame).ref
    except (msgspec.DecodeError, RecursionError):
        return None
    return ref if isinstance(ref, str) and len(ref) <= 64 else None


def _acknowledge(seat: Seat, ref: str) -> Callable[[int], None]:
    def send(seq: int) -> None:
        if seat.channel is not None:
            seat.channel.send(encode(Ack(ref, seq)))

    return send


class _Stamp:
    """The time of day as RFC 3339 with milliseconds, formatted once a millisecond."""

    __slots__ = ("_milliseconds", "_text", "_unix_time")

    def __init__(self, unix_time: Callable[[], float]) -> None:
        self._unix_time = unix_time
        self._milliseconds = 0
        self._text = b""

    def __call__(self) -> bytes:
        now = self._unix_time()
        milliseconds = int(now * 1000)
        if milliseconds != self._milliseconds:
            self._milliseconds = milliseconds
            self._text = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.").encode() + b"%03dZ" % (milliseconds % 1000)
        return self._text
