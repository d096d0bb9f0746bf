"""The events socket: one signed-in device, told what happens to its user's calls and conversations.

`admit` is the endpoint that `signaling.upgrade` calls. A fresh socket is first told of the calls that ring now: a phone that comes
online in the middle of a ring must ring.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from secureconnect.accounts.grant import Grant
from secureconnect.bus import Backlog, Bus, Entry, user_topic
from secureconnect.calls.call import Call
from secureconnect.clock import Clock
from secureconnect.ids import CallId, DeviceId, UserId, short
from secureconnect.signaling import reports
from secureconnect.signaling.events import CallIncoming, EventsWelcome, with_cursor
from secureconnect.signaling.hub import Channel, Hub
from secureconnect.signaling.lifetime import CLOSE_REVOKED, Lifetimes
from secureconnect.signaling.protocol import ErrorFrame, encode
from secureconnect.signaling.session import OpeningQueue, TokenBucket, strike_bucket
from secureconnect.signaling.upgrade import Attachment, position_of, uuid_of
from secureconnect.signaling.views import shorten, view_of

RingingFor = Callable[[UserId], Awaitable[list[Call]]]
OnRing = Callable[[float], None]

REPORTS_PER_SECOND, REPORTS_AT_ONCE = 2.0, 20.0
"""Of all devices of a user: they are rung seldom, and say of each ring once that it is shown."""
CLOSE_ABUSE = 1008
CLOSE_TRY_AGAIN = 1013


class Receipts(Protocol):
    """Who wants to know what became of a ring at a device."""

    def delivered(self, user_id: UserId, call_id: CallId, device_id: DeviceId | None) -> None:
        """It went out on the socket. Must not wait."""
        ...

    def shown(self, user_id: UserId, call_id: CallId, device_id: DeviceId | None) -> None:
        """The device says that it is shown. Must not wait."""
        ...


class InboxRoom:
    """The devices of one user at this node. `on_ring` hears of each ring that reached one, after how many seconds."""

    __slots__ = ("_clock", "_on_ring", "inboxes", "reports", "strikes")

    def __init__(self, clock: Clock, on_ring: OnRing) -> None:
        self.inboxes: list[Inbox] = []
        # All devices of the user together; most never send anything.
        self.reports: TokenBucket | None = None
        self.strikes: TokenBucket | None = None
        self._clock = clock
        self._on_ring = on_ring

    def deliver(self, entry: Entry) -> None:
        frame = with_cursor(entry.seq, entry.body)
        for inbox in tuple(self.inboxes):
            inbox.hear(entry, frame)
        begun = reports.rung_at(entry.body) if self.inboxes else None
        if begun is not None:
            self._on_ring(max(0.0, (self._clock.now() - begun).total_seconds()))


class InboxSockets:
    """All events sockets of this node."""

    def __init__(
        self,
        *,
        bus: Bus,
        clock: Clock,
        ringing_for: RingingFor,
        receipts: Receipts,
        limited: bool,
        lifetimes: Lifetimes,
        on_ring: OnRing = lambda seconds: None,
    ) -> None:
        self.receipts = receipts
        self.limited = limited
        self.lifetimes = lifetimes
        self._bus = bus
        self._clock = clock
        self._ringing_for = ringing_for
        self._hub: Hub[InboxRoom] = Hub(bus, lambda topic: InboxRoom(clock, on_ring))

    async def admit(self, grant: Grant, query: dict[str, str]) -> Attachment:
        """The endpoint of /v1/ws/events. Raises BadRequest."""
        user_id, declared = grant.user_id, uuid_of(query, "device_id")
        # The same object for both: an idle socket is kept small.
        device = grant.device_id if declared == grant.device_id else declared
        after = position_of(query, "cursor")
        topic = user_topic(user_id)
        room = await self._hub.enter(topic)
        inbox = Inbox(self, room, grant, DeviceId(device) if device else None)
        room.inboxes.append(inbox)
        try:
            inbox.backlog = await self._bus.read(topic, after)
            if inbox.backlog.entries is None:
                inbox.ringing = await self._ringing_for(user_id)
        except BaseException:
            await self.close(inbox)
            raise
        inbox.after = after
        return inbox

    async def close(self, inbox: "Inbox") -> None:
        inbox.room.inboxes.remove(inbox)
        await self._hub.leave(user_topic(inbox.user_id))

    def greetings(self, inbox: "Inbox") -> list[bytes]:
        """The frames that come before any other."""
        backlog = inbox.backlog
        assert backlog is not None
        left = self.lifetimes.seconds_left(inbox.grant)
        if backlog.entries is not None:
            welcome = EventsWelcome(inbox.user_id, str(inbox.after), resumed=True, token_expires_in=left)
            missed = [entry for entry in backlog.entries if inbox.hears(entry)]
            for entry in missed:
                inbox.note_ring(entry.body)
            return [encode(welcome), *(with_cursor(entry.seq, entry.body) for entry in missed)]
        welcome = EventsWelcome(inbox.user_id, str(backlog.head), resumed=False, token_expires_in=left)
        now = self._clock.now()
        rings = []
        for call in inbox.ringing:
            me = call.participant(inbox.user_id)
            event = CallIncoming(call.call_id, now, shorten(view_of(call)), waiting=me is not None and me.waiting)
            rings.append(with_cursor(backlog.head, encode(event)))
            self.receipts.delivered(inbox.user_id, call.call_id, inbox.device_id)
        return [encode(welcome), *rings]


class Inbox:
    """One events socket: the attachment that `signaling.socket` drives."""

    __slots__ = (
        "_channel",
        "_device",
        "_head",
        "_sockets",
        "_waiting",
        "after",
        "backlog",
        "device_id",
        "grant",
        "kind",
        "ringing",
        "room",
        "user_id",
    )

    def __init__(self, sockets: InboxSockets, room: InboxRoom, grant: Grant, device_id: DeviceId | None) -> None:
        self.kind = "events"
        self._sockets = sockets
        self._device = str(device_id) if device_id else ""
        self.device_id = device_id
        self._channel: Channel | None = None
        self._waiting: OpeningQueue | None = OpeningQueue()
        self._head = 0
        self.room = room
        self.grant = grant
        self.user_id = grant.user_id
        self.after: int | None = None
        self.backlog: Backlog | None = None
        self.ringing: list[Call] = []

    @property
    def context(self) -> dict[str, str]:
        return {"user": short(self.user_id)}

    def hears(self, entry: Entry) -> bool:
        """A device is not told of its own deed."""
        return not entry.sender or entry.sender != self._device

    def hear(self, entry: Entry, frame: bytes) -> None:
        if not self.hears(entry):
            return
        if self._waiting is not None:
            self._waiting.add(entry)
        elif self._channel is not None and entry.seq > self._head:
            self._channel.send(frame)
            self.note_ring(entry.body)
            self.obey(entry.body)

    def obey(self, body: bytes) -> None:
        """Close if this event signs this very device out.

        A sign-in that names its device ends with that one, see `lifetime`. What the client says counts for other sign-ins.
        """
        if self.device_id is None or self.grant.device_id is not None or self._channel is None:
            return
        if reports.revoked_in(body) == self.device_id:
            self._channel.close(CLOSE_REVOKED, "this device was signed out")

    def note_ring(self, body: bytes) -> None:
        """An event went out; when it is a ring, that is worth remembering."""
        call_id = reports.ring_in(body)
        if call_id is not None:
            self._sockets.receipts.delivered(self.user_id, call_id, self.device_id)

    def opened(self, channel: Channel) -> None:
        assert self.backlog is not None
        # Between nodes the log is read ahead of what subscribers hear: that comes once more.
        if self._waiting is not None and self._waiting.is_full:
            channel.close(CLOSE_TRY_AGAIN, "too much happened while the socket opened; come back with the cursor")
            return
        self._channel, self._head = channel, self.backlog.head
        for frame in self._sockets.greetings(self):
            channel.send(frame)
        waiting, self._waiting = self._waiting, None
        for entry in waiting.entries if waiting is not None else ():
            self.hear(entry, with_cursor(entry.seq, entry.body))
        # An open inbox is held for hours and by the thousand: it keeps nothing of its opening.
        self.backlog, self.ringing = None, []

    def received(self, frame: bytes, now: float) -> None:
        """A device says that it shows a ring, or brings a newer token. Anything else is refused with a reason."""
        if self.room.reports is None:
            self.room.reports = TokenBucket(REPORTS_PER_SECOND, REPORTS_AT_ONCE, now)
        if self._sockets.limited and not self.room.reports.take(now):
            self._refuse("rate_limited", "More than 2 reports a second: slow down.", now)
            return
        try:
            report = reports.decode(frame)
        except msgspec.ValidationError as failure:
            unknown = str(failure).endswith("`$.type`")
            self._refuse("unknown_type" if unknown else "malformed", str(failure), now)
        except (msgspec.DecodeError, RecursionError) as failure:
            self._refuse("malformed", str(failure), now)
        else:
            self._take(report)

    def _take(self, report: reports.Shown | reports.DeviceAuth) -> None:
        if isinstance(report, reports.Shown):
            self._sockets.receipts.shown(self.user_id, report.call_id, self.device_id)
        elif self._channel is not None:
            self._sockets.lifetimes.renew(self, self._channel, report.token, report.ref)

    def _refuse(self, code: str, detail: str, now: float) -> None:
        if self._channel is None:
            return
        self._channel.send(encode(ErrorFrame(code, detail)))
        if self.room.strikes is None:
            self.room.strikes = strike_bucket(now)
        if self._sockets.limited and not self.room.strikes.take(now):
            self._channel.close(CLOSE_ABUSE, "too many frames that could not be accepted")

    def revoked(self) -> None:
        """Nothing but the socket itself is there to end."""

    async def closed(self) -> None:
        await self._sockets.close(self)
