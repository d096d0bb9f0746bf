"""A closed tab rings: a real push, encrypted by the server, becomes a notification of a real Chromium, and its buttons work.

One link is missing in a browser without a screen: Chromium's own push service cannot be reached, so it makes no subscription. The
page gets one for a push endpoint of the tests, which decrypts what the server sends and hands it to the browser by its developer
tools, where the browser's connection to the push service would. Everything before and behind that is what people use.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from playwright.async_api import BrowserContext, CDPSession, Page, Worker, async_playwright

from tests.browser.pages import ARGUMENTS, CHROMIUM, LAPTOP, PASSWORD, PATIENCE_SECONDS, Account, PersonPage, register
from tests.browser.test_call import PICTURES
from tests.fakes.browser import Browser
from tests.fakes.desktop import Desktop, Shown, desktop
from tests.fakes.people import Json, Person, Refused, Socket, World, person_in
from tests.fakes.provider import Answer, Provider, listening
from tests.fakes.server import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.media]

CRITICAL = 2
"""The urgency of a notification that stays until it is answered."""

SUBSCRIBE = """
const kept = %s;
const made = () => ({ options: { applicationServerKey: null }, toJSON: () => kept, unsubscribe: async () => true });
PushManager.prototype.subscribe = async (options) => {
    if (!options.userVisibleOnly || options.applicationServerKey.length !== 87) throw new TypeError('not a VAPID key');
    return made();
};
PushManager.prototype.getSubscription = async () => null;
"""


class ClosedTab:
    """Linus's browser, in which no page of ours is open."""

    def __init__(self, context: BrowserContext, tools: CDPSession, worker: Worker, endpoint: Browser, service: Provider) -> None:
        self.context = context
        self.worker = worker
        self._tools = tools
        self.endpoint = endpoint
        self._service = service

    async def deliver(self, kind: str, call: Json) -> Json:
        """Wait for this push of the server, and give it to the browser as its push service would."""
        count = 0
        while True:
            count += 1
            request = (await self._service.heard(count))[count - 1]
            plain = self.endpoint.open(request.body)
            push: Json = json.loads(plain)
            if (push["type"], push["call_id"]) == (kind, call["call_id"]):
                break
        where = {"origin": self.worker.url.removesuffix("/sw.js"), "registrationId": "0", "data": plain.decode()}
        await self._tools.send("ServiceWorker.deliverPushMessage", where)
        return push

    async def notices(self) -> list[Json]:
        """What `registration.getNotifications()` says."""
        found: list[Json] = await self.worker.evaluate(
            """async () => (await registration.getNotifications()).map((one) => ({
                title: one.title, body: one.body, tag: one.tag, lang: one.lang, requireInteraction: one.requireInteraction,
                silent: one.silent, actions: one.actions.map(({ action, title }) => [action, title]),
            }))"""
        )
        return found

    async def opens(self) -> Page:
        """The page that the browser opens next."""
        return await self.context.wait_for_event("page", timeout=PATIENCE_SECONDS * 1000)


