"""Two people, two real pages, one call: they ring, answer, see and hear each other, and hang up."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from playwright.async_api import Browser

from tests.browser.pages import PATIENCE_SECONDS, PersonPage, chromium, converse, register
from tests.fakes.server import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.media]

PICTURES = Path(os.environ.get("SCREENSHOTS", Path(__file__).parent / "screenshots"))
BACK_SECONDS = 5.0
"""A reloaded page is in its call again within this."""


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(tmp_path_factory.mktemp("data")) as process:
        yield process


@pytest.fixture(scope="module")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    async with chromium() as one:
        yield one


async def two_in_a_call(server: ServerProcess, browser: Browser, names: tuple[str, str]) -> tuple[PersonPage, PersonPage]:
    """The first rings, the second answers; both see and hear each other."""
    async with httpx2.AsyncClient() as http:
        caller, callee = [await register(http, server.url, name) for name in names]
        await converse(http, caller, callee)
    first, second = [await PersonPage.open(browser, account, PICTURES) for account in (caller, callee)]
    await first.picture("1-home")
    await first.press("conversation-item")
    await first.press("call-video")
    await first.see("green-room")
    await first.picture("2-green-room")
    await first.press("join-now")
    await second.see("incoming")
    await first.see("stage")
    await first.page.get_by_test_id("state-text").filter(has_text="Ringing…").wait_for()
    await first.picture("3-ringing")
    await second.picture("3-incoming")
    await second.press("accept")
    await second.see("stage")
    await first.watches_and_listens()
    await second.watches_and_listens()
    return first, second


async def both_are_traced(person: PersonPage, call_id: str) -> None:
    """Return when the call's trace has what both sessions reported: it is written every few seconds."""
    async with asyncio.timeout(PATIENCE_SECONDS), httpx2.AsyncClient(trust_env=False) as http:
        while True:
            answer = await http.get(f"{person.account.url}/v1/calls/{call_id}/trace", headers=person.account.headers)
            if len(answer.json()["sessions"]) == 2:
                return
            await asyncio.sleep(0.1)  # nobody is told when it is


async def test_two_people_see_and_hear_each_other(server: ServerProcess, browser: Browser) -> None:
    ada, linus = await two_in_a_call(server, browser, ("Ada", "Linus"))
    await ada.picture("4-call")

    await ada.press("mic")
    await linus.page.locator(".tile .tile-mark:not([hidden])").wait_for()
    await linus.picture("5-muted")
    await ada.press("mic")
    await linus.page.locator(".tile .tile-mark").wait_for(state="hidden")

    await ada.press("hand")
    await linus.page.locator(".tile .tile-hand:not([hidden])").wait_for()

    await ada.press("share")
    await linus.see("tile-screen")
    await linus.picture("6-screen")
    await ada.press("share")
    await linus.page.get_by_test_id("tile-screen").wait_for(state="detached")

    call_id = await ada.page.evaluate("() => secureconnect.call.callId")
    await ada.press("leave")
    await ada.see("after-call")
    await linus.see("after-call")
    await ada.picture("7-after")

    await both_are_traced(ada, call_id)
    await ada.page.keyboard.press("Escape")
    await ada.page.evaluate("() => { location.hash = '#/calls'; }")
    await ada.press("history-trace")
    await ada.see("trace-quality")
    told = await ada.one("trace-quality").locator("dt, dd").all_inner_texts()
    assert sorted(told[::2]) == ["Linus", "You"]
    assert all(re.fullmatch(r"MOS \d\.\d, at worst \d\.\d · \d+ ms · [\d.]+% lost", words) for words in told[1::2]), told
    await ada.picture("8-trace")
    assert ada.faults == []
    assert linus.faults == []


async def test_a_reloaded_page_is_back_in_its_call(server: ServerProcess, browser: Browser) -> None:
    grace, alan = await two_in_a_call(server, browser, ("Grace", "Alan"))
    seen_before = len(grace.frames)
    started = await alan.page.evaluate("performance.timeOrigin + performance.now()")
    await alan.page.reload(wait_until="commit")
    await alan.see("stage")
    await alan.watches_and_listens(frames=1, packets=1)
    took = await alan.page.evaluate("performance.timeOrigin + performance.now()") - started
    await grace.watches_and_listens()
    await alan.watches_and_listens()
    await alan.picture("8-reloaded")

    heard = grace.frames[seen_before:]
    states = [
        one["state"]
        for frame in heard
        if frame["type"] == "call"
        for one in frame["call"]["participants"]
        if one["user_id"] == alan.account.user_id
    ]
    assert "reconnecting" in states
    assert states[-1] == "joined"
    assert not [frame for frame in heard if frame["type"] in ("leave", "join", "welcome")]
    assert took < BACK_SECONDS * 1000, f"back after {took:.0f} ms"
    await grace.press("leave")
    await alan.see("after-call")
