"""Seats of a node's sessions: who gets one, who keeps one without a socket, and who must not give up what is another node's."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import cast
from uuid import UUID

import pytest
from msgspec.structs import replace

from secureconnect.bus.memory import MemoryBus
from secureconnect.calls import sfu_place
from secureconnect.calls.at_sfu import CallsAtSfu
from secureconnect.calls.call import Call, Recording, Topology
from secureconnect.calls.service import CallService
from secureconnect.calls.sfu_place import Place
from secureconnect.calls.sfu_seat import Occupant
from secureconnect.errors import ServiceError
from secureconnect.ids import RecordingId
from secureconnect.media import Feed, Handles, Layer, Listener, Member, Room, SfuError, SfuLost, Track
from secureconnect.signaling.views import CallView, view_of
from tests.fakes.clock import ManualClock
from tests.unit.calls.story import ANN, BOB, CYN, START, Story

pytestmark = pytest.mark.anyio
TOPIC, ONE = "call:1", "session-1"
HERE, THERE = "here", "there"


class FakeSeat:
    """Says what was done with it."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.end: str | None = None
        self.handles = Handles(1, 2, None, is_publishing=False)
        self.feeds: frozenset[Feed] = frozenset()
        self.recorded: list[str | None] = []

    async def publish(self, sdp: str, tracks: Sequence[Track], *, anew: bool) -> str:
        return "answer"

    async def trickle(self, candidate: object, *, publishing: bool) -> None: ...

    async def want(self, feeds: frozenset[Feed]) -> bool:
        self.feeds = feeds
        return True

    async def answer(self, sdp: str) -> None: ...

    async def restart(self) -> str:
        return "offer"

    async def receive_anew(self) -> None: ...

    async def choose(self, layers: Sequence[Layer]) -> None: ...

    async def silence(self, mid: str, *, silent: bool) -> None: ...

    async def record(self, recording_id: str | None) -> None:
        self.recorded.append(recording_id)

    async def leave(self) -> None:
        self.end = "left"

    def let_go(self) -> None:
        self.end = "let go"


class FakeSfu:
    """One SFU, which may be gone."""

    size = 1

    def __init__(self) -> None:
        self.seats: list[FakeSeat] = []
        self.claimed: list[Handles] = []
        self.is_gone = False
        self.refusals = 0
        self.other: str | None = None
        """Where calls go while this one is emptied."""
        self.draining = False
        self.tell: Callable[[str], None] = lambda name: None

    def place(self) -> str | None:
        return self.other if self.is_gone or self.draining else "sfu-1"

    def placed(self, name: str) -> None: ...

    def is_usable(self, name: str) -> bool:
        return name == self.other or not (self.is_gone or self.draining)

    def is_draining(self, name: str) -> bool:
        return name == "sfu-1" and self.draining

    def watch(self, on_change: Callable[[str], None]) -> None:
        self.tell = on_change

    async def open(self, room: Room, who: Member, listener: Listener) -> FakeSeat:
        if self.is_gone:
            raise SfuLost("gone")
        if self.refusals:
            self.refusals -= 1
            raise SfuError("somebody sits there")
        self.seats.append(FakeSeat(room))
        return self.seats[-1]

    async def claim(self, room: Room, who: Member, handles: Handles, receiving: frozenset[Feed], listener: Listener) -> FakeSeat:
        self.claimed.append(handles)
        return await self.open(room, who, listener)


class FakeCalls:
    """The service: one call, as the database has it."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.lost: list[tuple[str, int]] = []

    async def look(self, _call_id: object) -> Call:
        return self.call

    async def media_lost(self, _call_id: object, sfu: str, epoch: int) -> None:
        self.lost.append((sfu, epoch))

    async def tick(self, _call_id: object) -> None: ...


class World:
    """A node, a session there, and the log of its call."""

    def __init__(self) -> None:
        call = Story.of(ANN, BOB, CYN).call
        self.calls = FakeCalls(replace(call, topology=Topology.SFU, epoch=1, sfu="sfu-1"))
        self.sfu = FakeSfu()
        self.clock = ManualClock()
        self.bus = MemoryBus(self.clock)
        self.released: list[str] = []
        self.refused: list[str] = []
        self.at_sfu = CallsAtSfu(
            calls=cast(CallService, self.calls),
            sfu=self.sfu,
            bus=self.bus,
            clock=self.clock,
            node=HERE,
            connection_id=lambda: "c",
            capacity=8,
        )

    @property
    def view(self) -> CallView:
        return view_of(self.calls.call)

    async def begin(self) -> None:
        await self.bus.subscribe(TOPIC, lambda entry: self.hear(entry.sender, entry.body))

    def hear(self, sender: str, body: bytes) -> None:
        if sfu_place.is_entry(body):
            self.at_sfu.learn_place(TOPIC, sender, body)

    async def enter(self) -> None:
        kept = (await self.bus.read(TOPIC)).retained

        def refuse(error: ServiceError, _ref: str | None) -> None:
            self.refused.append(error.code)

        self.at_sfu.enter(Occupant(TOPIC, self.calls.call.call_id, ANN, ONE), self.view, kept, refuse)
        await settle()

    async def part(self) -> bool:
        waits = self.at_sfu.part(TOPIC, ONE, lambda: self.released.append(ONE))
        await settle()
        return waits

    async def claimed_elsewhere(self) -> None:
        place = Place(THERE, 1, "sfu-1", Handles(1, 2, None, is_publishing=False))
        self.bus.publish(TOPIC, sfu_place.entry(place), sender=ONE, target=ONE, retain=sfu_place.retained(ONE, place))
        await settle()


async def settle() -> None:
    """Let everything happen that waits for nothing."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.begin()
    yield world
    await world.at_sfu.close()


