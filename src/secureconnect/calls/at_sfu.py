"""What the sessions of this node have at the SFUs: one seat each while their call goes by one. Made by parts, driven by sockets.

It follows the calls of this node's sessions: which way their media goes is decided by the machine and read from the database, never
here. When an SFU is gone it says so to `calls.service`, and follows where the call is taken.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import structlog

from secureconnect.bus import Bus
from secureconnect.calls import sfu_place
from secureconnect.calls.call import Topology
from secureconnect.calls.service import CallService
from secureconnect.calls.sfu_place import Place
from secureconnect.calls.sfu_seat import Occupant, Refuse, SfuSeat, Surroundings, Way
from secureconnect.clock import Clock
from secureconnect.errors import ServiceError, Unavailable
from secureconnect.ids import CallId, short
from secureconnect.media import Room, Sfu
from secureconnect.signaling.protocol import ClientMessage
from secureconnect.signaling.views import CallView

LINGER_SECONDS = 90.0
"""How long a seat is kept for a session without a socket, if nobody hears what became of it: longer than any grace."""
RETRY_SECONDS = 1.0
MAX_HELD = 100
MAX_HELD_BYTES = 1024 * 1024
"""Messages of a call's sessions that wait until the way of its media is known: a moment of the database."""

log = structlog.get_logger(__name__)

T = TypeVar("T")


class _CallHere:
    """One call with sessions at this node."""

    def __init__(self, call_id: CallId, places: dict[str, Place]) -> None:
        self.call_id = call_id
        self.places = places
        self.seats: dict[str, SfuSeat] = {}
        self.sockets: Counter[str] = Counter()
        self.view: CallView | None = None
        self.epoch = -1
        self.way: Way | None = None
        self.recording: str | None = None
        self.is_finding = False
        self.held: list[tuple[str, ClientMessage]] = []
        self.held_bytes = 0
        self.lingering: dict[str, asyncio.Event] = {}

    @property
    def is_empty(self) -> bool:
        return not self.seats


