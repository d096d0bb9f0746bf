"""Twelve in one call by the SFU: pages that turn their pages, robots for the rest, everybody decoding everybody."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiortc.mediastreams import MediaStreamTrack
from playwright.async_api import ViewportSize

from secureconnect.clock import SystemClock
from secureconnect.ids import CallId
from secureconnect.robot.client import Client, http_client
from secureconnect.robot.pictures import Picture, PictureTrack
from secureconnect.robot.sounds import Beep
from secureconnect.robot.sources import Outgoing, Source
from tests.browser.group import WAYS, Group, camera, group
from tests.browser.pages import PASSWORD, PATIENCE_SECONDS, PersonPage, chromium
from tests.browser.test_call import PICTURES
from tests.fakes.server import ServerProcess
from tests.scenario.test_group import Robot, until

pytestmark = [pytest.mark.anyio, pytest.mark.media]

PEOPLE = ("Ada", "Bob", "Cid", "Dan", "Eva", "Fay", "Gus", "Hal", "Ivy", "Jon", "Kim", "Lou")
PAGES = 2
SMALL_PHONE: ViewportSize = {"width": 330, "height": 500}
"""Two pages for eleven faces, with and without the bar that hides."""
SHOWN = """() => [...document.querySelectorAll('.tile:not([hidden])')].filter((one) => one.classList.contains('has-picture'))
    .map((one) => one.dataset.session)"""


class Thinned(MediaStreamTrack):
    """Every `nth` frame of a track, with the times they have: eleven receivers of each share two cores here."""

    def __init__(self, track: MediaStreamTrack, nth: int) -> None:
        super().__init__()
        self.kind = track.kind
        self._track = track
        self._nth = nth

    async def recv(self) -> Any:
        for _ in range(self._nth - 1):
            await self._track.recv()
        return await self._track.recv()

    def stop(self) -> None:
        super().stop()
        self._track.stop()


def thin(name: str) -> Source:
    """Two pictures and five pieces of sound a second."""
    clock, shown = SystemClock(), Picture(name, 160, 96)
    return lambda: Outgoing((Thinned(Beep(440.0, clock), 10), Thinned(PictureTrack(shown, clock), 7)))


async def watches_all(person: PersonPage, others: int) -> set[str]:
    """The sessions seen on all its pages of tiles; each of them has come to show new pictures. Everybody is heard all the time."""
    seen: set[str] = set()
    # Who speaks comes forward to the first page meanwhile: to the last page, and back to those who changed places.
    for key in ["PageDown"] * 3 + ["PageUp"] * 3:
        shown: list[str] = []
        before: dict[str, Any] = {}
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                shown = await person.page.evaluate(SHOWN)
                tiles = await person.page.locator(".tile:not([hidden])").count()
                now: dict[str, Any] = await person.page.evaluate(WAYS)
                before = before if before.keys() == now.keys() else now
                risen = {key: now[key]["frames"] - before[key]["frames"] for key in now}
                heard = sum(now[key]["packets"] - before[key]["packets"] >= 5 for key in now)
                if len(shown) == tiles and heard == others and all(risen[session] >= 3 for session in shown):
                    break
                await asyncio.sleep(0.2)  # what a decoder does can only be asked for
        seen |= set(shown)
        if len(seen) == others:
            break
        await person.page.keyboard.press(key)
    return seen


async def robots_join(call: Group, call_id: CallId, names: tuple[str, ...], http: Any) -> list[Robot]:
    robots = [Robot(name, Client(call.url, http, clock=SystemClock(), device_id=uuid4()), thin(name)) for name in names]  # type: ignore[arg-type]
    for robot, account in zip(robots, call.accounts[PAGES:], strict=True):
        await robot.client.login(account.email, PASSWORD)
        await robot.client.join(call_id)
    for robot in robots:
        robot.enter(call_id)
    return robots


async def test_twelve_see_and_hear_each_other(tmp_path: Path) -> None:
    """Two of them in pages, one of which is so small that it shows a part of them at a time."""
    async with (
        ServerProcess(tmp_path / "data", SFU="auto", HOST="0.0.0.0", RATE_LIMITS="off") as server,
        chromium() as browser,
        http_client() as http,
        group(server, browser, PEOPLE, PICTURES) as call,
    ):
        call.script = camera(160, 96, 5)
        await call.call(PAGES)
        await call.pages[-1].page.set_viewport_size(SMALL_PHONE)
        call_id = CallId(UUID(await call.pages[0].page.evaluate("() => secureconnect.call.callId")))
        robots = await robots_join(call, call_id, PEOPLE[PAGES:], http)
        others = len(PEOPLE) - 1
        try:
            for robot in robots:
                await until(
                    lambda robot=robot: sum(f >= 3 and s > 0 for f, s in robot.by_sfu().values()) == others,  # type: ignore[misc]
                    f"{robot.name} to see and hear {others}",
                )
            assert await call.pages[-1].one("pager").is_visible()
            for person in call.pages:
                assert len(await watches_all(person, others)) == others
                await person.picture("10-twelve")
                assert person.faults == []
        finally:
            for robot in robots:
                assert robot.task is not None
                robot.task.cancel()
            await asyncio.gather(*[robot.task for robot in robots if robot.task], return_exceptions=True)
