"""Somebody's address changes in the middle of a call: the media comes back by itself, and nobody hears of a leave."""

import asyncio
import time
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

COUNT_OFFERS = """
    let restarted;
    window.restarted = new Promise((resolve) => { restarted = resolve; });
    const describe = RTCPeerConnection.prototype.setLocalDescription;
    RTCPeerConnection.prototype.setLocalDescription = async function (...args) {
        const ufrag = () => this.localDescription?.sdp.match(/a=ice-ufrag:(.*)/)?.[1];
        const before = ufrag();
        await describe.apply(this, args);
        if (before && ufrag() !== before) restarted(Date.now());
    };
"""


async def test_the_call_follows_to_another_address(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, HERE)
    settings = {"HOST": "0.0.0.0", "PUBLIC_URL": f"https://{HERE}:9090", "TLS_CERTIFICATE": str(certificate), "TLS_KEY": str(key)}
    async with (
        other_network(tmp_path) as road,
        ServerProcess(tmp_path / "data", **settings) as server,
        async_playwright() as playwright,
        httpx2.AsyncClient(verify=False) as http,
    ):
        url = f"https://{HERE}:{urlsplit(server.url).port}"
        accounts = [await register(http, url, name) for name in ("Ada", "Linus")]
        await converse(http, *accounts)
        arguments = [*ARGUMENTS, "--ignore-certificate-errors"]
        browsers = [
            await playwright.chromium.launch(executable_path=program, args=arguments) for program in (CHROMIUM, road.browser)
        ]
        script = camera() + COUNT_OFFERS
        ada, linus = [
            await PersonPage.open(browser, account, tmp_path, script=script)
            for browser, account in zip(browsers, accounts, strict=True)
        ]
        await ada.press("conversation-item")
        await ada.press("call-video")
        await ada.press("join-now")
        await linus.press("accept")
        for person in (ada, linus):
            await person.watches_and_listens()
        heard = len(ada.frames)

        moved = time.time()
        await road.move()
        asked = [asyncio.ensure_future(person.page.evaluate("() => window.restarted")) for person in (ada, linus)]
        (first, *_), waiting = await asyncio.wait(asked, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        restarted = first.result() / 1000 - moved
        for one in waiting:
            one.cancel()
        for person in (ada, linus):
            await person.watches_and_listens()
        back = time.time() - moved
        assert not [frame for frame in ada.frames[heard:] if frame["type"] in ("leave", "join")]
        print(f"ICE restart after {restarted:.2f} s, media within {back:.2f} s")
        assert restarted < 3
        for browser in browsers:
            await browser.close()
