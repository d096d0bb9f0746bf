"""One call's sockets without a network or a database: the real bus, rooms, seats and handlers, a call kept in memory.

And clients that lose their connection, come back, and remember what they heard.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar, cast
from uuid import UUID

import msgspec

from secureconnect.accounts.grant import Grant
from secureconnect.accounts.revocations import Revocations
from secureconnect.accounts.service import Principal
from secureconnect.bus import Acknowledge, Backlog, call_topic
from secureconnect.bus.memory import MemoryBus
from secureconnect.calls import machine
from secureconnect.calls.announce import Announcer
from secureconnect.calls.at_sfu import CallsAtSfu
from secureconnect.calls.call import Call, CallType, Session
from secureconnect.calls.commands import CloseSession, Command, Initiate, Join, Leave, OpenSession, Person, Tick
from secureconnect.calls.service import CallService
from secureconnect.clock import Clock
from secureconnect.errors import Unauthenticated
from secureconnect.ids import CallId, ConversationId, DeviceId, NodeId, SessionId, UserId
from secureconnect.keys import InternalKeys
from secureconnect.media.pool import JanusPool
from secureconnect.robot.snapshot import QUIET, Snapshot, after, opening
from secureconnect.robot.wire import Call as SeenCall
from secureconnect.robot.wire import MediaState, Refused, Relayed, Welcome, decode_signal
from secureconnect.signaling.call_socket import CallSockets
from secureconnect.signaling.lifetime import Lifetimes
from secureconnect.signaling.protocol import Limits
from secureconnect.signaling.relay_timer import RelayTimer
from secureconnect.signaling.session import ResumeTokens
from secureconnect.signaling.upgrade import Attachment
from secureconnect.signaling.views import view_of
from secureconnect.store import Database
from tests.fakes.clock import ManualClock

CALL = CallId(UUID(int=0xCA11))
TOPIC = call_topic(CALL)
NODE = NodeId(UUID(int=0xE0))
GRACE = timedelta(seconds=30)
ANN, BOB, CYN = (UserId(UUID(int=0xA0 + number)) for number in range(3))
T = TypeVar("T")


class Published(msgspec.Struct, frozen=True):
    seq: int
    sender: str
    target: str
    body: bytes

    def concerns(self, session_id: str, user_id: str) -> bool:
        """The protocol's rule, in the test's own words."""
        if self.sender == session_id:
            return False
        return self.target == "" or self.target == session_id or self.target == user_id


class WatchedBus(MemoryBus):
    """The memory bus; it remembers everything said in the call, and lets the world go on just before a log is read."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.published: list[Published] = []
        self.before_read: list[Callable[[], None]] = []

    def publish(
        self,
        topic: str,
        body: bytes,
        *,
        sender: str = "",
        target: str = "",
        retain: tuple[str, bytes | None] | None = None,
        acknowledge: Acknowledge | None = None,
    ) -> bool:
        def note(seq: int) -> None:
            if topic == TOPIC:
                self.published.append(Published(seq, sender, target, body))
            if acknowledge is not None:
                acknowledge(seq)

        return super().publish(topic, body, sender=sender, target=target, retain=retain, acknowledge=note)

    async def read(self, topic: str, after: int | None = None) -> Backlog:
        meanwhile, self.before_read = self.before_read, []
        for happen in meanwhile:
            happen()
        return await super().read(topic, after)


