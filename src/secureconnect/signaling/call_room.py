"""A call as this node sees it: its sessions here, and what must be known of it to address them.

Fed by the bus through `signaling.hub`; `signaling.handlers` publishes for its seats. Half of the relay is here: plain calls only.
"""

from collections.abc import Callable, Iterable

import msgspec

from secureconnect.accounts.grant import Grant
from secureconnect.bus import Backlog, Entry
from secureconnect.calls.at_sfu import CallsAtSfu
from secureconnect.calls.call import Call, Session
from secureconnect.calls.sfu_place import is_entry
from secureconnect.calls.silence import silenced
from secureconnect.errors import ServiceError
from secureconnect.ids import CallId, UserId
from secureconnect.signaling.hub import Channel
from secureconnect.signaling.lifetime import CLOSE_REVOKED, REVOKED
from secureconnect.signaling.protocol import Ack, CallFrame, ErrorFrame, LeaveFrame, MediaState, encode, with_seq
from secureconnect.signaling.relay_timer import RelayTimer
from secureconnect.signaling.session import OpeningQueue, TokenBucket, is_for, message_bucket, strike_bucket
from secureconnect.signaling.sfu_frames import Muted
from secureconnect.signaling.views import CallView, shorten, view_of

_CALL = b'{"type":"call",'
_LEAVE = b'{"type":"leave",'
_MUTED = b'{"type":"muted",'
_TAKEN = b'{"type":"taken",'
_call_frame = msgspec.json.Decoder(CallFrame)
_leave_frame = msgspec.json.Decoder(LeaveFrame)
_muted_frame = msgspec.json.Decoder(Muted)
_media = msgspec.json.Decoder(MediaState)

CLOSE_OK = 1000
CLOSE_TRY_AGAIN = 1013
_TOO_MUCH = "too much was said while the socket opened; come back with resume"
IsRevoked = Callable[[Grant], bool]
_GONE = "this session continues on another socket, or has left"


class _Taken(msgspec.Struct):
    generation: int


_taken_frame = msgspec.json.Decoder(_Taken)


def taken(session: Session) -> bytes:
    """What a session that comes back tells its earlier sockets, addressed to itself so that no client hears it."""
    return _TAKEN + b'"generation":%d}' % session.generation


class Seat:
    """One session at this node. Until it is seated, what it must hear waits in `waiting`."""

    __slots__ = (
        "call_id",
        "channel",
        "envelope",
        "gone",
        "grant",
        "head",
        "leave_ref",
        "media",
        "messages",
        "session",
        "session_id",
        "strikes",
        "topic",
        "user_id",
        "user_key",
        "waiting",
    )

    def __init__(self, topic: str, call_id: CallId, grant: Grant, session: Session, now: float) -> None:
        self.topic = topic
        self.call_id = call_id
        self.grant = grant
        self.user_id = user_id = grant.user_id
        self.user_key = str(user_id)
        self.session = session
        self.session_id = str(session.session_id)
        self.channel: Channel | None = None
        self.waiting: OpeningQueue | None = OpeningQueue()
        self.gone = False
        # Where the log stood at the welcome. Between nodes it is read ahead of what subscribers hear: that comes once more.
        self.head = 0
        self.leave_ref: str | None = None
        self.media = MediaState()
        # One user's in one call: `CallRoom.take` gives all sessions of a user the same.
        self.messages: TokenBucket = message_bucket(now)
        self.strikes: TokenBucket = strike_bucket(now)
        # What the server adds to everything this session sends, ready to be joined; the time of day follows.
        self.envelope = f',"sender_id":"{user_id}","session_id":"{session.session_id}","call_id":"{call_id}","timestamp":"'.encode()

    def hear(self, entry: Entry) -> None:
        if self.waiting is not None:
            self.waiting.add(entry)
        elif self.channel is not None and entry.seq > self.head:
            self.channel.send(with_seq(entry.seq, entry.body))

    def refuse(self, error: ServiceError, ref: str | None) -> None:
        """Tell the client why what it said to the SFU was not done."""
        if self.channel is not None:
            self.channel.send(encode(ErrorFrame(error.code, error.detail, ref)))


