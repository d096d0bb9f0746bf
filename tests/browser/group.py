"""Calls of three and more in real pages, by an SFU; and what each tile showed meanwhile, frame by frame."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from playwright.async_api import Browser

from tests.browser.pages import PATIENCE_SECONDS, Account, PersonPage, converse, register
from tests.fakes.server import ServerProcess

ADDRESS = "10.77.0.1"
"""What tests/namespace gives: an SFU gathers no candidates on loopback."""
SMALL_CAMERA = """
    const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = (wanted) => open({
        ...wanted, video: wanted.video && { width: CAMERA.width, height: CAMERA.height, frameRate: CAMERA.rate },
    });
"""
"""Many encoders share two cores here: a camera that is small enough for them."""
GAP_METER = """
    window.gaps = { longest: {}, last: {}, lit: {}, dark: [] };
    const seen = new WeakSet();
    const follow = (video) => {
        seen.add(video);
        const frame = () => {
            const tile = video.closest('[data-session]');
            if (video.isConnected) video.requestVideoFrameCallback(frame);
            if (!tile || video !== video.parentElement.lastElementChild) return;
            const id = tile.dataset.session;
            const now = performance.now();
            if (gaps.last[id]) gaps.longest[id] = Math.max(gaps.longest[id] ?? 0, now - gaps.last[id]);
            gaps.last[id] = now;
        };
        video.requestVideoFrameCallback(frame);
    };
    // At once: a video's first frame comes soon, and a pause that began before it must not seem to last until its second.
    new MutationObserver(() => {
        for (const video of document.querySelectorAll('.tile .picture video')) if (!seen.has(video)) follow(video);
    }).observe(document, { childList: true, subtree: true });
    setInterval(() => {
        for (const tile of document.querySelectorAll('.tile[data-session]')) {
            const top = [...tile.querySelectorAll('video')].at(-1);
            const lit = tile.classList.contains('has-picture') && top.readyState >= 2;
            if (gaps.lit[tile.dataset.session] && !lit) gaps.dark.push(tile.dataset.session);
            gaps.lit[tile.dataset.session] ||= lit;
        }
    }, 20);
"""
"""Notes the longest pause between two frames of the picture on top of each tile, and each moment without one."""
WAYS = """async () => Object.fromEntries((await secureconnect.call.statistics()).map((one) => [one.session_id, {
    way: one.way, frames: one.inbound.video.frames_decoded, width: one.inbound.video.width, packets: one.inbound.audio.packets,
}]))"""


def camera(width: int = 320, height: int = 180, rate: int = 12) -> str:
    """A script for a page: its camera has this size."""
    return SMALL_CAMERA.replace("CAMERA", f"({{width: {width}, height: {height}, rate: {rate}}})")


class Group:
    """People who are members of one conversation, each with a page."""

    def __init__(self, url: str, browser: Browser, pictures: Path, script: str) -> None:
        self.url = url
        self.browser = browser
        self.pictures = pictures
        self.script = script
        self.accounts: list[Account] = []
        self.pages: list[PersonPage] = []

    async def gather(self, names: Sequence[str]) -> None:
        async with httpx2.AsyncClient(trust_env=False) as http:
            self.accounts = [await register(http, self.url, name) for name in names]
            await converse(http, *self.accounts)

    async def open(self, index: int) -> PersonPage:
        page = await PersonPage.open(self.browser, self.accounts[index], self.pictures, script=self.script)
        self.pages.append(page)
        return page

    async def call(self, count: int) -> None:
        """The first rings everybody, `count` are in."""
        first = await self.open(0)
        await first.press("conversation-item")
        await first.press("call-video")
        await first.press("join-now")
        await first.see("stage")
        for index in range(1, count):
            await self.join(index)

    async def join(self, index: int) -> PersonPage:
        page = await self.open(index)
        await page.press("accept")
        await page.see("stage")
        return page

    async def leave(self, page: PersonPage) -> None:
        await page.press("leave")
        await page.see("after-call")
        self.pages.remove(page)
        await page.page.context.close()

    async def flows(self, way: str, *, frames: int = 5, packets: int = 10, seconds: float = PATIENCE_SECONDS) -> float:
        """Return once everybody decodes so much more of everybody by this way; seconds that it took."""
        started = time.monotonic()
        before: dict[tuple[str, str], dict[str, Any]] = {}
        async with asyncio.timeout(seconds):
            while True:
                done = True
                for person in self.pages:
                    shown = await person.page.evaluate(WAYS)
                    done &= len(shown) == len(self.pages) - 1
                    for session, now in shown.items():
                        key = (person.account.user_id, session)
                        was = before.get(key)
                        if was is None or now["way"] != was["way"] or now["frames"] < was["frames"]:
                            before[key] = now
                            done = False
                            continue
                        risen = now["frames"] - was["frames"] >= frames and now["packets"] - was["packets"] >= packets
                        done &= now["way"] == way and risen
                if done:
                    return time.monotonic() - started
                await asyncio.sleep(0.1)  # what a decoder does can only be asked for

    async def start_meters(self) -> None:
        for person in self.pages:
            await person.page.evaluate("() => Object.assign(window.gaps, { longest: {}, last: {}, lit: {}, dark: [] })")

    async def longest_gaps(self) -> list[float]:
        """Of each tile of each page, milliseconds."""
        found: list[float] = []
        for person in self.pages:
            found += (await person.page.evaluate("() => Object.values(window.gaps.longest)")) or []
        return found

    async def dark_moments(self) -> int:
        return sum([len(await person.page.evaluate("() => window.gaps.dark")) for person in self.pages])


@asynccontextmanager
async def group(
    server: ServerProcess, browser: Browser, names: Sequence[str], pictures: Path, script: str | None = None
) -> AsyncIterator[Group]:
    """People with pages that are closed at the end."""
    one = Group(server.url, browser, pictures, f"{script or camera()}\n{GAP_METER}")
    await one.gather(names)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_close, one)
        yield one


async def _close(one: Group) -> None:
    for person in one.pages:
        await person.page.context.close()
