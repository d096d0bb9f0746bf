"""How much a second load of the page transfers, and that a new version of a file is seen at once."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.async_api import Page

from tests.browser.pages import chromium, register
from tests.fakes.server import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

SECOND_LOAD_BYTES = 10_000


class Transfers:
    """What a page loads, by the devtools protocol (Network domain): bytes on the wire by address."""

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}
        self._addresses: dict[str, str] = {}

    @classmethod
    async def of(cls, page: Page) -> "Transfers":
        made = cls()
        session = await page.context.new_cdp_session(page)
        session.on("Network.responseReceived", made._received)
        session.on("Network.loadingFinished", made._finished)
        await session.send("Network.enable")
        return made

    def _received(self, event: Any) -> None:
        self._addresses[event["requestId"]] = event["response"]["url"]

    def _finished(self, event: Any) -> None:
        address = self._addresses.get(event["requestId"], "")
        self.bytes[address] = self.bytes.get(address, 0) + int(event["encodedDataLength"])


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(tmp_path / "data", RATE_LIMITS="off") as server:
        yield server


async def test_a_second_load_transfers_the_page_and_little_else(server: ServerProcess) -> None:
    async with chromium() as browser, httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
        ada = await register(http, server.url, "Ada")
        page = await (await browser.new_context()).new_page()
        faults: list[str] = []
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        transfers = await Transfers.of(page)
        await page.goto(server.url, wait_until="networkidle")
        assert sum(transfers.bytes.values()) > 10 * SECOND_LOAD_BYTES, "everything comes once"
        await page.fill("input[type=email]", ada.email)
        await page.fill("input[type=password]", "correct horse battery")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("main:not(.splash)")
        for load in ("goto", "reload"):
            transfers.bytes.clear()
            await (page.reload(wait_until="networkidle") if load == "reload" else page.goto(server.url, wait_until="networkidle"))
            assert len(transfers.bytes) > 60, "all of its modules are there"
            assert sum(transfers.bytes.values()) < SECOND_LOAD_BYTES, (load, transfers.bytes)
        assert not [words for words in faults if "Content Security Policy" in words], faults


async def test_another_version_of_the_server_is_seen_at_the_next_load(server: ServerProcess) -> None:
    """What the page names changes with it: an address with the version of before is asked for again, and is not kept."""
    async with chromium() as browser:
        page = await (await browser.new_context()).new_page()
        await page.goto(server.url, wait_until="networkidle")
        named = await page.evaluate(
            "JSON.parse(document.querySelector('script[type=importmap]').textContent).imports['/sdk/api.js']"
        )
        kept = await page.evaluate("address => fetch(address).then(answer => answer.headers.get('cache-control'))", named)
        other = await page.evaluate(
            "address => fetch(address).then(answer => answer.headers.get('cache-control'))", named[:-4] + "ffff"
        )
        assert (kept, other) == ("public, max-age=31536000, immutable", "no-cache")
