"""Two commands about one ring at the same instant, many times over: one outcome, and the same wherever one looks.

Who is written to the network first changes from race to race; who is read first is chance. Afterwards the call, both people's
history, the timeline, the sockets of every device, the pushes that a closed tab got and the trace must tell one story. `RACES` of a
kind are run, `make races` runs a thousand.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import Struct

from tests.cluster import Cluster
from tests.fakes.people import Json, Person, Refused, Socket, World
from tests.fakes.server import ServerProcess
from tests.fakes.tabs import PushService, Tab, push_service

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1800)]

RACES = int(os.environ.get("RACES", "24"))
AT_ONCE = 8
SHORTEST_RING = 5
PLACES = ("one node", "three nodes") if RACES > 100 else ("one node",)
SAID_OF_AN_END = ("call.answered_elsewhere", "call.declined_elsewhere", "call.cancelled", "call.missed", "call.ended")


class Story(Struct, frozen=True):
    """How a ring came out, as each place must tell it. `winner` is the device that decided, if one did."""

    status: str
    end_reason: str
    outcome: str
    winner: Person | None = None

    def heard_by(self, device: Person) -> list[str]:
        """What this device of the callee was told at its socket, in order."""
        words = {
            "answered": ["call.answered_elsewhere"],
            "declined": ["call.declined_elsewhere"],
            "cancelled": ["call.cancelled", "call.missed"],
            "timeout": ["call.missed"],
        }[self.outcome]
        if self.winner is not None and device.device_id == self.winner.device_id:
            words = []
        # Whoever declines ends a call of two in the same step.
        return [*words, "call.ended"]

    @property
    def pushed(self) -> str:
        """What a tab that only hears by push was told last."""
        return {"answered": "call.answered_elsewhere", "declined": "call.declined_elsewhere"}.get(self.outcome, "call.missed")

    def traced_at(self, device_id: str) -> str:
        """The outcome of the ring at a device of the callee."""
        if self.winner is None:
            return self.outcome
        return self.outcome if device_id == self.winner.device_id else f"{self.outcome}_elsewhere"


class Lane(Struct):
    """A caller, a callee with two open devices and a closed tab, and their conversation."""

    caller: Person
    phone: Person
    laptop: Person
    tab: Tab
    conversation_id: str
    inboxes: list[tuple[Person, Socket]]


class Place(Struct):
    """Where it is played: whose requests go to which node."""

    for_caller: World
    for_phone: World
    for_laptop: World
    tabs: PushService

    async def lane(self, number: int) -> Lane:
        caller, phone = await self.for_caller.people(f"Caller {number}", f"Callee {number}")
        conversation_id = await caller.converse(phone)
        laptop = await self.for_laptop.bearer(phone.token)
        phone = Person(self.for_phone, phone.user, phone.token, phone.device_id)
        inboxes = [(device, await device.events()) for device in (phone, laptop)]
        return Lane(caller, phone, laptop, await self.tabs.tab_of(phone), conversation_id, inboxes)


@pytest.fixture(params=PLACES)
def addresses(request: pytest.FixtureRequest) -> list[tuple[str, Path | None]]:
    """One node for all; or three, and every device of a person at another, the caller at the gateway."""
    if request.param == "one node":
        server: ServerProcess = request.getfixturevalue("server")
        return [(server.url, None)] * 3
    cluster: Cluster = request.getfixturevalue("cluster")
    return [(cluster.url, cluster.gateway.certificate), *((node.url, None) for node in cluster.nodes[1:])]


@pytest.fixture
async def place(addresses: list[tuple[str, Path | None]]) -> AsyncIterator[Place]:
    caller, phone, laptop = worlds = [World(*address) for address in addresses]
    async with push_service() as tabs:
        yield Place(caller, phone, laptop, tabs)
        for world in worlds:
            await world.close()


async def came_of(command: Awaitable[Json]) -> str:
    try:
        await command
    except Refused as refused:
        return f"{refused.status} {refused.code}"
    return "done"


async def both(first: Awaitable[Json], second: Awaitable[Json], turn: int) -> tuple[str, str]:
    """What came of each when they were sent at once, in this order or the other."""
    if turn % 2:
        one, other = await asyncio.gather(came_of(first), came_of(second))
    else:
        other, one = await asyncio.gather(came_of(second), came_of(first))
    return one, other


async def accept_against_cancel(lane: Lane, call: Json, turn: int) -> Story:
    accepted, cancelled = await both(lane.phone.join(call), lane.caller.end(call), turn)
    assert cancelled == "done"
    if accepted == "done":
        return Story("ended", "completed", "answered", lane.phone)
    assert accepted == "409 call_ended"
    return Story("missed", "cancelled", "cancelled")


async def accept_on_two_devices(lane: Lane, call: Json, turn: int) -> Story:
    outcomes = await both(lane.phone.join(call), lane.laptop.join(call), turn)
    assert sorted(outcomes) == ["409 answered_elsewhere", "done"]
    await lane.caller.end(call)
    return Story("ended", "completed", "answered", lane.phone if outcomes[0] == "done" else lane.laptop)


async def decline_against_accept(lane: Lane, call: Json, turn: int) -> Story:
    declined, accepted = await both(lane.phone.decline(call), lane.laptop.join(call), turn)
    if accepted == "done":
        assert declined == "409 already_joined"
        await lane.caller.end(call)
        return Story("ended", "completed", "answered", lane.laptop)
    assert (declined, accepted) == ("done", "409 call_ended")
    return Story("declined", "declined", "declined", lane.phone)


async def accept_against_timeout(lane: Lane, call: Json, turn: int) -> Story:
    deadline = datetime.fromisoformat(next(one["ring_deadline"] for one in call["participants"] if one["ring_deadline"]))
    # From a little before the deadline to a little after the timer has seen it, each at a moment of its own.
    moment = deadline + timedelta(milliseconds=3 * (turn % 41) - 20)
    await asyncio.sleep((moment - datetime.now(UTC)).total_seconds())
    if await came_of(lane.phone.join(call)) == "done":
        await lane.caller.end(call)
        return Story("ended", "completed", "answered", lane.phone)
    return Story("missed", "timeout", "timeout")


def told(inbox: Socket, call: Json) -> list[str]:
    """What this socket heard of the end of the ring, in the order of the changes."""
    said = [frame for frame in inbox.frames if frame["type"] in SAID_OF_AN_END and frame["call_id"] == call["call_id"]]
    return [frame["type"] for frame in sorted(said, key=lambda frame: int(frame["call"]["version"]))]


async def judge(lane: Lane, call: Json, story: Story) -> None:
    """Every place tells this story."""
    for device, inbox in lane.inboxes:
        ended = await inbox.expect("call.ended", call_id=call["call_id"])
        assert (ended["call"]["status"], ended["call"]["end_reason"]) == (story.status, story.end_reason)
        # Two nodes tell of two changes in whatever order: the version says which is the newer (docs/protocol.md).
        while len(told(inbox, call)) < len(story.heard_by(device)):
            await inbox.read()
    for person in (lane.caller, lane.phone, lane.laptop):
        seen = await person.look(call)
        assert (seen["status"], seen["end_reason"]) == (story.status, story.end_reason)
        [newest] = (await person.ask("GET", f"/v1/calls?conversation_id={lane.conversation_id}&limit=1"))["items"]
        assert newest == seen
    [entry] = (await lane.phone.ask("GET", f"/v1/messages?conversation_id={lane.conversation_id}&limit=1"))["items"]
    assert entry["call"]["call_id"] == call["call_id"]
    assert (entry["call"]["status"], entry["call"]["end_reason"]) == (story.status, story.end_reason)
    assert await lane.tab.told_the_end(call) == story.pushed
    trace = await lane.phone.ask("GET", f"/v1/calls/{call['call_id']}/trace")
    assert (trace["status"], trace["end_reason"]) == (story.status, story.end_reason)
    [callee] = trace["callees"]
    assert callee["outcome"] == story.outcome
    traced = {one["device_id"]: one["outcome"] for one in callee["devices"]}
    assert traced[lane.tab.device_id] == story.traced_at(lane.tab.device_id)
    if story.winner is not None:
        assert traced[story.winner.device_id] == story.outcome


Race = Callable[[Lane, Json, int], Awaitable[Story]]


async def run(place: Place, race: Race, *, lanes: int, ring: int = 45) -> list[Story]:
    stories: list[Story] = []
    door = asyncio.Semaphore(AT_ONCE)

    async def one_lane(number: int) -> None:
        mine: list[tuple[Json, Story]] = []
        async with door:
            lane = await place.lane(number)
        for turn in range(number, RACES, lanes):
            call = await lane.caller.initiate(lane.conversation_id, lane.phone, ring_timeout=ring)
            story = await race(lane, call, turn)
            await judge(lane, call, story)
            mine.append((call, story))
        # What came late would be here by now: nothing is told twice, nor a ring pushed once it is over.
        for call, story in mine:
            assert [told(inbox, call) for _, inbox in lane.inboxes] == [story.heard_by(device) for device, _ in lane.inboxes]
            assert await lane.tab.told_the_end(call) == story.pushed
        stories.extend(story for _, story in mine)

    async with asyncio.TaskGroup() as group:
        for number in range(min(lanes, RACES)):
            group.create_task(one_lane(number))
    counts = {outcome: sum(story.outcome == outcome for story in stories) for outcome in {story.outcome for story in stories}}
    print(f"{race.__name__}: {len(stories)} races, {counts}")
    assert len(stories) == RACES
    return stories


async def test_accept_against_cancel(place: Place) -> None:
    await run(place, accept_against_cancel, lanes=AT_ONCE)


async def test_accept_on_two_devices(place: Place) -> None:
    await run(place, accept_on_two_devices, lanes=AT_ONCE)


async def test_decline_on_one_device_and_accept_on_another(place: Place) -> None:
    await run(place, decline_against_accept, lanes=AT_ONCE)


async def test_accept_against_timeout(place: Place) -> None:
    stories = await run(place, accept_against_timeout, lanes=min(RACES, 50), ring=SHORTEST_RING)
    if RACES >= 1_000:
        assert {story.outcome for story in stories} == {"answered", "timeout"}, "they did not meet"
