"""What a stage does with any number of people, without a call: where tiles stand, which is large, what is told in words."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from tests.browser.pages import LAPTOP, chromium
from tests.fakes.server import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.media]

STATIC = Path(__file__).parents[2] / "src/secureconnect/web/static"
ARRANGE = """async ([source, stages]) => {
    const { arrange } = await import('data:text/javascript,' + encodeURIComponent(source));
    return stages.map(arrange);
}"""
FORWARD = """async ([source, args]) => {
    const { bringForward } = await import('data:text/javascript,' + encodeURIComponent(source));
    return args.map(([order, speaker, room, spoken]) => bringForward(order, speaker, room, new Map(spoken)));
}"""
BOXES = """() => [...document.querySelectorAll('.tile:not([hidden])')].map((tile) => {
    const { width, height } = tile.style; // where it is going: it takes a moment to be there
    return [tile.dataset.key, Math.round(parseFloat(width)), Math.round(parseFloat(height))];
})"""
SIZES = [(1256, 652), (344, 592), (344, 180), (820, 900), (2500, 1200)]


@pytest.fixture(scope="module")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    async with chromium() as one:
        yield one


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(tmp_path_factory.mktemp("data")) as process:
        yield process


@pytest.fixture
async def blank(browser: Browser) -> AsyncIterator[Page]:
    page = await browser.new_page()
    yield page
    await page.close()


async def arranged(page: Page, stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await page.evaluate(ARRANGE, [(STATIC / "view/arrange.js").read_text(), stages])
    return found


def apart(one: dict[str, float], two: dict[str, float]) -> bool:
    return (
        one["left"] + one["width"] <= two["left"] + 0.01
        or two["left"] + two["width"] <= one["left"] + 0.01
        or one["top"] + one["height"] <= two["top"] + 0.01
        or two["top"] + two["height"] <= one["top"] + 0.01
    )


async def test_every_tile_has_a_place_of_its_own_on_one_page(blank: Page) -> None:
    """For 1 to 50 people, at any size, with and without a large one: inside, none over another, each on exactly one page."""
    stages = [
        {"count": count, "spot": spot, "alone": False, "page": 0, "width": width, "height": height}
        for width, height in SIZES
        for count in (*range(1, 17), 25, 33, 49, 50)
        for spot in sorted({-1, 0, count - 1})
    ]
    first = await arranged(blank, stages)
    turned = [{**stage, "page": page} for stage, one in zip(stages, first, strict=True) for page in range(one["pages"])]
    seen: dict[str, list[int]] = {}
    for stage, arrangement in zip(turned, await arranged(blank, turned), strict=True):
        boxes = [(index, box) for index, box in enumerate(arrangement["boxes"]) if box]
        large = stage["spot"] if stage["count"] > 1 else -1
        for place, (index, box) in enumerate(boxes):
            assert box["left"] >= -0.01, stage
            assert box["top"] >= -0.01, stage
            assert box["left"] + box["width"] <= stage["width"] + 0.01, stage
            assert box["top"] + box["height"] <= stage["height"] + 0.01, stage
            assert all(apart(box, other) for _, other in boxes[place + 1 :]), stage
            assert index == large or large < 0 or box["width"] < arrangement["boxes"][large]["width"], stage
        seen.setdefault(json.dumps({**stage, "page": None}), []).extend(index for index, _ in boxes if index != large)
    for name, indices in seen.items():
        stage = json.loads(name)
        large = stage["spot"] if stage["count"] > 1 else -1
        assert sorted(indices) == [index for index in range(stage["count"]) if index != large], name


async def test_the_grid_is_as_large_as_it_can_be(blank: Page) -> None:
    """Two side by side on a wide screen, above each other on a tall one; four in a square; all of one size."""
    wide, tall, four, last = await arranged(
        blank,
        [
            {"count": 2, "spot": -1, "alone": False, "page": 0, "width": 1600, "height": 500},
            {"count": 2, "spot": -1, "alone": False, "page": 0, "width": 344, "height": 592},
            {"count": 4, "spot": -1, "alone": False, "page": 0, "width": 1256, "height": 652},
            {"count": 16, "spot": -1, "alone": False, "page": 9, "width": 344, "height": 592},
        ],
    )
    assert wide["boxes"][0]["top"] == wide["boxes"][1]["top"]
    assert tall["boxes"][0]["left"] == tall["boxes"][1]["left"]
    assert [round(box["height"]) for box in four["boxes"]] == [322] * 4
    assert (last["page"], last["pages"], last["room"]) == (1, 2, 8)
    assert all(box["width"] >= 144 for box in last["boxes"] if box)


async def test_who_speaks_comes_to_the_first_page(blank: Page) -> None:
    order = ["a", "b", "c", "d", "e"]
    args = [
        [order, "e", 3, [["a", 30], ["b", 10], ["c", 20]]],
        [order, "e", 3, [["a", 30], ["c", 20]]],
        [order, "c", 3, []],
        [order, "e", 0, []],
    ]
    found = await blank.evaluate(FORWARD, [(STATIC / "view/arrange.js").read_text(), args])
    assert found == [["a", "e", "c", "d", "b"], ["a", "e", "c", "d", "b"], order, order]


async def stage_of(browser: Browser, server: ServerProcess, count: int, viewport: Any = LAPTOP) -> tuple[Page, list[str]]:
    """A page with a stage of so many people, `s` in it, and the faults that it will have."""
    page = await browser.new_page(viewport=viewport)
    faults: list[str] = []
    page.on("pageerror", lambda failure: faults.append(str(failure)))
    source = (Path(__file__).parent / "stage.js").read_text()
    await page.route("**/stage-under-test.js", lambda route: route.fulfill(body=source, content_type="text/javascript"))
    await page.goto(f"{server.url}/docs/errors")
    await page.evaluate("async (n) => { window.s = await (await import('/stage-under-test.js')).open(n); }", count)
    return page, faults


async def test_layouts_pins_and_pages(server: ServerProcess, browser: Browser) -> None:
    page, faults = await stage_of(browser, server, 16, {"width": 360, "height": 740})
    assert len(await page.evaluate(BOXES)) == 8
    assert await page.get_by_test_id("pager").inner_text() == "Page 1 of 2"
    await page.keyboard.press("PageDown")
    assert (await page.evaluate(BOXES))[0][0] == "session-8"
    await page.evaluate("() => s.stage.tiles.turn(-1)")

    await page.evaluate("() => { s.call.levels.set('session-14', 0.5); }")
    await page.wait_for_function("() => !document.querySelector('[data-session=session-14]').hidden")

    await page.keyboard.press("l")
    assert await page.get_by_test_id("layout").get_attribute("aria-label") == "Layout: who speaks is large (L)"
    boxes = await page.evaluate(BOXES)
    assert max(boxes, key=lambda box: box[1] * box[2])[0] == "session-14"
    assert (await page.locator("#announcements").inner_text()).endswith("Layout: who speaks is large")
    await page.keyboard.press("l")
    assert [box[0] for box in await page.evaluate(BOXES)] == ["session-14"]
    await page.keyboard.press("l")

    tile = page.locator("[data-session=session-2]")
    await tile.focus()
    await page.keyboard.press("Enter")
    assert await tile.get_by_test_id("pin").get_attribute("aria-pressed") == "true"
    assert max(await page.evaluate(BOXES), key=lambda box: box[1] * box[2])[0] == "session-2"
    await tile.get_by_test_id("pin").click()
    assert len({tuple(box[1:]) for box in await page.evaluate(BOXES)}) == 1, "all alike again"

    await page.evaluate("() => s.call.change((people) => { people[1].media.screen_share = true; })")
    assert max(await page.evaluate(BOXES), key=lambda box: box[1] * box[2])[0] == "session-1 screen"
    assert faults == []
    await page.close()


async def test_a_weak_connection_is_said_in_words(server: ServerProcess, browser: Browser) -> None:
    page, faults = await stage_of(browser, server, 3)
    await page.evaluate("() => s.call.change((people) => { people[1].report = { level: 2 }; people[2].report = { level: 4 }; })")
    assert await page.locator("[data-session=session-1]").get_by_test_id("tile-note").inner_text() == "Weak connection"
    assert await page.get_by_test_id("state-text").inner_text() == "Person 2\u2019s connection is weak"
    assert await page.locator("[data-session=session-2]").get_by_test_id("tile-note").is_hidden()
    await page.evaluate("() => { s.call.history = [{ level: 1 }]; s.call.change(() => {}); }")
    assert await page.get_by_test_id("own-note").inner_text() == "Your connection is weak"
    assert faults == []
    await page.close()


async def test_what_is_looked_at_is_told_and_what_is_paused_is_said(server: ServerProcess, browser: Browser) -> None:
    page, faults = await stage_of(browser, server, 9)
    told = await page.evaluate("() => s.call.shown")
    assert len(told) == 9
    assert {tile["source"] for tile in told} == {"camera"}
    await page.evaluate("() => s.call.change((people) => { people[1].media.screen_share = true; people[2].paused = 'bandwidth'; })")
    told = await page.evaluate("() => s.call.shown")
    assert max(told, key=lambda tile: tile["width"])["source"] == "screen"
    tile = page.locator("[data-session=session-2]")
    assert await tile.get_by_test_id("tile-note").inner_text() == "Bandwidth low, video paused"
    assert not await tile.evaluate("(tile) => tile.classList.contains('has-picture')")
    await page.keyboard.press("l")
    await page.keyboard.press("l")
    assert len(await page.evaluate("() => s.call.shown")) == 1
    assert faults == []
    await page.close()


async def test_a_tile_never_goes_black_when_its_track_changes(server: ServerProcess, browser: Browser) -> None:
    """Every 10 ms while the track of a tile is another one: the topmost picture has frames."""
    page, faults = await stage_of(browser, server, 3)
    await page.wait_for_function("() => document.querySelector('[data-session=session-0]').classList.contains('has-picture')")
    seen = await page.evaluate(
        """async () => {
            const { picture } = await import('/stage-under-test.js');
            const tile = document.querySelector('[data-session=session-0]');
            const next = picture(20);
            const seen = { ready: [], tracks: new Set() };
            s.call.change((people) => { people[0].peer.received = { ...people[0].peer.received, camera: next }; });
            for (let tick = 0; tick < 60; tick += 1) {
                const video = [...tile.querySelectorAll('video')].at(-1);
                seen.ready.push(video.readyState);
                seen.tracks.add(video.srcObject.getTracks()[0].id);
                await new Promise((resolve) => setTimeout(resolve, 10));
            }
            const left = [...tile.querySelectorAll('video')].map((video) => video.srcObject.getTracks()[0].id === next.id);
            return { worst: Math.min(...seen.ready), tracks: seen.tracks.size, left };
        }"""
    )
    assert seen == {"worst": 4, "tracks": 2, "left": [True]}
    assert faults == []
    await page.close()


RECORD = """(by) => s.call.change(() => {
    s.call.record.recording = by && { recording_id: 'one', started_by: by, started_at: '2026-11-25T14:02:00Z' };
})"""
BADGE_IS_SEEN = """() => {
    const badge = document.querySelector('[data-testid=recording-badge]');
    const { left, right, top, bottom } = badge.getBoundingClientRect();
    const clear = [...document.querySelectorAll('.tile:not([hidden]), .stage-top > button')].every((other) => {
        const box = other.getBoundingClientRect();
        const shown = getComputedStyle(other).opacity !== '0';
        return !shown || right <= box.left || left >= box.right || bottom <= box.top + 1 || top >= box.bottom - 1;
    });
    const solid = badge.checkVisibility({ opacityProperty: true }) && getComputedStyle(badge).opacity === '1';
    return clear && solid && left >= 0 && right <= innerWidth && top >= 0;
}"""
"""Wholly on the screen, and over nobody's picture."""


