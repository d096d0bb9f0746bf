"""The events socket: one signed-in device, told what happens to its user's calls and conversations.

`admit` is the endpoint that `signaling.upgrade` calls. A fresh socket is first told of the calls that ring now: a phone that comes
online in the middle of a ring must ring.
"""

from collections.abc import Awaitable, Callable

from secureconnect.bus import Backlog, Bus, Entry, user_topic
from secureconnect.calls.call import Call
from secureconnect.clock import Clock
from secureconnect.ids import UserId, short
from secureconnect.signaling.hub import Channel, Hub
from secureconnect.signaling.protocol import CallIncoming, EventsWelcome, encode, view_of, with_cursor
from secureconnect.signaling.upgrade import Attachment, position_of, uuid_of

RingingFor = Callable[[UserId], Awaitable[list[Call]]]


class InboxRoom:
    """The devices of one user at this node."""

    __slots__ = ("inboxes",)

    def __init__(self, _topic: str) -> None:
        self.inboxes: list[Inbox] = []

    def deliver(self, entry: Entry) -> None:
        frame = with_cursor(entry.seq, entry.body)
        for inbox in tuple(self.inboxes):
            inbox.hear(entry, frame)


class InboxSockets:
    """All events sockets of this node."""

    def __init__(self, *, bus: Bus, clock: Clock, ringing_for: RingingFor) -> None:
        self._bus = bus
        self._clock = clock
        self._ringing_for = ringing_for
        self._hub: Hub[InboxRoom] = Hub(bus, InboxRoom)

    async def admit(self, user_id: UserId, query: dict[str, str]) -> Attachment:
        """The endpoint of /v1/ws/events. Raises BadRequest."""
        device = uuid_of(query, "device_id")
        after = position_of(query, "cursor")
        topic = user_topic(user_id)
        room = await self._hub.enter(topic)
        inbox = Inbox(self, room, user_id, str(device) if device else "")
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
        if backlog.entries is not None:
            welcome = EventsWelcome(inbox.user_id, str(inbox.after), resumed=True)
            missed = [with_cursor(entry.seq, entry.body) for entry in backlog.entries if inbox.hears(entry)]
            return [encode(welcome), *missed]
        welcome = EventsWelcome(inbox.user_id, str(backlog.head), resumed=False)
        now = self._clock.now()
        rings = []
        for call in inbox.ringing:
            me = call.participant(inbox.user_id)
            event = CallIncoming(call.call_id, now, view_of(call), waiting=me is not None and me.waiting)
            rings.append(with_cursor(backlog.head, encode(event)))
        return [encode(welcome), *rings]


class Inbox:
    """One events socket: the attachment that `signaling.socket` drives."""

    __slots__ = ("_channel", "_device", "_head", "_sockets", "_waiting", "after", "backlog", "kind", "ringing", "room", "user_id")

    def __init__(self, sockets: InboxSockets, room: InboxRoom, user_id: UserId, device: str) -> None:
        self.kind = "events"
        self._sockets = sockets
        self._device = device
        self._channel: Channel | None = None
        self._waiting: list[Entry] | None = []
        self._head = 0
        self.room = room
        self.user_id = user_id
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
            self._waiting.append(entry)
        elif self._channel is not None and entry.seq > self._head:
            self._channel.send(frame)

    def opened(self, channel: Channel) -> None:
        assert self.backlog is not None
        # Between nodes the log is read ahead of what subscribers hear: that comes once more.
        self._channel, self._head = channel, self.backlog.head
        for frame in self._sockets.greetings(self):
            channel.send(frame)
        waiting, self._waiting = self._waiting, None
        for entry in waiting or []:
            self.hear(entry, with_cursor(entry.seq, entry.body))
        # An open inbox is held for hours and by the thousand: it keeps nothing of its opening.
        self.backlog, self.ringing = None, []

    def received(self, frame: bytes, now: float) -> None:
        """Nothing a client says here means anything but that it lives."""

    async def closed(self) -> None:
        await self._sockets.close(self)
