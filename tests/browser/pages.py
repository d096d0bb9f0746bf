"""Real pages in real Chromium with fake devices: what a person does in one, as verbs."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--auto-select-desktop-capture-source=Entire screen",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]
LAPTOP: ViewportSize = {"width": 1280, "height": 800}
PASSWORD = "correct horse battery"
PATIENCE_SECONDS = 20.0
"""How long anything may take on a busy machine before the test calls it broken."""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser, closed at the end whatever happens."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


class Account:
    """Somebody registered over the API."""

    def __init__(self, url: str, answer: dict[str, Any]) -> None:
        self.url = url
        self.email: str = answer["user"]["email"]
        self.user_id: str = answer["user"]["user_id"]
        self.name: str = answer["user"]["display_name"]
        self.token: str = answer["access_token"]
        self.headers = {"Authorization": f"Bearer {self.token}"}

    @property
    def link(self) -> str:
        """As the demo prints it; other servers do not sign in by it."""
        return f"{self.url}/#email={self.email}&password={PASSWORD.replace(' ', '%20')}"


async def register(http: httpx2.AsyncClient, url: str, name: str) -> Account:
    body = {"email": f"{name.lower()}@example.com", "password": PASSWORD, "display_name": name}
    answer = await http.post(f"{url}/v1/auth/register", json=body)
    assert answer.status_code == 201, answer.text
    return Account(url, answer.json())


async def converse(http: httpx2.AsyncClient, owner: Account, *others: Account) -> str:
    body = {"participant_ids": [other.user_id for other in others]}
    answer = await http.post(f"{owner.url}/v1/conversations", json=body, headers=owner.headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["conversation_id"])


class PersonPage:
    """One person's page."""

    def __init__(self, page: Page, account: Account, pictures: Path) -> None:
        self.page = page
        self.account = account
        self.faults: list[str] = []
        self.frames: list[dict[str, Any]] = []
        """Every frame that came on any of its sockets, in order."""
        self._pictures = pictures
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        page.on("websocket", lambda socket: socket.on("framereceived", self._note))
        page.on("pageerror", lambda failure: self.faults.append(str(failure)))
        page.on("console", lambda message: self.faults.append(message.text) if message.type == "error" else None)

    def _note(self, payload: str | bytes) -> None:
        self.frames.append(json.loads(payload))

    @classmethod
    async def open(cls, browser: Browser, account: Account, pictures: Path, *, script: str = "") -> "PersonPage":
        """Sign in, in a browser profile of one's own; `script` runs before the page's own."""
        context = await browser.new_context(viewport=LAPTOP, permissions=["camera", "microphone"], locale="en-GB")
        await context.add_init_script(f"{{ {script} }}")
        person = cls(await context.new_page(), account, pictures)
        await person.sign_in()
        await person.see("conversation-item")
        return person

    async def sign_in(self) -> None:
        """Open the page and fill in the form."""
        await self.page.goto(self.account.url)
        await self.one("sign-in-email").fill(self.account.email)
        await self.one("sign-in-password").fill(PASSWORD)
        await self.press("sign-in-submit")

    def one(self, test_id: str) -> Any:
        return self.page.get_by_test_id(test_id).first

    async def see(self, test_id: str) -> None:
        await self.one(test_id).wait_for(state="visible")

    async def press(self, test_id: str) -> None:
        await self.one(test_id).click()

    async def see_state(self, words: str) -> None:
        await self.page.get_by_text(words).first.wait_for(state="visible")

    async def picture(self, name: str) -> None:
        """Keep what the page looks like, for people to look at."""
        self._pictures.mkdir(parents=True, exist_ok=True)
        await self.page.mouse.move(600 + len(self.frames) % 2, 400)  # the bar hides from a pointer at rest
        path = self._pictures / f"{name}-{self.account.name.lower()}.png"
        await self.page.screenshot(path=path, animations="disabled")

    async def received(self) -> dict[str, float]:
        """Sums over all peers: frames decoded, audio packets and energy received so far, largest width seen."""
        sums: dict[str, float] = await self.page.evaluate(
            """async () => {
                const peers = await window.secureconnect?.call?.statistics() ?? [];
                const sum = (read) => peers.reduce((total, peer) => total + (read(peer.inbound) ?? 0), 0);
                return {
                    frames: sum((inbound) => inbound.video?.frames_decoded),
                    packets: sum((inbound) => inbound.audio?.packets),
                    energy: sum((inbound) => inbound.audio?.energy),
                    peers: peers.length,
                };
            }"""
        )
        return sums

    async def watches_and_listens(self, frames: int = 15, packets: int = 25) -> None:
        """Return once so many more frames were decoded and so many more sound packets came, with sound in them."""
        before = await self.received()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                now = await self.received()
                risen = {key: now[key] - before[key] for key in now}
                if risen["frames"] < 0:
                    before = now  # another peer connection counts from zero
                if risen["frames"] >= frames and risen["packets"] >= packets and now["energy"] > 0:
                    return
                await asyncio.sleep(0.1)  # what a decoder does can only be asked for