async def test_recording_is_asked_for_and_stopped_from_the_menu(server: ServerProcess, browser: Browser) -> None:
    page, faults = await stage_of(browser, server, 2)
    await page.get_by_test_id("more").click()
    await page.get_by_test_id("record").click()
    dialog = page.get_by_test_id("record-dialog")
    assert "Everyone in the call will see that it is recorded." in await dialog.inner_text()
    await page.keyboard.press("Escape")
    assert await page.evaluate("() => s.call.asked") == []

    await page.get_by_test_id("more").click()
    await page.get_by_test_id("record").click()
    await page.get_by_test_id("record-start").click()
    await dialog.wait_for(state="detached")
    assert await page.evaluate("() => s.call.asked") == ["start"]

    await page.evaluate(RECORD, "user-0")
    await page.get_by_test_id("more").click()
    assert await page.get_by_test_id("record").inner_text() == "Stop recording"
    await page.get_by_test_id("record").click()
    assert await page.evaluate("() => s.call.asked") == ["start", "stop"]

    await page.evaluate("() => { s.call.record.answered_at = null; }")
    await page.get_by_test_id("more").click()
    assert await page.get_by_test_id("record").count() == 0, "before anybody has answered there is nothing to record"
    assert faults == []
    await page.close()


async def test_why_it_cannot_be_recorded_is_said_in_the_words_of_the_server(server: ServerProcess, browser: Browser) -> None:
    page, faults = await stage_of(browser, server, 2)
    why = "A call is recorded by an SFU, and none is at hand."
    await page.evaluate(
        """async (detail) => {
            const { ApiError } = await import('/sdk/api.js');
            s.call.refusal = new ApiError(409, { code: 'recording_unavailable', title: 'Conflict', detail });
        }""",
        why,
    )
    await page.get_by_test_id("more").click()
    await page.get_by_test_id("record").click()
    await page.get_by_test_id("record-start").click()
    await page.locator(".toast.bad").filter(has_text=why).wait_for()
    assert faults == []
    await page.close()


