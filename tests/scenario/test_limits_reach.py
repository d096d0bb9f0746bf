"""Limits on what reaches other people, with the limits on: rings, additions, renames; and that a refused request leaves nothing."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from tests.fakes.people import Person, Refused, World
from tests.fakes.redis import RedisServer
from tests.fakes.server import ServerProcess
from tests.scenario.conftest import serving

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    async with serving(tmp_path_factory.mktemp("data"), RATE_LIMITS="on") as server:
        yield server


async def outcome(person: Person, method: str, path: str, body: object = None) -> str:
    try:
        await person.ask(method, path, body)
    except Refused as refused:
        return str(refused.code) if refused.status != 429 or int(refused.headers["retry-after"]) >= 1 else "no Retry-After"
    return "done"


async def test_conversations_are_limited_by_who_begins_them(world: World) -> None:
    eve, ben = await world.people("Eve", "Ben")
    body = {"participant_ids": [ben.user_id]}
    got = Counter([await outcome(eve, "POST", "/v1/conversations", body) for _ in range(40)])
    assert got == {"done": 30, "rate_limited": 10}


async def test_additions_are_limited_by_who_is_added(world: World) -> None:
    ben, *others = await world.people("Ben", "Eve", "Mallory", "Oscar")
    body = {"participant_ids": [ben.user_id]}
    got = Counter([await outcome(other, "POST", "/v1/conversations", body) for other in others for _ in range(25)])
    assert got == {"done": 60, "rate_limited": 15}
    friend, other_friend = await world.people("Friend", "Other")
    assert await outcome(friend, "POST", "/v1/conversations", {"participant_ids": [other_friend.user_id]}) == "done"


async def test_renames_are_limited(world: World) -> None:
    eve, ben = await world.people("Eve", "Ben")
    path = f"/v1/conversations/{await eve.converse(ben)}"
    got = Counter([await outcome(eve, "PATCH", path, {"title": str(number)}) for number in range(40)])
    assert got == {"done": 30, "rate_limited": 10}


async def test_rings_are_limited_by_who_is_rung_whoever_rings(world: World) -> None:
    ben, *callers = await world.people("Ben", *(f"Caller {number}" for number in range(8)))
    got: Counter[str] = Counter()
    for caller in callers:
        conversation_id = await caller.converse(ben)
        for _ in range(9):
            try:
                await caller.end(await caller.initiate(conversation_id, ben))
            except Refused as refused:
                got[refused.code] += 1
            else:
                got["rung"] += 1
    assert got == {"rung": 60, "rate_limited": 12}


async def test_rings_of_people_who_do_not_exist_count_nothing(world: World) -> None:
    eve, ben = await world.people("Eve", "Ben")
    conversation_id = await eve.converse(ben)
    for _ in range(15):
        body = {"call_type": "audio", "conversation_id": str(uuid4()), "callee_ids": [str(uuid4()) for _ in range(100)]}
        assert await outcome(eve, "POST", "/v1/calls/initiate", body) == "not_found"
    for _ in range(15):
        body = {"call_type": "audio", "conversation_id": conversation_id, "callee_ids": [ben.user_id, str(uuid4())]}
        assert await outcome(eve, "POST", "/v1/calls/initiate", body) == "not_a_member"
    assert await eve.initiate(conversation_id, ben), "what was refused did not count as a ring"


async def test_a_route_that_only_reads_is_limited_too(world: World) -> None:
    (eve,) = await world.people("Eve")
    got = Counter([await outcome(eve, "GET", "/v1/ice-servers") for _ in range(70)])
    assert got == {"done": 60, "rate_limited": 10}


async def test_a_flood_of_refused_rings_switches_no_limit_off(tmp_path_factory: pytest.TempPathFactory) -> None:
    redis = RedisServer()
    redis.start()
    try:
        async with serving(tmp_path_factory.mktemp("data"), RATE_LIMITS="on", BUS_URL=redis.url) as server:
            world = World(server.url)
            eve, ben, mallory = await world.people("Eve", "Ben", "Mallory")
            conversation_id = await eve.converse(ben)
            keys = int(redis.command("DBSIZE"))
            refused: Counter[str] = Counter()

            async def flood() -> None:
                for _ in range(60):
                    body = {"call_type": "audio", "conversation_id": str(uuid4()), "callee_ids": [str(uuid4()) for _ in range(100)]}
                    refused[await outcome(mallory, "POST", "/v1/calls/initiate", body)] += 1

            floods = [asyncio.create_task(flood()) for _ in range(8)]
            rung: Counter[str] = Counter()
            for _ in range(20):
                try:
                    await eve.end(await eve.initiate(conversation_id, ben))
                except Refused as refusal:
                    rung[refusal.code] += 1
                else:
                    rung["rung"] += 1
            await asyncio.gather(*floods)
            assert rung == {"rung": 10, "rate_limited": 10}
            assert refused["rate_limited"] >= 480 - 240, refused
            assert set(refused) <= {"not_found", "rate_limited"}
            assert int(redis.command("DBSIZE")) - keys < 100, "refused requests leave no counters"
            assert not [line for line in server.lines if line.get("event") == "limits are not shared"]
            await world.close()
    finally:
        redis.stop()
