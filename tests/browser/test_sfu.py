"""Three and four pages in one call, by a real SFU: everybody sees and hears everybody, whoever comes, goes or dies meanwhile."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.browser.group import GAP_METER, camera, group
from tests.browser.pages import chromium
from tests.browser.test_call import PICTURES
from tests.fakes.janus import janus_of
from tests.fakes.server import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.media]

STILL_MS = 2_000
"""A picture that stands still for longer has stopped. How short the pauses are is measured (tests/browser/proofs.py)."""


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(tmp_path_factory.mktemp("data"), SFU="auto", HOST="0.0.0.0") as process:
        yield process


@pytest.fixture(scope="module")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    async with chromium() as one:
        yield one


async def test_others_come_and_go_and_no_tile_goes_black(server: ServerProcess, browser: Browser) -> None:
    """Direct between two, by the SFU from the third on, with a fourth, and direct again when two have been alone for a while."""
    async with group(server, browser, ("Ada", "Bob", "Cid", "Dan"), PICTURES) as call:
        await call.call(2)
        await call.flows("direct")
        await call.start_meters()
        await call.join(2)
        await call.flows("sfu")
        await call.join(3)
        await call.flows("sfu")
        await call.pages[0].picture("9-group")
        await call.leave(call.pages[3])
        await call.leave(call.pages[2])
        await call.flows("direct")
        assert await call.dark_moments() == 0
        assert max(await call.longest_gaps()) < STILL_MS
        for person in call.pages:
            assert person.faults == []
            assert not [frame for frame in person.frames if frame["type"] == "error"]


async def test_the_sfu_is_killed_and_everybody_has_media_again(server: ServerProcess, browser: Browser) -> None:
    async with group(server, browser, ("Eva", "Fay", "Gus"), PICTURES) as call:
        await call.call(3)
        await call.flows("sfu")
        os.kill(janus_of(server), signal.SIGKILL)
        await call.flows("sfu", frames=20)
        for person in call.pages:
            assert not [frame for frame in person.frames if frame["type"] == "leave"]
            assert person.faults == []


async def test_a_host_a_screen_and_a_reload_by_the_sfu(server: ServerProcess, browser: Browser, tmp_path: Path) -> None:
    async with group(server, browser, ("Hal", "Ivy", "Jon"), tmp_path) as call:
        await call.call(3)
        await call.flows("sfu")
        hal, ivy, jon = call.pages
        await hal.page.locator(f"[data-user='{ivy.account.user_id}']").hover()
        await hal.page.locator(f"[data-user='{ivy.account.user_id}']").get_by_test_id("mute-them").click()
        await ivy.see_state("Hal muted you")
        await jon.page.locator(f"[data-user='{ivy.account.user_id}'] .tile-mark:not([hidden])").wait_for()
        await ivy.press("mic")
        await jon.page.locator(f"[data-user='{ivy.account.user_id}'] .tile-mark").wait_for(state="hidden")

        await hal.press("share")
        for person in (ivy, jon):
            await person.see("tile-screen")
            await person.page.wait_for_function("() => document.querySelector('.tile.screen video').videoWidth > 2")
        await hal.press("share")
        for person in (ivy, jon):
            await person.page.get_by_test_id("tile-screen").wait_for(state="detached")
        heard = len(hal.frames)
        await ivy.page.reload(wait_until="commit")
        await ivy.see("stage")
        await call.flows("sfu")
        assert not [frame for frame in hal.frames[heard:] if frame["type"] in ("leave", "join")]


REPORT = """() => secureconnect.call.signaling.send({
    type: 'quality', report: { level: 1, rtt_ms: 20, jitter_ms: 1, loss_in: 0.98, in_kbps: 40, out_kbps: 0, bitrate_kbps: 40 },
})"""


async def test_the_size_follows_the_tile_and_the_line(server: ServerProcess, browser: Browser, tmp_path: Path) -> None:
    """Large when it is pinned, small in a strip; nothing when the line is lost, in words. A real line is in test_small_line.py."""
    async with group(server, browser, ("Kim", "Lou", "Max"), tmp_path, script=camera(1280, 720, 8)) as call:
        await call.call(1)
        call.script = f"{camera()}\n{GAP_METER}"
        await call.join(1)
        await call.join(2)
        await call.flows("sfu")
        kim, lou, _ = call.pages
        large = lou.page.locator(f"[data-user='{kim.account.user_id}']")
        width = f"() => document.querySelector('[data-user=\"{kim.account.user_id}\"] video:last-of-type').videoWidth"
        await large.hover()
        await large.get_by_test_id("pin").click()
        await lou.page.wait_for_function(f"() => ({width})() === 1280")
        await lou.page.locator(f"[data-user='{call.pages[2].account.user_id}']").press("Enter")
        await lou.page.wait_for_function(f"() => ({width})() === 320")
        await large.press("Enter")
        await lou.page.wait_for_function(f"() => ({width})() === 1280")

        await lou.page.evaluate(REPORT)
        await lou.see_state("Bandwidth low, video paused")