class CallInMemory:
    """The call service's part that sockets use, with one call and no database."""

    def __init__(self, clock: Clock, bus: WatchedBus, people: tuple[UserId, ...]) -> None:
        self._clock = clock
        self._announcer = Announcer(bus)
        self._people = people
        self._sessions = 0
        caller, *callees = (Person(user, f"Person {user.int:x}") for user in people)
        start = Initiate(
            call_id=CALL,
            conversation_id=ConversationId(UUID(int=0xC0)),
            call_type=CallType.VIDEO,
            caller=caller,
            callees=tuple(callees),
            capacity=4,
            ring=timedelta(seconds=45),
            grace=GRACE,
        )
        self.call: Call = machine.initiate(start, clock.now()).call

    def join(self, user: UserId, device: DeviceId | None, mode: str | None = None) -> None:
        self.command(Join(Person(user, f"Person {user.int:x}"), GRACE, device, mode))

    def tick(self) -> None:
        self.command(Tick())

    async def open_session(
        self,
        user_id: UserId,
        _call_id: CallId,
        device_id: DeviceId | None,
        resume: SessionId | None,
        attempt: int | None = None,
    ) -> tuple[Call, Session]:
        self._sessions += 1
        fresh = SessionId(UUID(int=0x5E00 + self._sessions))
        self.command(OpenSession(user_id, fresh, NODE, device_id, resume, attempt=attempt))
        me = self.call.participant(user_id)
        assert me is not None
        found = {session.session_id: session for session in me.sessions}
        return self.call, found.get(fresh) or found[cast(SessionId, resume)]

    async def keep_session(self, user_id: UserId, _call_id: CallId, session: Session) -> Session:
        if self.session(user_id, session.session_id) == session:
            return session
        resume = session.session_id
        self.command(OpenSession(user_id, resume, NODE, session.device_id, resume, session.generation))
        kept = self.session(user_id, resume)
        assert kept is not None
        return kept

    def session(self, user_id: UserId, session_id: SessionId) -> Session | None:
        me = self.call.participant(user_id)
        return next((one for one in me.sessions if one.session_id == session_id), None) if me is not None else None

    async def close_session(self, user_id: UserId, _call_id: CallId, session: Session) -> None:
        self.command(CloseSession(user_id, session.session_id, session.generation, GRACE))

    async def leave(self, user_id: UserId, _call_id: CallId, session_id: SessionId | None = None) -> None:
        self.command(Leave(user_id, session_id))

    async def look(self, _call_id: CallId) -> Call:
        return self.call

    def leave_session(self, user_id: UserId, session_id: SessionId) -> None:
        self.command(Leave(user_id, session_id))

    def leave_now(self, user_id: UserId) -> None:
        self.command(Leave(user_id))

    def command(self, command: Command) -> None:
        before = self.call
        outcome = machine.decide(before, command, self._clock.now())
        if outcome.changed:
            self.call = msgspec.structs.replace(outcome.call, version=before.version + 1)
            self._announcer.announce(before, self.call, outcome.events, self._people, self._clock.now())


class Link:
    """A connection: what the server sends waits until the client reads it, and is lost when the connection is."""

    def __init__(self, attachment: Attachment) -> None:
        self.attachment = attachment
        self.unread: list[bytes] = []
        self.closed_with: int | None = None

    def send(self, frame: bytes) -> None:
        if self.closed_with is None:
            self.unread.append(frame)

    def close(self, code: int, _reason: str) -> None:
        if self.closed_with is None:
            self.closed_with = code


class World:
    """The call, its sockets at one node, and a loop to run them on."""

    def __init__(self, *people: UserId, limited: bool = False) -> None:
        self.clock = ManualClock()
        self.bus = WatchedBus(self.clock)
        self.calls = CallInMemory(self.clock, self.bus, people)
        self._spawned: list[Awaitable[None]] = []
        self.reports: list[tuple[str, bytes]] = []
        self.timed: list[float] = []
        self.at_sfu = CallsAtSfu(
            calls=cast(CallService, self.calls),
            sfu=JanusPool((), self.clock, key_of=lambda _name: b"", bitrate=0),
            bus=self.bus,
            clock=self.clock,
            node=str(NODE),
            connection_id=lambda: "a connection",
            capacity=32,
        )
        # No database: what tests revoke, they announce.
        self.revocations = Revocations(database=cast(Database, None), bus=self.bus, clock=self.clock, lifetime=timedelta(hours=24))
        self.tokens: dict[str, Grant] = {}
        self.lifetimes = Lifetimes(
            revocations=self.revocations,
            authenticate=self._authenticate,
            unix_time=lambda: self.clock.now().timestamp(),
            spawn=self._spawned.append,
        )
        self.sockets = CallSockets(
            calls=cast(CallService, self.calls),
            bus=self.bus,
            clock=self.clock,
            unix_time=lambda: self.clock.now().timestamp(),
            tokens=ResumeTokens(InternalKeys("a secret of the tests")),
            timer=RelayTimer(self.clock.monotonic, self.timed.append),
            ice_servers=lambda _grant: [],
            limits=Limits(grace_seconds=GRACE.total_seconds()),
            limited=limited,
            lifetimes=self.lifetimes,
            revocations=self.revocations,
            on_report=lambda seat, report: self.reports.append((seat.session_id, report)),
            at_sfu=self.at_sfu,
            spawn=self._spawned.append,
        )
        self._runner = asyncio.Runner()

    async def _authenticate(self, token: str) -> Principal:
        if token not in self.tokens:
            raise Unauthenticated
        self.revocations.check(self.tokens[token])
        return Principal(self.tokens[token].user_id, "Somebody", self.tokens[token])

    def grant(self, user_id: UserId, seconds: float = 900.0, **more: Any) -> Grant:
        """What a token allows that was issued now."""
        now = self.clock.now().timestamp()
        return Grant(user_id, now, now + seconds, **more)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def fresh_snapshot(self) -> Snapshot:
        """What a newcomer would be told now."""
        retained = self.run(self.bus.read(TOPIC)).retained
        call = msgspec.convert(msgspec.to_builtins(view_of(self.calls.call)), SeenCall)
        media = {SessionId(UUID(key)): msgspec.json.decode(value, type=MediaState) for key, value in retained.items()}
        return comparable(Snapshot(call=call, media=media, topology=call.topology))

    def run_spawned(self) -> None:
        async def wait_for(work: Awaitable[None]) -> None:
            await work

        while self._spawned:
            self.run(wait_for(self._spawned.pop(0)))

    def close(self) -> None:
        self._runner.close()