async def test_a_session_of_a_call_at_an_sfu_gets_a_seat_and_says_so(world: World) -> None:
    await world.enter()
    assert [seat.room.name for seat in world.sfu.seats] == [f"{world.calls.call.call_id}.1"]
    assert sfu_place.places_in((await world.bus.read(TOPIC)).retained)[ONE].node == HERE
    assert len(world.at_sfu) == 1


async def test_a_session_of_two_who_talk_straight_gets_none(world: World) -> None:
    world.calls.call = replace(world.calls.call, topology=Topology.P2P, sfu=None, epoch=0)
    await world.enter()
    assert world.sfu.seats == []
    assert not await world.part()


async def test_who_loses_the_socket_keeps_the_seat_and_finds_it(world: World) -> None:
    await world.enter()
    assert await world.part()
    assert world.sfu.seats[0].end is None
    await world.enter()
    assert len(world.sfu.seats) == 1
    assert world.released == [ONE]


async def test_who_leaves_gives_it_up(world: World) -> None:
    await world.enter()
    world.at_sfu.left(TOPIC, ONE)
    await settle()
    assert world.sfu.seats[0].end == "left"
    assert not await world.part()
    assert sfu_place.places_in((await world.bus.read(TOPIC)).retained) == {}


async def test_who_leaves_without_a_socket_gives_it_up_too(world: World) -> None:
    await world.enter()
    await world.part()
    world.at_sfu.left(TOPIC, ONE)
    await settle()
    assert world.sfu.seats[0].end == "left"
    assert world.released == [ONE]


async def test_what_another_node_has_claimed_is_let_go_and_never_given_up(world: World) -> None:
    await world.enter()
    await world.part()
    await world.claimed_elsewhere()
    assert world.sfu.seats[0].end == "let go"
    assert world.released == [ONE]


async def test_also_when_the_old_socket_closes_last(world: World) -> None:
    await world.enter()
    await world.claimed_elsewhere()
    assert not await world.part()
    assert world.sfu.seats[0].end == "let go"


async def test_what_another_node_had_is_claimed(world: World) -> None:
    await world.claimed_elsewhere()
    await world.enter()
    assert world.sfu.claimed == [Handles(1, 2, None, is_publishing=False)]


async def test_a_call_whose_sfu_is_gone_says_so_once_and_follows(world: World) -> None:
    await world.enter()
    world.sfu.is_gone = True
    world.sfu.tell("sfu-1")
    world.sfu.tell("sfu-1")
    await settle()
    assert world.calls.lost == [("sfu-1", 1)]
    world.sfu.is_gone = False
    world.calls.call = replace(world.calls.call, epoch=2, version=world.calls.call.version + 1)
    world.at_sfu.learn(TOPIC, world.view)
    await settle()
    assert [seat.room.name.rpartition(".")[2] for seat in world.sfu.seats] == ["1", "2"]


async def test_an_sfu_that_is_emptied_keeps_a_call_until_there_is_another(world: World) -> None:
    world.sfu.draining = True
    await world.enter()
    world.sfu.tell("sfu-1")
    await settle()
    assert world.calls.lost == []
    assert len(world.sfu.seats) == 1
    world.sfu.other = "sfu-2"
    world.sfu.tell("sfu-2")
    await settle()
    assert world.calls.lost == [("sfu-1", 1)]


async def test_who_has_no_socket_stays_behind_when_the_call_moves_and_comes_along_when_they_are_back(world: World) -> None:
    await world.enter()
    await world.part()
    world.calls.call = replace(world.calls.call, epoch=2, version=world.calls.call.version + 1)
    world.at_sfu.learn(TOPIC, world.view)
    await settle()
    assert len(world.sfu.seats) == 1, "another node may sit down for the session"
    await world.enter()
    assert [seat.room.name for seat in world.sfu.seats] == [f"{world.calls.call.call_id}.{epoch}" for epoch in (1, 2)]


async def test_a_seat_that_is_refused_is_asked_for_again(world: World) -> None:
    world.sfu.refusals = 1
    await world.enter()
    assert world.sfu.seats == []
    world.clock.advance(1)
    await settle()
    assert len(world.sfu.seats) == 1


async def test_a_call_that_is_recorded_says_so_at_its_seat_wherever_it_goes_and_when_it_is_over(world: World) -> None:
    recorded = Recording(RecordingId(UUID(int=7)), ANN, START)
    await world.enter()
    world.calls.call = replace(world.calls.call, recording=recorded, version=world.calls.call.version + 1)
    world.at_sfu.learn(TOPIC, world.view)
    await settle()
    assert world.sfu.seats[0].recorded == [str(recorded.recording_id)]
    world.calls.call = replace(world.calls.call, epoch=2, version=world.calls.call.version + 1)
    world.at_sfu.learn(TOPIC, world.view)
    await settle()
    assert world.sfu.seats[1].recorded == [str(recorded.recording_id)]
    world.calls.call = replace(world.calls.call, recording=None, version=world.calls.call.version + 1)
    world.at_sfu.learn(TOPIC, world.view)
    await settle()
    assert world.sfu.seats[1].recorded == [str(recorded.recording_id), None]


async def test_who_comes_to_a_call_that_is_recorded_says_so_too(world: World) -> None:
    recorded = Recording(RecordingId(UUID(int=7)), ANN, START)
    world.calls.call = replace(world.calls.call, recording=recorded)
    await world.enter()
    assert world.sfu.seats[0].recorded == [str(recorded.recording_id)]
