"""The signaling socket's life: a session opens in the call service, takes its seat in the room, talks, and closes.

Made by parts; `admit` is the endpoint that `signaling.upgrade` calls.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

import structlog
from msgspec import UNSET, Raw, Struct

from secureconnect.accounts.grant import Grant
from secureconnect.accounts.revocations import Revocations
from secureconnect.bus import Backlog, Bus, Entry, call_topic
from secureconnect.calls.at_sfu import CallsAtSfu
from secureconnect.calls.call import Call, Session
from secureconnect.calls.service import CallService
from secureconnect.calls.sfu_place import without_places
from secureconnect.calls.sfu_seat import Occupant
from secureconnect.clock import Clock
from secureconnect.errors import BadRequest, ServiceError, Unavailable
from secureconnect.ids import CallId, DeviceId, UserId, short
from secureconnect.signaling.absent import AbsentSessions
from secureconnect.signaling.call_room import CallRoom, Seat, part, taken
from secureconnect.signaling.handlers import Handlers, OnReport
from secureconnect.signaling.hub import Channel, Hub
from secureconnect.signaling.lifetime import IceServers, Lifetimes
from secureconnect.signaling.protocol import ErrorFrame, Limits, Welcome, encode
from secureconnect.signaling.relay_timer import RelayTimer
from secureconnect.signaling.session import ResumeTokens, missed
from secureconnect.signaling.upgrade import Attachment, position_of, uuid_of

log = structlog.get_logger(__name__)

CLOSE_RETRY_SECONDS = 1.0
"""Pause before a close is reported again to a database that was away. The grace counts from when it gets through."""

KEPT_AT_ONCE = 8
"""Sessions written down at the same time by a node that was taken for lost: most of its database connections, but not all."""
KEPT_AGAIN_SECONDS = 5.0

Spawn = Callable[[Awaitable[None]], None]


class Position(Struct, frozen=True):
    """From where somebody comes: the device, its session's token and the last seq seen, and by which of its attempts to connect."""

    device_id: DeviceId | None
    token: str | None
    after: int | None
    attempt: int | None

    @classmethod
    def of(cls, query: dict[str, str]) -> "Position":
        """Raises BadRequest."""
        device_id = uuid_of(query, "device_id")
        after, attempt = position_of(query, "seq"), position_of(query, "attempt")
        return cls(DeviceId(device_id) if device_id else None, query.get("resume"), after, attempt)


class Opening(Struct, frozen=True):
    """What is known when a seat is taken: where the log stands, where the client stands in it, and what the client must hear.

    `seq` is where the client goes on: the last seq that it saw if it resumes, else the place of the snapshot.
    """

    seat: Seat
    room: CallRoom
    backlog: Backlog
    resumed: bool
    seq: int
    missed: list[Entry]

    @classmethod
    def of(cls, seat: Seat, room: CallRoom, backlog: Backlog, *, after: int | None, before: int) -> "Opening":
        """`after`: the last seq that a client saw which continues its session. `before`: a seq older than the opened session.

        A session can be addressed as soon as the call lists it, which is before its log is read. What was acknowledged to others
        in between is heard behind the snapshot, else it would be lost. The snapshot knows of it already, which does no harm.
        """
        resumed = after is not None and backlog.entries is not None
        entries = backlog.entries or [] if resumed else [entry for entry in backlog.kept if entry.seq > before]
        theirs = list(missed(entries, seat.session_id, seat.user_key))
        if after is not None and resumed:
            return cls(seat, room, backlog, True, after, theirs)
        return cls(seat, room, backlog, False, theirs[0].seq - 1 if theirs else backlog.head, theirs)