class Client:
    """One device: its session, where it stands in the log, what it heard since its last fresh welcome, its snapshot.

    `knocked_at` is the last seq of the call before it asked for the session.
    """

    def __init__(self, world: World, user_id: UserId, device_id: DeviceId) -> None:
        self.world = world
        self.user_id = user_id
        self.device_id = device_id
        self.grant: Grant | None = None
        self.opening: Attachment | None = None
        self.link: Link | None = None
        self._greeted = False
        self._head = 0
        self.forget()

    def forget(self) -> None:
        """As after a fresh start: nothing to come back to."""
        self.session_id: SessionId | None = None
        self.resume: str | None = None
        self.seq = 0
        self.began_at = 0
        self.knocked_at = 0
        self.heard: list[int] = []
        self.refusals: list[Refused] = []
        self.snapshot: Snapshot | None = None

    def knock(self) -> None:
        """Ask for a socket, with all one remembers. Raises what the service refuses with."""
        self._head = self.world.bus.published[-1].seq if self.world.bus.published else 0
        query = {"call_id": str(CALL), "device_id": str(self.device_id)}
        if self.resume is not None:
            query |= {"resume": self.resume, "seq": str(self.seq)}
        self.opening = self.world.run(self.world.sockets.admit(self.grant or self.world.grant(self.user_id, 1e9), query))

    def enter(self) -> Link:
        """The socket opens."""
        attachment, self.opening = self.opening, None
        assert attachment is not None
        self.link, self._greeted = Link(attachment), False
        attachment.opened(self.link)
        return self.link

    def connect(self) -> Link:
        self.knock()
        return self.enter()

    def say(self, **frame: object) -> None:
        assert self.link is not None
        self.link.attachment.received(msgspec.json.encode(frame), self.world.clock.monotonic())

    def read(self, frames: int | None = None) -> None:
        """Take in what came, all of it or so many frames."""
        assert self.link is not None
        now, self.link.unread = self.link.unread[:frames], self.link.unread[len(self.link.unread[:frames]) :]
        for frame in now:
            self._take_in(frame)

    def lose(self) -> Link:
        """The connection is gone with what was not read; the server has yet to notice."""
        link, self.link = self.link, None
        assert link is not None
        return link

    @property
    def talking(self) -> bool:
        """Welcomed, and not yet said goodbye to."""
        return self._greeted and self.link is not None and self.link.closed_with is None

    def remember(self, own: bytes) -> None:
        """What one said of oneself: nobody tells it back."""
        signal = decode_signal(own)
        assert signal is not None
        assert self.snapshot is not None
        self.snapshot = after(self.snapshot, signal)

    def _take_in(self, frame: bytes) -> None:
        signal = decode_signal(frame)
        assert signal is not None
        match signal:
            case Welcome():
                self._begin(signal)
            case Relayed():
                assert signal.seq > self.seq, "seq is strictly increasing"
                self.seq = signal.seq
                self.heard.append(signal.seq)
                assert self.snapshot is not None
                self.snapshot = after(self.snapshot, signal)
            case Refused():
                self.refusals.append(signal)

    def _begin(self, welcome: Welcome) -> None:
        if welcome.resumed:
            assert (welcome.session_id, welcome.seq) == (self.session_id, self.seq)
        else:
            self.forget()
            self.began_at = self.seq = welcome.seq
            self.knocked_at = self._head
            self.snapshot = opening(welcome)
            assert self.snapshot is not None
        self.session_id, self.resume, self._greeted = welcome.session_id, welcome.resume, True


def comparable(snapshot: Snapshot | None) -> Snapshot:
    """A session in which nothing is set has no entry, or one that says so: the protocol takes them for the same."""
    assert snapshot is not None
    media = {session: state for session, state in snapshot.media.items() if state != QUIET}
    return msgspec.structs.replace(snapshot, media=media)
