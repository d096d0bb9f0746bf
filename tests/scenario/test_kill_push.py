"""kill -9 between the commit of a ring and its push, and while the push is being sent: it goes out nevertheless, as long as it
rings, and never once the ring is over.

The process dies the moment its answer arrives (the push may be written, claimed or sent by then), or while the push service holds
the request. `KILLS` times; `make races` does it two hundred times.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from secureconnect.push.vapid import new_private_key
from secureconnect.store import open_database
from secureconnect.store.schema import migrate
from tests.fakes.people import Json, Person, Refused, World
from tests.fakes.postgres import running_postgres
from tests.fakes.provider import Answer
from tests.fakes.redis import RedisServer
from tests.fakes.server import ServerProcess
from tests.fakes.tabs import HOSTS as TAB_HOSTS
from tests.fakes.tabs import PushService, Tab, push_service

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1800)]

KILLS = int(os.environ.get("KILLS", "4"))
AT_ONCE = 3
"""Calls that begin together when the process dies."""
RING_SECONDS = 180
UNDER_WAY_SECONDS = 1.0
"""A ring that another node had begun to send when it was cancelled arrives within this; one not claimed yet is not sent."""
NODE_SETTINGS = {"RATE_LIMITS": "off", "WEBPUSH_HOSTS": TAB_HOSTS}


class Line:
    """A caller, a callee whose only device is a closed tab, and their conversation."""

    def __init__(self, caller: Person, callee: Person, tab: Tab, conversation_id: str) -> None:
        self.caller = caller
        self.callee = callee
        self.tab = tab
        self.conversation_id = conversation_id

    async def ring(self) -> Json | None:
        """The call, or None when the process died before it said so."""
        try:
            return await self.caller.initiate(self.conversation_id, self.callee, ring_timeout=RING_SECONDS)
        except (httpx2.TransportError, Refused):
            return None

    async def ringing(self, world: World) -> list[Json]:
        """The calls that were kept, whatever was answered, and ring."""
        there = Person(world, self.caller.user, self.caller.token, self.caller.device_id)
        calls: list[Json] = (await there.ask("GET", f"/v1/calls?conversation_id={self.conversation_id}&limit=1"))["items"]
        return [call for call in calls if call["status"] == "ringing"]

    async def cancel(self, world: World, call: Json) -> None:
        await Person(world, self.caller.user, self.caller.token, self.caller.device_id).end(call)

    async def told_the_end(self, call: Json) -> None:
        """The end is the last word: no ring comes behind it."""
        await self.tab.heard(call, "call.missed")
        assert self.tab.about(call)[-1] == "call.missed"
        assert self.tab.about(call).count("call.missed") >= 1


async def lines(world: World, tabs: PushService) -> list[Line]:
    made = []
    for number in range(AT_ONCE):
        caller, callee = await world.people(f"Caller {number}", f"Callee {number}")
        made.append(Line(caller, callee, await tabs.tab_of(callee), await caller.converse(callee)))
    return made


async def kill_while_ringing(server: ServerProcess, tabs: PushService, several: list[Line], *, is_sending: bool) -> int:
    """Begin a call on each line and kill the server at the moment; how many pushes had got out by then."""
    before = sum(len(line.tab.pushes) for line in several)
    came = tabs.next_push()
    never = asyncio.Event()
    tabs.answer = lambda _tab, _request: Answer(201, after=never if is_sending else None)
    begun = [asyncio.create_task(line.ring()) for line in several]
    moment = asyncio.ensure_future(came) if is_sending else asyncio.wait(begun, return_when=asyncio.FIRST_COMPLETED)
    async with asyncio.timeout(20):
        await moment
    await server.kill()
    never.set()
    await asyncio.gather(*begun)
    tabs.answer = lambda _tab, _request: Answer(201)
    return sum(len(line.tab.pushes) for line in several) - before


@pytest.fixture
async def tabs() -> AsyncIterator[PushService]:
    async with push_service() as tabs:
        yield tabs


async def test_a_node_that_is_started_again_sends(tmp_path: Path, tabs: PushService) -> None:
    server = ServerProcess(tmp_path, **NODE_SETTINGS)
    await server.start()
    world = World(server.url)
    several, out, kept = await lines(world, tabs), 0, 0
    for turn in range(KILLS // 2):
        is_sending = bool(turn % 2)
        out += await kill_while_ringing(server, tabs, several, is_sending=is_sending)
        await server.start()
        for line in several:
            for call in await line.ringing(world):
                kept += 1
                await line.tab.heard(call, "call.incoming")
                await line.cancel(world, call)
                await line.told_the_end(call)
    print(f"{KILLS // 2} kills of one node: {kept} calls were kept, {out} pushes were out when it died")
    assert kept >= KILLS // 2
    await world.close()
    assert await server.stop() == 0


async def test_another_node_sends(tmp_path: Path, tabs: PushService) -> None:
    redis = RedisServer()
    redis.start()
    try:
        with running_postgres() as url:
            database = open_database(url)
            await migrate(database)
            await database.close()
            shared = {"DATABASE_URL": url, "BUS_URL": redis.url, "VAPID_PRIVATE_KEY": new_private_key(), **NODE_SETTINGS}
            async with ServerProcess(tmp_path / "survivor", **shared) as survivor:
                victim = ServerProcess(tmp_path / "victim", **shared)
                await victim.start()
                await _kill_beside(victim, survivor, tabs)
                await victim.stop()
    finally:
        redis.stop()


async def _kill_beside(victim: ServerProcess, survivor: ServerProcess, tabs: PushService) -> None:
    at_victim, at_survivor = World(victim.url), World(survivor.url)
    several, out = await lines(at_victim, tabs), 0
    left: list[tuple[Line, Json]] = []
    cancelled: list[tuple[Line, Json, float]] = []
    known: set[str] = set()
    for turn in range(KILLS - KILLS // 2):
        out += await kill_while_ringing(victim, tabs, several, is_sending=bool(turn % 2))
        for number, line in enumerate(several):
            for call in await line.ringing(at_survivor):
                if call["call_id"] in known:
                    continue  # the process died before it had kept the next one: this has its fate already
                known.add(call["call_id"])
                if number == turn % AT_ONCE:
                    await line.cancel(at_survivor, call)
                    cancelled.append((line, call, asyncio.get_running_loop().time()))
                else:
                    left.append((line, call))
        await victim.start()
    # Those that were being sent are free when the lease of the dead has run out.
    for line, call in left:
        await line.tab.heard(call, "call.incoming")
        await line.cancel(at_survivor, call)
        await line.told_the_end(call)
    for line, call, at in cancelled:
        await line.told_the_end(call)
        rings = [push["at"] for push in line.tab.pushes if push["call_id"] == call["call_id"] and push["type"] == "call.incoming"]
        assert all(ring < at + UNDER_WAY_SECONDS for ring in rings), "a ring was sent after it was cancelled"
    print(
        f"{KILLS - KILLS // 2} kills beside another node: {len(left)} rings sent by whoever lived, {len(cancelled)} cancelled; "
        f"{out} pushes were out when it died"
    )
    assert left
    for world in (at_victim, at_survivor):
        await world.close()