class CallsAtSfu:
    """All of them. `capacity` is how many may publish in a room."""

    def __init__(
        self,
        *,
        calls: CallService,
        sfu: Sfu,
        bus: Bus,
        clock: Clock,
        node: str,
        connection_id: Callable[[], str],
        capacity: int,
    ) -> None:
        self._service = calls
        self._sfu = sfu
        self._clock = clock
        self._node = node
        self._capacity = capacity
        self._around = Surroundings(sfu, bus, clock, node, connection_id)
        self._calls: dict[str, _CallHere] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.reported = 0
        """How often a call here lost its SFU."""
        sfu.watch(self._sfu_changed)

    def __len__(self) -> int:
        """Seats at this node, those included that wait for their session to come back."""
        return sum(seat.is_taken for here in self._calls.values() for seat in here.seats.values())

    # What signaling tells

    def enter(self, occupant: Occupant, view: CallView, kept: Mapping[str, bytes], refuse: Refuse) -> None:
        """A socket of this session opens; `kept` is the retained state of its call's topic. Every enter needs one `part`."""
        here = self._calls.get(occupant.topic)
        if here is None:
            here = self._calls[occupant.topic] = _CallHere(occupant.call_id, sfu_place.places_in(kept))
        key = occupant.session_id
        here.sockets[key] += 1
        if (lingering := here.lingering.pop(key, None)) is not None:
            lingering.set()
        seat = here.seats.get(key)
        if seat is None:
            seat = here.seats[key] = SfuSeat(
                occupant, self._around, places=here.places, refuse=refuse, on_lost=lambda way: self._lost(here, way)
            )
            seat.record(here.recording)
        seat.follow(here.way)
        seat.refuse = refuse
        self.learn(occupant.topic, view)

    def part(self, topic: str, session_id: str, release: Callable[[], None]) -> bool:
        """A socket of the session is gone. True: its media goes on, and the call must be listened to until `release` is called."""
        here = self._calls[topic]
        here.sockets[session_id] -= 1
        if here.sockets[session_id] > 0:
            return False
        seat = here.seats[session_id]
        is_elsewhere = self._is_elsewhere(here, session_id)
        if is_elsewhere:
            self._start(seat.hand_over())
        if is_elsewhere or seat.is_over or not seat.is_taken:
            self._forget(topic, here, session_id)
            return False
        # Its client is expected back, here or at another node.
        self._start(self._linger(topic, here, seat, release))
        return True

    def learn(self, topic: str, view: CallView) -> None:
        """The call has changed."""
        here = self._calls.get(topic)
        if here is None or (here.view is not None and view.version < here.view.version):
            return
        here.view = view
        here.recording = str(view.recording.recording_id) if view.recording is not None else None
        for seat in here.seats.values():
            seat.record(here.recording)
        if view.epoch != here.epoch:
            here.epoch = view.epoch
            here.is_finding = view.topology is Topology.SFU
            if here.is_finding:
                self._start(self._find_the_way(here, view.epoch))
            else:
                self._go(here, None)

    def learn_place(self, topic: str, session_id: str, body: bytes) -> None:
        """A session of the call has told its nodes where it sits and what it publishes."""
        here = self._calls.get(topic)
        if here is None:
            return
        place = sfu_place.place_in(body)
        if place is None:
            here.places.pop(session_id, None)
        else:
            here.places[session_id] = place
            if place.node != self._node and session_id in here.seats and not here.sockets[session_id]:
                self._end_lingering(here, session_id)
        for other, seat in here.seats.items():
            if other != session_id:
                seat.sync()

    def left(self, topic: str, session_id: str) -> None:
        """The session has left for good."""
        here = self._calls.get(topic)
        if here is None or session_id not in here.seats:
            return
        here.seats[session_id].give_up()
        self._end_lingering(here, session_id)

    def take(self, topic: str, session_id: str, message: ClientMessage) -> None:
        """What a session says to the SFU. Whoever speaks before the way is known has it said once it is."""
        here = self._calls[topic]
        if here.is_finding and len(here.held) < MAX_HELD and here.held_bytes <= MAX_HELD_BYTES:
            here.held.append((session_id, message))
            here.held_bytes += message.size
        else:
            here.seats[session_id].take(message)

    def report(self, topic: str, session_id: str, raw: bytes) -> None:
        """What a session says of its connection; the newest report."""
        self._calls[topic].seats[session_id].report(raw)

    def silence(self, topic: str, session_id: str, kinds: frozenset[str], *, silent: bool) -> None:
        """A host has silenced a session, if it is here; or the session has taken that back."""
        here = self._calls.get(topic)
        seat = here.seats.get(session_id) if here is not None else None
        if seat is not None:
            seat.silence(kinds, silent=silent)

    # Where calls go

    def _go(self, here: _CallHere, way: Way | None) -> None:
        here.way = way
        for session_id, seat in here.seats.items():
            # One without a socket stays behind: its client may come back at another node, and two would sit down for one session.
            seat.follow(way if here.sockets[session_id] else None)

    async def _find_the_way(self, here: _CallHere, epoch: int) -> None:
        """The SFU's name is not on the wire: it is no business of clients."""
        call = await self._until_it_answers(lambda: self._service.look(here.call_id))
        if here.epoch != epoch:
            return  # it has changed again, and that is being looked up
        here.is_finding = False
        if call is not None and (call.topology, call.epoch) == (Topology.SFU, epoch) and call.sfu is not None:
            way = Way(epoch, Room(call.sfu, f"{call.call_id}.{epoch}", self._capacity))
            self._go(here, way)
            if self._is_over(call.sfu, ""):
                self._lost(here, way)
        held, here.held, here.held_bytes = here.held, [], 0
        for session_id, message in held:
            if session_id in here.seats:
                here.seats[session_id].take(message)

    def _lost(self, here: _CallHere, way: Way) -> None:
        if here.way != way:
            return
        self.reported += 1
        self._go(here, None)
        self._start(self._report(here, way))

    async def _report(self, here: _CallHere, way: Way) -> None:
        log.warning("call lost its SFU", call=short(here.call_id), epoch=way.epoch, sfu=way.room.sfu)
        await self._until_it_answers(lambda: self._service.media_lost(here.call_id, way.room.sfu, way.epoch))

    def _sfu_changed(self, name: str) -> None:
        """An SFU is gone, is to be emptied, or can be used again."""
        is_usable = self._sfu.is_usable(name)
        for here in list(self._calls.values()):
            if here.way is not None and self._is_over(here.way.room.sfu, name):
                self._lost(here, here.way)
            elif is_usable and here.way is None and here.view is not None and here.view.topology is not Topology.P2P:
                # Those that wait for one, and those that made do without.
                self._start(self._look_again(here))

    def _is_over(self, sfu: str, changed: str) -> bool:
        """Whether a call must go from `sfu` when `changed` has changed. One that is to be emptied keeps what has nowhere to go."""
        if self._sfu.is_draining(sfu):
            return self._sfu.place() is not None
        return sfu == changed and not self._sfu.is_usable(sfu)

    async def _look_again(self, here: _CallHere) -> None:
        await self._until_it_answers(lambda: self._service.tick(here.call_id))

    async def _until_it_answers(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """What the service answers, once its database does; None when it refuses."""
        while True:
            try:
                return await ask()
            except Unavailable:
                await self._clock.sleep(RETRY_SECONDS)
            except ServiceError as refusal:
                log.warning("call not followed", reason=refusal.detail)
                return None

    # Sessions without a socket

    async def _linger(self, topic: str, here: _CallHere, seat: SfuSeat, release: Callable[[], None]) -> None:
        """Keep the seat until its session comes back here, is taken over elsewhere, or leaves."""
        key = seat.occupant.session_id
        ended = here.lingering[key] = asyncio.Event()
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                await ended.wait()
        except TimeoutError:
            if not self._is_elsewhere(here, key):
                seat.give_up()
        if here.lingering.get(key) is ended:
            del here.lingering[key]
        if not here.sockets[key]:
            if self._is_elsewhere(here, key):
                await seat.hand_over()
            self._forget(topic, here, key)
        release()

    def _is_elsewhere(self, here: _CallHere, session_id: str) -> bool:
        """Whether another node has taken the seat over: then it is no more ours to give up."""
        place = here.places.get(session_id)
        return place is not None and place.node != self._node

    def _end_lingering(self, here: _CallHere, session_id: str) -> None:
        lingering = here.lingering.get(session_id)
        if lingering is not None:
            lingering.set()

    def _forget(self, topic: str, here: _CallHere, session_id: str) -> None:
        here.seats.pop(session_id, None)
        del here.sockets[session_id]
        if here.is_empty and not here.sockets:
            self._calls.pop(topic, None)

    # Tasks

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Keep no seat: what sessions have is for the nodes they come back to."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for here in self._calls.values():
            for seat in here.seats.values():
                await seat.hand_over()
