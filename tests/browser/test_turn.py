"""Two pages that may use nothing but a TURN server see and hear each other, over each transport."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx2
import pytest
from playwright.async_api import Browser, async_playwright

from secureconnect.media.coturn import free_port
from tests.browser.pages import ARGUMENTS, CHROMIUM, PersonPage, converse, register
from tests.fakes.certificates import self_signed
from tests.fakes.server import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.media]

ADDRESS = "10.77.0.1"
RELAY_ONLY = """
    const isOurWay = (url) => url.startsWith(WAY[0]) && url.endsWith(WAY[1]);
    const Real = RTCPeerConnection;
    window.RTCPeerConnection = class extends Real {
        constructor(configuration) { super(relayOnly(configuration)); }
        setConfiguration(configuration) { super.setConfiguration(relayOnly(configuration)); }
    };
    const relayOnly = (configuration) => ({
        ...configuration,
        iceTransportPolicy: 'relay',
        iceServers: configuration.iceServers.map((server) => ({ ...server, urls: server.urls.filter(isOurWay) })),
    });
"""
PATHS = """async () => {
    const peers = await window.secureconnect.call.statistics();
    return peers.map((peer) => [peer.relayed, peer.path]);
}"""


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("turn")
    certificate, key = self_signed(folder, ADDRESS)
    process = ServerProcess(
        folder / "data",
        TURN="auto",
        HOST=ADDRESS,
        PUBLIC_URL=f"https://{ADDRESS}:9090",
        TLS_CERTIFICATE=str(certificate),
        TLS_KEY=str(key),
        TURN_PORT=str(free_port(ADDRESS, 0)),
        TURN_TLS_PORT=str(free_port(ADDRESS, 0)),
    )
    async with process:
        yield process


@pytest.fixture(scope="module")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        # The certificate of the tests signed itself.
        arguments = [*ARGUMENTS, "--ignore-certificate-errors"]
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield browser
        finally:
            await browser.close()


@pytest.mark.parametrize("way", ["turn: udp", "turn: tcp", "turns: tcp"])
async def test_by_relay_alone(server: ServerProcess, browser: Browser, way: str, tmp_path: Path) -> None:
    url = f"https://{ADDRESS}:{urlsplit(server.url).port}"
    async with httpx2.AsyncClient(verify=False) as http:
        accounts = [await register(http, url, f"{name}-{way.replace(': ', '-')}") for name in ("Ada", "Linus")]
        await converse(http, *accounts)
    scheme, transport = way.split()
    script = RELAY_ONLY.replace("WAY", f"{[scheme, transport]}")
    ada, linus = [await PersonPage.open(browser, account, tmp_path, script=script) for account in accounts]
    await ada.press("conversation-item")
    await ada.press("call-video")
    await ada.press("join-now")
    await linus.press("accept")
    for person in (ada, linus):
        await person.watches_and_listens()
        [[relayed, path]] = await person.page.evaluate(PATHS)
        assert relayed, path
        assert person.faults == []
    for person in (ada, linus):
        await person.page.context.close()


async def test_the_test_before_a_call_tries_each_transport(server: ServerProcess, browser: Browser, tmp_path: Path) -> None:
    """What works is measured, what does not is named; the report says both, and no secret."""
    url = f"https://{ADDRESS}:{urlsplit(server.url).port}"
    async with httpx2.AsyncClient(verify=False) as http:
        account = await register(http, url, "Mai")
        await converse(http, account, await register(http, url, "Bao"))
        offered = (await http.get(f"{url}/v1/ice-servers", headers=account.headers)).json()["ice_servers"]
    mai = await PersonPage.open(browser, account, tmp_path)
    wrong = {**offered[-1], "urls": [offered[-1]["urls"][0]], "credential": "not-the-one"}
    await mai.page.route(
        "**/v1/ice-servers", lambda route: route.fulfill(json={"ice_servers": [*offered, wrong], "expires_at": None})
    )
    await mai.page.evaluate("location.hash = '#/test'")
    await mai.page.locator(".call-test[data-done=true]").wait_for()
    await mai.press("speaker-heard")
    lines = "() => [...document.querySelectorAll('[data-transport]')].map((line) => [line.dataset.transport, line.dataset.verdict])"
    verdicts = await mai.page.evaluate(lines)
    assert verdicts == [["udp", "good"], ["tcp", "good"], ["tls", "good"], ["udp", "bad"]]
    await mai.picture("call-test")
    async with mai.page.expect_download() as saving:
        await mai.press("test-save")
    report = await anyio.Path(await (await saving.value).path()).read_text()
    figures = r"connected in \d+ ms, round trip [\d.]+ ms, jitter [\d.]+ ms, loss (\d+) %"
    works = re.findall(rf"^(\w+) +\S+: works, {figures}$", report, re.MULTILINE)
    assert works == [("udp", "0"), ("tcp", "0"), ("tls", "0")], report
    assert "nothing passes (401" in report
    assert "camera     works" in report
    assert "speaker    heard" in report
    assert account.user_id not in report
    assert mai.faults == []
    await mai.page.context.close()