@pytest.mark.parametrize("width", [1280, 360])
async def test_that_it_is_recorded_is_seen_the_whole_time(server: ServerProcess, browser: Browser, width: int) -> None:
    """Said once when it begins and ends; seen also when the bar and the title are hidden, and over nobody's picture."""
    page, faults = await stage_of(browser, server, 4, {"width": width, "height": 740})
    said = page.locator("#announcements p")
    badge = page.get_by_test_id("recording-badge")
    assert await badge.is_hidden()
    await page.evaluate(RECORD, "user-0")
    await page.evaluate(RECORD, "user-0")
    assert re.fullmatch(r"REC\s+Person 1 is recording, since \d\d:\d\d.*", await badge.inner_text())
    assert await said.all_inner_texts() == ["Person 1 started recording"]
    await page.wait_for_function(BADGE_IS_SEEN)
    await page.wait_for_function("() => document.querySelector('.stage').classList.contains('idle')")
    await page.wait_for_function("() => getComputedStyle(document.querySelector('.stage-title')).opacity === '0'")
    await page.wait_for_function(BADGE_IS_SEEN)

    await page.evaluate(RECORD, None)
    assert await badge.is_hidden()
    assert await said.all_inner_texts() == ["Person 1 started recording", "Recording has stopped"]
    await page.evaluate(RECORD, "me")
    assert "You are recording, since" in await badge.inner_text()
    assert (await said.all_inner_texts())[-1] == "You started recording"
    assert faults == []
    await page.close()