class Scene:
    """Ada at a telephone, Linus with a closed tab and a telephone of his own."""

    def __init__(self, ada: Person, news: Socket, linus: Person, talk: str, tab: ClosedTab, screen: Desktop) -> None:
        self.ada, self.news, self.linus, self.talk, self.tab, self.screen = ada, news, linus, talk, tab, screen

    async def ring(self, **choice: Any) -> tuple[Json, Shown]:
        """Ada rings, the push arrives, and this is what the desktop shows."""
        call = await self.ada.initiate(self.talk, self.linus, **choice)
        await self.tab.deliver("call.incoming", call)
        return call, await self.screen.shows("Ada is calling")

    async def page(self, address: str = "") -> Page:
        """Linus opens the page."""
        page = await self.tab.context.new_page()
        await page.goto(self.tab.worker.url.removesuffix("sw.js") + address)
        await page.get_by_test_id("conversation-item").first.wait_for()
        return page

    async def woken(self) -> list[str]:
        """Linus's devices that are woken by Web Push."""
        devices = await self.linus.all("/v1/devices?limit=100")
        return [one["device_id"] for one in devices if (one["platform"], one["provider"]) == ("web", "webpush")]

    async def sweep(self) -> None:
        """Linus wipes the notifications away."""
        await self.tab.worker.evaluate("registration.getNotifications().then((all) => all.forEach((one) => one.close()))")
        await self.screen.clears()

    async def known_as_shown(self, call: Json) -> None:
        """Wait until the server knows that one of Linus's devices shows the ring."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                (linus,) = (await self.ada.ask("GET", f"/v1/calls/{call['call_id']}/trace"))["callees"]
                if any(device["shown_at"] for device in linus["devices"]):
                    return
                await asyncio.sleep(0.05)  # what a device has said can only be asked for

    async def becomes(self, call: Json, status: str) -> Json:
        """The call, as soon as Ada hears that it has this status."""

        def fits(frame: Json) -> bool:
            return "call" in frame and (frame["call"]["call_id"], frame["call"]["status"]) == (call["call_id"], status)

        changed: Json = (await self.news.until(fits, f"the call to be {status}"))["call"]
        return changed


@asynccontextmanager
async def linus_browser(profile: Path, address: str, subscription: Json) -> AsyncIterator[BrowserContext]:
    """A profile of his own: notifications of a private window never come back to it."""
    environment: dict[str, str | float | bool] = {**os.environ, "DBUS_SESSION_BUS_ADDRESS": address}
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            args=ARGUMENTS,
            env=environment,
            viewport=LAPTOP,
            locale="en-GB",
            permissions=["camera", "microphone", "notifications"],
        )
        await context.add_init_script(SUBSCRIBE % json.dumps(subscription))
        try:
            yield context
        finally:
            await context.close()


async def turn_on(context: BrowserContext, account: Account) -> None:
    """Sign in, take the offer, close the tab. A blank page stays: the developer tools talk through it."""
    page = PersonPage(await context.new_page(), account, PICTURES)
    await page.sign_in()
    await page.see("closed-tab-offer")
    await page.picture("9-offer")
    await page.press("closed-tab-on")
    await page.page.get_by_text("rings also when no tab is open").first.wait_for()
    await page.one("closed-tab-offer").wait_for(state="hidden")
    assert page.faults == []
    await page.page.close()


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Scene]:
    service, folder = Provider(lambda _: Answer(201)), tmp_path_factory.mktemp("closed-tab")
    async with (
        listening(service) as url,
        ServerProcess(folder / "data", WEBPUSH_HOSTS='["127.0.0.1"]') as server,
        desktop() as (screen, address),
        httpx2.AsyncClient() as http,
    ):
        endpoint, world = Browser(f"{url}/linus"), World(server.url)
        account, ada = await register(http, server.url, "Linus"), await world.person("Ada")
        linus = await world.bearer(account.token)
        async with linus_browser(folder / "profile", address, endpoint.subscription()) as context:
            tools = await context.new_cdp_session(context.pages[0])
            await tools.send("ServiceWorker.enable")
            talk = await ada.converse(linus)
            await turn_on(context, account)
            tab = ClosedTab(context, tools, context.service_workers[0], endpoint, service)
            yield Scene(ada, await ada.events(), linus, talk, tab, screen)
        await world.close()


async def test_a_closed_tab_rings(scene: Scene) -> None:
    assert len(await scene.woken()) == 1
    call, shown = await scene.ring()
    (notice,) = await scene.tab.notices()
    assert notice == {
        "title": "Ada is calling",
        "body": "Video call",
        "tag": call["call_id"],
        "lang": "en",
        "requireInteraction": True,
        "silent": False,
        "actions": [["answer", "Accept"], ["decline", "Decline"]],
    }
    assert (shown.title, shown.body, shown.urgency) == ("Ada is calling", "Video call", CRITICAL)
    assert {"Accept", "Decline"} <= shown.actions.keys()
    await scene.ada.end(call)
    await scene.tab.deliver("call.missed", call)
    missed = await scene.screen.shows("Missed video call")
    assert missed.number == shown.number, "it stands where the ring stood"
    assert missed.body.startswith("Ada · ")
    assert [notice["actions"] for notice in await scene.tab.notices()] == [[["call", "Call back"]]]
    scene.screen.press(missed, "Call back")
    page = await scene.tab.opens()
    await page.get_by_test_id("green-room").wait_for()
    await page.close()


async def test_the_page_tells_what_became_of_the_ring(scene: Scene) -> None:
    call, _ = await scene.ring()
    await scene.known_as_shown(call)
    await scene.ada.end(call)
    await scene.tab.deliver("call.missed", call)
    page = await scene.page("#/calls")
    await page.get_by_test_id("filter-missed").click()
    row = page.get_by_test_id("history-item").first
    await row.get_by_text("Missed video call").wait_for()
    await row.get_by_role("button", name="Why did it not ring?").click()
    verdict = page.get_by_test_id("trace-verdict")
    await verdict.wait_for()
    assert re.fullmatch(r"Shown after [\d.]+s on: This browser\.", await verdict.inner_text())
    told = await page.get_by_test_id("trace-device").filter(has_text="This browser").locator("li").all_inner_texts()
    assert [words.split("\n")[-1] for words in told][:4] == [
        "Ring queued for Web Push",
        "Ring sent to Web Push",
        "Web Push took it (201)",
        "Shown to the person",
    ]
    assert any("Stopped: the caller hung up" in words for words in told)
    await page.keyboard.press("Escape")
    assert await row.get_by_role("button", name="Call back").is_enabled()
    await row.get_by_role("link").click()
    await scene.screen.clears()  # what the notice said is seen now
    await page.close()


async def test_decline_needs_no_page(scene: Scene) -> None:
    call, shown = await scene.ring()
    scene.screen.press(shown, "Decline")
    declined = await scene.becomes(call, "declined")
    assert person_in(declined, scene.linus)["state"] == "declined"
    await scene.screen.clears()
    assert len(scene.tab.context.pages) == 1, "the blank one"


async def test_accept_opens_a_page_that_answers(scene: Scene) -> None:
    call, shown = await scene.ring()
    scene.screen.press(shown, "Accept")
    page = await scene.tab.opens()
    await page.get_by_test_id("stage").wait_for()
    answered = await scene.becomes(call, "active")
    assert person_in(answered, scene.linus)["state"] == "joined"
    assert "notice" not in page.url
    # The server tells this browser of its own answer, since the page is another device: nothing is shown of it.
    await scene.tab.deliver("call.answered_elsewhere", call)
    assert await scene.tab.notices() == []
    await scene.ada.end(call)
    await page.get_by_test_id("after-call").wait_for()
    await page.close()


async def test_answered_on_another_device_it_says_so(scene: Scene) -> None:
    call, shown = await scene.ring()
    await scene.linus.join(call)
    await scene.tab.deliver("call.answered_elsewhere", call)
    settled = await scene.screen.shows("Answered on another device")
    assert settled.number == shown.number
    (notice,) = await scene.tab.notices()
    assert (notice["requireInteraction"], notice["silent"], notice["actions"]) == (False, True, [])
    await scene.ada.end(call)
    await scene.sweep()


async def test_a_ring_whose_end_never_arrives_ends_by_itself(scene: Scene) -> None:
    _, shown = await scene.ring(ring_timeout=5)
    missed = await scene.screen.shows("Missed video call")
    assert missed.number == shown.number
    assert "Accept" not in missed.actions
    await scene.sweep()


async def test_before_the_persons_eyes_the_page_rings(scene: Scene) -> None:
    page = await scene.page()
    call = await scene.ada.initiate(scene.talk, scene.linus)
    await scene.tab.deliver("call.incoming", call)
    await page.get_by_test_id("incoming").wait_for()
    assert await scene.tab.notices() == []
    await scene.known_as_shown(call)
    await page.get_by_test_id("decline").first.click()
    await scene.becomes(call, "declined")
    await scene.tab.deliver("call.declined_elsewhere", call)
    assert await scene.tab.notices() == []
    assert scene.screen.standing == {}
    await page.close()


async def test_a_subscription_that_the_browser_changed_is_told_without_a_page(scene: Scene) -> None:
    """The worker signs in by itself for that: with the cookie, under the lock that it shares with pages."""
    (device,) = await scene.woken()
    await scene.linus.ask("DELETE", f"/v1/devices/{device}?provider=webpush")
    assert await scene.woken() == []
    await scene.tab.worker.evaluate(SUBSCRIBE % json.dumps(scene.tab.endpoint.subscription()))
    await scene.tab.worker.evaluate("{ dispatchEvent(new ExtendableEvent('pushsubscriptionchange')); }")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await scene.woken():  # noqa: ASYNC110  (what changes is in another process)
            await asyncio.sleep(0.05)
    assert await scene.woken() == [device]


async def test_devices_sign_each_other_out(scene: Scene) -> None:
    phone_id = str(uuid4())
    body = {"email": scene.linus.user["email"], "password": PASSWORD, "device_id": phone_id}
    phone = await scene.ada.world.bearer((await scene.ada.world.ask("POST", "/v1/auth/login", body, {}))["access_token"])
    page = await scene.page()
    await page.get_by_test_id("settings").click()
    devices = page.get_by_test_id("own-devices")
    await devices.get_by_role("button", name="Sign out: Signed-in device").click()
    await devices.get_by_text("Signed-in device").wait_for(state="detached")
    with pytest.raises(Refused, match="401"):
        await phone.ask("GET", "/v1/users/me")

    switch = page.get_by_test_id("closed-tab")
    await switch.and_(page.locator(":checked")).wait_for()
    await switch.uncheck()
    await devices.get_by_text("does not ring when closed").wait_for()
    (browser,) = await scene.linus.all("/v1/devices?limit=100")
    assert (browser["provider"], browser["signed_in"]) == (None, True)
    await scene.linus.ask("DELETE", f"/v1/devices/{browser['device_id']}")
    await page.get_by_test_id("sign-in-again").click()
    await page.get_by_role("textbox", name="Email").wait_for()
    await page.close()