class CallSockets:
    """All signaling sockets of this node."""

    def __init__(
        self,
        *,
        calls: CallService,
        bus: Bus,
        clock: Clock,
        unix_time: Callable[[], float],
        tokens: ResumeTokens,
        timer: RelayTimer,
        ice_servers: IceServers,
        limits: Limits,
        limited: bool,
        lifetimes: Lifetimes,
        revocations: Revocations,
        on_report: OnReport,
        at_sfu: CallsAtSfu,
        spawn: Spawn,
    ) -> None:
        self._calls = calls
        self._at_sfu = at_sfu
        self._bus = bus
        self._clock = clock
        self._tokens = tokens
        self._ice_servers = ice_servers
        self._limits = limits
        self._spawn = spawn
        self.hub: Hub[CallRoom] = Hub(bus, lambda topic: CallRoom(topic, timer, at_sfu, revocations.is_revoked))
        self.handlers = Handlers(
            bus=bus,
            on_leave=self._on_leave,
            on_report=on_report,
            at_sfu=at_sfu,
            unix_time=unix_time,
            timer=timer,
            limited=limited,
            renew=partial(lifetimes.renew, ice_servers=ice_servers),
        )
        self._lifetimes = lifetimes
        self._absent = AbsentSessions(
            revocations=revocations,
            monotonic=clock.monotonic,
            grace_seconds=limits.grace_seconds,
            end=self._end_absent,
            spawn=spawn,
        )
        self.sessions: Counter[str] = Counter()
        """Sockets since the start by how their session began: `new`, `resumed` with all it missed, `renewed` by a snapshot."""

    async def admit(self, grant: Grant, query: dict[str, str]) -> Attachment:
        """The endpoint of /v1/calls/ws/signaling. Raises BadRequest, and what CallService.open_session does."""
        call_id = uuid_of(query, "call_id")
        if call_id is None:
            raise BadRequest("call_id: say which call, as ?call_id=<uuid>.")
        return await self._open(grant, CallId(call_id), Position.of(query))

    async def _open(self, grant: Grant, call_id: CallId, position: Position) -> "CallSocket":
        topic, user_id = call_topic(call_id), grant.user_id
        resume = self._tokens.read(position.token, call_id) if position.token else None
        room = await self.hub.enter(topic)
        before = self._bus.position(topic)
        opening = asyncio.ensure_future(self._calls.open_session(user_id, call_id, position.device_id, resume, position.attempt))
        try:
            call, session = await asyncio.shield(opening)
        except asyncio.CancelledError:
            self._spawn(self._abandon(topic, user_id, call_id, opening))
            raise
        except BaseException:
            await self.hub.leave(topic)
            raise
        view = room.learn(call)
        seat = Seat(topic, call_id, grant, session, self._clock.monotonic())
        room.take(seat)
        self._absent.remove(seat.session_id)
        try:
            if session.generation > 1:
                self._bus.publish(topic, taken(session), sender=seat.session_id, target=seat.session_id)
            after = position.after if session.session_id == resume else None
            backlog = await self._bus.read(topic, before if after is None else after)
        except BaseException:
            # The session is open for everybody else; whoever asked for it will not get a socket.
            self._spawn(self._give_back(room, seat))
            raise
        room.restore(seat, backlog)
        self._at_sfu.enter(Occupant(topic, call_id, user_id, seat.session_id), view, backlog.retained, seat.refuse)
        opened = Opening.of(seat, room, backlog, after=after, before=before)
        self.sessions["new" if session.session_id != resume else "resumed" if opened.resumed else "renewed"] += 1
        return CallSocket(self, opened)

    def welcome(self, opening: Opening) -> bytes:
        """The first frame: from where the client goes on, with a snapshot unless it resumes."""
        seat, room, resumed = opening.seat, opening.room, opening.resumed
        call = room.call
        assert call is not None
        frame = Welcome(
            session_id=seat.session.session_id,
            user_id=seat.user_id,
            resume=self._tokens.make(seat.session.session_id, seat.call_id),
            resumed=resumed,
            seq=opening.seq,
            topology=call.topology,
            epoch=call.epoch,
            ice_servers=self._ice_servers(seat.grant),
            limits=self._limits,
            token_expires_in=self._lifetimes.seconds_left(seat.grant),
            call=UNSET if resumed else call,
            media=UNSET if resumed else {key: Raw(value) for key, value in without_places(opening.backlog.retained).items()},
        )
        return encode(frame)

    async def close(self, room: CallRoom, seat: Seat) -> None:
        """The socket is gone. Unless its session has left, the participant has the grace to come back."""
        room.release(seat)
        if not seat.gone:
            self._absent.add(seat)
        if not self._at_sfu.part(seat.topic, seat.session_id, lambda: self._spawn(self.hub.leave(seat.topic))):
            await self.hub.leave(seat.topic)
        await self._close_session(seat.user_id, seat.call_id, seat.session, lambda: seat.gone)

    def revoke(self, seat: Seat) -> None:
        """The sign-in of an open socket was revoked: its session leaves, and the SFU forwards nothing of it from now on."""
        seat.gone = True
        self._at_sfu.left(seat.topic, seat.session_id)
        self._spawn(self._leave_for_good(seat))

    async def _end_absent(self, seat: Seat) -> None:
        """The sign-in of a session without a socket was revoked: it leaves, unless it goes on by another socket."""
        while True:
            try:
                call = await self._calls.look(seat.call_id)
            except Unavailable:
                await self._clock.sleep(CLOSE_RETRY_SECONDS)
            except ServiceError:
                return
            else:
                break
        person = call.participant(seat.user_id)
        sessions = () if person is None else person.sessions
        if any(s.session_id == seat.session.session_id and s.generation == seat.session.generation for s in sessions):
            self._at_sfu.left(seat.topic, seat.session_id)
            await self._leave_for_good(seat)

    async def _leave_for_good(self, seat: Seat) -> None:
        """Have the session leave, however long the database is away."""
        while True:
            try:
                await self._calls.leave(seat.user_id, seat.call_id, seat.session.session_id)
            except Unavailable:
                await self._clock.sleep(CLOSE_RETRY_SECONDS)
            except ServiceError as failure:
                log.info(
                    "revoked session had left", call=short(seat.call_id), session=short(seat.session_id), reason=failure.detail
                )
                return
            else:
                return

    async def _give_back(self, room: CallRoom, seat: Seat) -> None:
        """The session was opened for a socket that will not open."""
        room.release(seat)
        await self.hub.leave(seat.topic)
        await self._close_session(seat.user_id, seat.call_id, seat.session, lambda: seat.gone)

    async def _abandon(self, topic: str, user_id: UserId, call_id: CallId, opening: asyncio.Future[tuple[Call, Session]]) -> None:
        """Whoever asked was given up while the session opened. How far it came nobody knows, so it opens, and closes."""
        await self.hub.leave(topic)
        try:
            _, session = await opening
        except ServiceError:
            return
        await self._close_session(user_id, call_id, session, lambda: False)

    async def keep_sessions(self) -> None:
        """This node may have been taken for lost, and its sessions for closed: say of each that its socket is open here.

        A socket whose session has gone, or goes on elsewhere, closes. Returns when all is written down.
        """
        await self._keep_all()
        # Another node may be in the middle of a change for which this one still was lost.
        await self._clock.sleep(KEPT_AGAIN_SECONDS)
        await self._keep_all()

    async def _keep_all(self) -> None:
        waiting = [(room, seat) for room in self.hub.rooms for seat in room.seats.values()]
        log.info("keeping sessions", sessions=len(waiting))

        async def work() -> None:
            while waiting:
                await self._keep_session(*waiting.pop())

        async with asyncio.TaskGroup() as group:
            for _ in range(KEPT_AT_ONCE):
                group.create_task(work())

    async def _keep_session(self, room: CallRoom, seat: Seat) -> None:
        while room.holds(seat) and not seat.gone:
            try:
                kept = await self._calls.keep_session(seat.user_id, seat.call_id, seat.session)
            except Unavailable:
                await self._clock.sleep(CLOSE_RETRY_SECONDS)
            except ServiceError:
                part(seat)
            else:
                seat.session = kept
                if not room.holds(seat):
                    # Its socket closed meanwhile, which was said of the session as it was before.
                    await self._close_session(seat.user_id, seat.call_id, kept, lambda: seat.gone)
                return

    async def _close_session(self, user_id: UserId, call_id: CallId, session: Session, has_left: Callable[[], bool]) -> None:
        """Report the close until it is written down, or the session has left meanwhile."""
        while not has_left():
            try:
                await self._calls.close_session(user_id, call_id, session)
            except Unavailable:
                await self._clock.sleep(CLOSE_RETRY_SECONDS)
            except ServiceError as failure:
                log.warning("session not closed", call=short(call_id), session=short(session.session_id), reason=failure.detail)
                return
            else:
                return

    def _on_leave(self, seat: Seat) -> None:
        self._spawn(self._leave(seat))

    async def _leave(self, seat: Seat) -> None:
        try:
            await self._calls.leave(seat.user_id, seat.call_id, seat.session.session_id)
        except ServiceError as failure:
            if seat.channel is not None:
                seat.channel.send(encode(ErrorFrame(failure.code, failure.detail, seat.leave_ref)))


class CallSocket:
    """One signaling socket: the attachment that `signaling.socket` drives."""

    __slots__ = ("_opening", "_sockets", "kind")

    def __init__(self, sockets: CallSockets, opening: Opening) -> None:
        self.kind = "signaling"
        self._sockets = sockets
        self._opening = opening

    @property
    def user_id(self) -> UserId:
        return self._opening.seat.user_id

    @property
    def context(self) -> dict[str, str]:
        seat = self._opening.seat
        return {"user": short(seat.user_id), "call": short(seat.call_id), "session": short(seat.session.session_id)}

    @property
    def grant(self) -> Grant:
        return self._opening.seat.grant

    def revoked(self) -> None:
        self._sockets.revoke(self._opening.seat)

    def opened(self, channel: Channel) -> None:
        opening = self._opening
        frame = self._sockets.welcome(opening)
        opening.room.seat_down(opening.seat, channel, frame, opening.backlog.head, opening.missed)

    def received(self, frame: bytes, now: float) -> None:
        self._sockets.handlers.receive(self._opening.room, self._opening.seat, frame, now)

    async def closed(self) -> None:
        await asyncio.shield(self._sockets.close(self._opening.room, self._opening.seat))
