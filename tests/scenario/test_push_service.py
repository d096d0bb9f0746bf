"""What a push service says is obeyed by a real server: later is later but in time, gone is gone, and silence holds nobody up."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.fakes.people import World
from tests.fakes.provider import Answer, Request
from tests.fakes.tabs import PushService, Tab, push_service

pytestmark = pytest.mark.anyio


@pytest.fixture
async def tabs() -> AsyncIterator[PushService]:
    async with push_service() as tabs:
        yield tabs


async def test_one_that_is_busy_gets_the_ring_when_it_said_and_while_it_rings(world: World, tabs: PushService) -> None:
    ada, ben = await world.people("Ada", "Ben")
    tab = await tabs.tab_of(ben)
    answers = iter([Answer(429, headers={"retry-after": "1"}), Answer(503), Answer(201)])
    tabs.answer = lambda _tab, _request: next(answers, Answer(201))
    call = await ada.initiate(await ada.converse(ben), ben, ring_timeout=30)
    async with asyncio.timeout(20):
        while len(tab.about(call)) < 3:  # noqa: ASYNC110  (what changes is in another process)
            await asyncio.sleep(0.02)
    first, second, _ = (push["at"] for push in tab.pushes)
    assert second - first >= 1
    assert (await ada.look(call))["status"] == "ringing"
    await ada.end(call)
    await tab.heard(call, "call.missed")
    assert tab.about(call) == ["call.incoming"] * 3 + ["call.missed"]


@pytest.mark.parametrize("status", [404, 410])
async def test_one_that_says_gone_is_asked_no_more(world: World, tabs: PushService, status: int) -> None:
    ada, ben = await world.people("Ada", "Ben")
    gone, here = await tabs.tab_of(ben), await tabs.tab_of(ben)
    tabs.answer = lambda tab, _request: Answer(status if tab is gone else 201)
    conversation_id = await ada.converse(ben)
    await gone.heard(await ada.initiate(conversation_id, ben), "call.incoming")
    async with asyncio.timeout(10):
        while len((await ben.ask("GET", "/v1/devices"))["items"]) > 1:  # noqa: ASYNC110  (what changes is in another process)
            await asyncio.sleep(0.02)
    second = await ada.initiate(conversation_id, ben)
    await here.heard(second, "call.incoming")
    assert gone.about(second) == []


async def test_one_that_hangs_delays_no_other(world: World, tabs: PushService) -> None:
    never = asyncio.Event()
    ada, ben, cleo = await world.people("Ada", "Ben", "Cleo")
    silent, awake = await tabs.tab_of(ben), await tabs.tab_of(cleo)

    def answer(tab: Tab, _request: Request) -> Answer:
        return Answer(201, after=never if tab is silent else None)

    tabs.answer = answer
    conversation_id = await ada.converse(ben, cleo)
    await silent.heard(await ada.initiate(conversation_id, ben), "call.incoming")
    second = await ada.initiate(conversation_id, cleo)
    await awake.heard(second, "call.incoming")
    await ada.end(second)
    await awake.heard(second, "call.missed")
    assert len(silent.pushes) == 1, "it was given up before the others were served"
    never.set()
