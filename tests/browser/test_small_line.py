"""Somebody's line becomes too small for the picture that they look at, and large again: by their page's own reports."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.async_api import async_playwright

from tests.browser.group import camera
from tests.browser.networks import HERE, other_network
from tests.browser.pages import ARGUMENTS, CHROMIUM, PATIENCE_SECONDS, PersonPage, converse, register
from tests.fakes.certificates import self_signed
from tests.fakes.server import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.media]

LIMIT_KBPS = 250
"""What the fake camera takes at 1280x720 is about twice as much."""
WIDTH = """(user) => document.querySelector(`[data-user="${user}"] video:last-of-type`).videoWidth"""
SMALLER = (
    f"""(user) => ({WIDTH})(user) < 1280 || document.querySelector(`[data-user="${{user}}"] .tile-note:not([hidden])`) !== null"""
)
WHOLE = (
    f"""(user) => ({WIDTH})(user) === 1280 && document.querySelector(`[data-user="${{user}}"] .tile-note:not([hidden])`) === null"""
)
RECOVERED_SECONDS = 60.0
"""Eight seconds of calm, then some reports of two seconds each; twice that if more was tried too early."""


async def until_told(person: PersonPage, *, is_small: bool, seconds: float) -> None:
    """Until the page was told last that its line is too small for some picture, or that it is for none."""
    async with asyncio.timeout(seconds):
        while True:
            frames = [frame for frame in person.frames if frame["type"] == "layers"]
            if is_small == any(stream["reason"] == "bandwidth" for stream in frames[-1]["streams"]):
                return
            await asyncio.sleep(0.1)  # what the page was sent can only be asked for


async def test_a_picture_is_smaller_on_a_small_line_and_large_again(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, HERE)
    settings = {"HOST": HERE, "PUBLIC_URL": f"https://{HERE}:9090", "TLS_CERTIFICATE": str(certificate), "TLS_KEY": str(key)}
    async with (
        other_network(tmp_path) as road,
        ServerProcess(tmp_path / "data", SFU="auto", **settings) as server,
        async_playwright() as playwright,
        httpx2.AsyncClient(verify=False) as http,
    ):
        url = f"https://{HERE}:{urlsplit(server.url).port}"
        accounts = [await register(http, url, name) for name in ("Kim", "Max", "Lou")]
        await converse(http, *accounts)
        arguments = [*ARGUMENTS, "--ignore-certificate-errors"]
        home, away = [await playwright.chromium.launch(executable_path=each, args=arguments) for each in (CHROMIUM, road.browser)]
        kim = await PersonPage.open(home, accounts[0], tmp_path, script=camera(1280, 720, 10))
        max_ = await PersonPage.open(home, accounts[1], tmp_path, script=camera(160, 96, 5))
        lou = await PersonPage.open(away, accounts[2], tmp_path, script=camera(160, 96, 5))
        await kim.press("conversation-item")
        await kim.press("call-video")
        await kim.press("join-now")
        for person in (max_, lou):
            await person.press("accept")
            await person.see("stage")
        seen = accounts[0].user_id
        await lou.page.locator(f"[data-user='{seen}']").press("Enter")
        await lou.page.wait_for_function(WHOLE, arg=seen)
        await road.limit(LIMIT_KBPS)
        # That is why it is small: a camera that is still warming up is small as well.
        await until_told(lou, is_small=True, seconds=PATIENCE_SECONDS)
        await lou.page.wait_for_function(SMALLER, arg=seen)
        await road.limit(None)
        await lou.page.wait_for_function(WHOLE, arg=seen, timeout=RECOVERED_SECONDS * 1000)
        await until_told(lou, is_small=False, seconds=RECOVERED_SECONDS)  # the large picture is served first
        for person in (kim, max_, lou):
            assert not [frame for frame in person.frames if frame["type"] in ("leave", "error")]
        for browser in (home, away):
            await browser.close()