class CallRoom:
    """The sessions of one call at this node."""

    def __init__(self, topic: str, timer: RelayTimer, at_sfu: CallsAtSfu, is_revoked: IsRevoked) -> None:
        self.topic = topic
        self._is_revoked = is_revoked
        self._at_sfu = at_sfu
        self._timer = timer
        self.seats: dict[str, Seat] = {}
        self._buckets: dict[UserId, tuple[TokenBucket, TokenBucket]] = {}
        """Of every user who had a session here since this room was made: members of the conversation, 256 at most."""
        self.call: CallView | None = None
        self._reachable: frozenset[str] = frozenset()

    def learn(self, call: Call | CallView) -> CallView:
        """Keep the newest view of the call; returns it."""
        view = shorten(view_of(call)) if isinstance(call, Call) else call
        if self.call is None or view.version >= self.call.version:
            self.call = view
            inside = [one for one in view.participants if one.sessions]
            self._reachable = frozenset(
                [str(one.user_id) for one in inside] + [str(session.session_id) for one in inside for session in one.sessions]
            )
        return self.call

    def is_reachable(self, target: str) -> bool:
        """Whether a session or user of that id is in the call, connected or about to come back."""
        return target in self._reachable

    def take(self, seat: Seat) -> None:
        """A session gets its seat; the socket that held it before, if any, is told that it moved on.

        Of two that come at once, the one that opened last has the seat, whichever gets here first. What a user may send is counted
        for all sessions together, and the count goes on when a session comes back.
        """
        seat.messages, seat.strikes = self._buckets.setdefault(seat.user_id, (seat.messages, seat.strikes))
        held = self.seats.get(seat.session_id)
        if held is not None and held.session.generation > seat.session.generation:
            seat.gone = True
            return
        self.seats[seat.session_id] = seat
        if held is not None:
            part(held)

    def holds(self, seat: Seat) -> bool:
        """Whether this seat's socket is the one that carries its session here."""
        return self.seats.get(seat.session_id) is seat

    def release(self, seat: Seat) -> None:
        """The seat's socket is gone; another may have taken the seat already."""
        if self.holds(seat):
            del self.seats[seat.session_id]

    def restore(self, seat: Seat, backlog: Backlog) -> None:
        """What the session said of itself before, so that its next word adds to it."""
        kept = backlog.retained.get(seat.session_id)
        if kept is not None:
            seat.media = _media.decode(kept)

    def seat_down(self, seat: Seat, channel: Channel, welcome: bytes, head: int, missed: Iterable[Entry]) -> None:
        """The socket is open: welcome, then what was missed up to `head`, then what came while it opened.

        Meanwhile the session may have left, or its client may have come back on another socket: then this one closes.
        """
        if seat.gone:
            channel.close(CLOSE_OK, _GONE)
            return
        if seat.waiting is not None and seat.waiting.is_full:
            channel.close(CLOSE_TRY_AGAIN, _TOO_MUCH)
            return
        seat.channel, seat.head = channel, head
        channel.send(welcome)
        for entry in missed:
            channel.send(with_seq(entry.seq, entry.body))
        waiting, seat.waiting = seat.waiting, None
        for entry in waiting.entries if waiting is not None else ():
            seat.hear(entry)

    def deliver(self, entry: Entry) -> None:
        """An entry of the call's log: to whom it concerns. This is the relay."""
        body = entry.body
        if entry.target and entry.sender == entry.target:
            if is_entry(body):
                self._at_sfu.learn_place(self.topic, entry.sender, body)
            else:
                self._part_if_taken(entry)
            return
        if body.startswith(_CALL):
            self._at_sfu.learn(self.topic, self.learn(_call_frame.decode(body).call))
        elif not entry.sender and body.startswith(_MUTED):
            self._note_silence(body)
        addressed = self.seats.get(entry.target)
        for seat in list(self.seats.values()) if addressed is None else [addressed]:
            if is_for(entry, seat.session_id, seat.user_key):
                seat.hear(entry)
        if body == self._timer.body:
            self._timer.end()
        self._part_if_left(entry)

    def _note_silence(self, body: bytes) -> None:
        """A session here may be the one: its next word adds to what it now is, and the SFU forwards nothing of it."""
        frame = _muted_frame.decode(body)
        seat = self.seats.get(frame.session_id)
        if seat is not None:
            seat.media = silenced(seat.media, frame.kinds)
        self._at_sfu.silence(self.topic, frame.session_id, frozenset(frame.kinds), silent=True)

    def _part_if_taken(self, entry: Entry) -> None:
        """A session says that another socket, maybe at another node, carries it now: see `taken`."""
        seat = self.seats.get(entry.target)
        if seat is None or not entry.body.startswith(_TAKEN):
            return
        # Nodes publish each for itself: what an earlier socket said on opening may arrive after a later one took its seat here.
        if _taken_frame.decode(entry.body).generation > seat.session.generation:
            part(seat)

    def _part_if_left(self, entry: Entry) -> None:
        """A session that has left has nothing more to say: its socket closes behind the frame that told it."""
        if not entry.body.startswith(_LEAVE):
            return
        frame = _leave_frame.decode(entry.body)
        self._at_sfu.left(self.topic, str(frame.session_id))
        seat = self.seats.get(str(frame.session_id))
        if seat is None:
            return
        seat.gone = True
        if seat.channel is not None:
            if seat.leave_ref is not None:
                seat.channel.send(encode(Ack(seat.leave_ref, entry.seq)))
            if self._is_revoked(seat.grant):
                seat.channel.close(CLOSE_REVOKED, REVOKED)
            else:
                seat.channel.close(CLOSE_OK, frame.reason.value)


def part(seat: Seat) -> None:
    """Another socket carries the session from now on."""
    seat.gone = True
    if seat.channel is not None:
        seat.channel.close(CLOSE_OK, _GONE)
