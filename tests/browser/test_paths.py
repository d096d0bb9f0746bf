"""The library's move from direct connections to an SFU and back, with a small SFU in the page (wire.js)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from tests.browser.pages import PATIENCE_SECONDS, chromium
from tests.fakes.server import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.media]

HERE = Path(__file__).parent
START = """async (ids) => {
    const { Wire } = await import('/wire-under-test.js');
    window.wire = new Wire();
    window.seen = new Set();
    for (const id of ids) await wire.join(id, { a: 'red', b: 'green', c: 'blue' }[id]);
    /** Every way in which somebody was shown, and whether the one shown was without a connection meanwhile. */
    window.watch = setInterval(() => {
        for (const member of wire.members.values()) {
            for (const other of wire.members.keys()) {
                if (other === member.id) continue;
                const path = member.paths.of(other);
                seen.add(`${member.id}<${other} ${path?.way ?? 'none'} ${path?.state ?? ''}`);
            }
        }
    }, 10);
}"""
SHOWN = """async () => {
    const members = [...wire.members];
    return Object.fromEntries(await Promise.all(members.map(async ([id, member]) => [id, await member.shown()])));
}"""


async def until(page: Page, predicate: str, arg: Any = None) -> None:
    """Return once an asynchronous predicate is true (Playwright's own waiting takes a promise for true)."""
    loop = f"async (arg) => {{ while (!(await ({predicate})(arg))) await new Promise((next) => setTimeout(next, 50)); }}"
    async with asyncio.timeout(PATIENCE_SECONDS):
        await page.evaluate(loop, arg)


async def shown_by(page: Page, way: str, *, frames: int = 5) -> None:
    """Return once everybody is shown to everybody this way, with pictures and sound that rise."""
    predicate = f"""async ([way, frames]) => {{
        const all = await ({SHOWN})();
        return Object.values(all).every((one) => Object.values(one).length === wire.members.size - 1
            && Object.values(one).every((each) => each.way === way && each.frames >= frames && each.packets > 0));
    }}"""
    await until(page, predicate, [way, frames])


async def sent(page: Page, kind: str) -> list[dict[str, Any]]:
    frames: list[dict[str, Any]] = await page.evaluate("(kind) => wire.sent.filter((frame) => frame.type === kind)", kind)
    return frames


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(tmp_path_factory.mktemp("data")) as process:
        yield process


@pytest.fixture
async def page(server: ServerProcess) -> AsyncIterator[Page]:
    async with chromium() as browser:
        page = await browser.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda failure: faults.append(str(failure)))
        page.on("console", lambda message: faults.append(message.text) if message.type in {"error", "warning"} else None)
        source = (HERE / "wire.js").read_text()
        await page.route("**/wire-under-test.js", lambda route: route.fulfill(body=source, content_type="text/javascript"))
        await page.goto(f"{server.url}/docs/errors")
        yield page
        assert faults == []


async def test_to_the_sfu_and_back_without_a_gap(page: Page) -> None:
    """Each is shown by a connected way all the time; the old way is closed once both have left it."""
    await page.evaluate(START, ["a", "b"])
    await shown_by(page, "direct")
    await page.evaluate("() => { seen.clear(); wire.move('sfu'); }")
    await shown_by(page, "sfu")
    await page.wait_for_function("() => [...wire.members.values()].every((one) => one.paths.mesh.peers.size === 0)")
    told = [(frame["from"], frame["target"], frame["epoch"]) for frame in await sent(page, "switched")]
    assert sorted(told) == [("a", "b", 1), ("b", "a", 1)]

    await page.evaluate("() => { wire.move('p2p'); }")
    await shown_by(page, "direct")
    await page.wait_for_function("() => wire.sent.filter((frame) => frame.type === 'switched' && frame.epoch === 2).length === 2")
    seen = await page.evaluate("() => [...seen]")
    assert {word.split(" ", 1)[1] for word in seen} == {"direct connected", "sfu connected"}, seen
    epochs = {frame["epoch"] for frame in await sent(page, "offer") if frame["target"] == "sfu"}
    assert epochs == {1}


async def test_the_third_finds_the_sfu_and_the_first_two_lose_nothing(page: Page) -> None:
    await page.evaluate(START, ["a", "b"])
    await shown_by(page, "direct")
    await page.evaluate("async () => { seen.clear(); wire.move('sfu'); await wire.join('c', 'blue'); }")
    await shown_by(page, "sfu")
    seen = await page.evaluate("() => [...seen]")
    assert all(word.endswith(" connected") for word in seen if word.startswith(("a<b", "b<a"))), seen
    assert not [frame for frame in await sent(page, "offer") if frame["from"] == "c" and frame["target"] != "sfu"]
    await page.evaluate("() => { wire.leave('c'); }")
    await shown_by(page, "sfu", frames=20)


async def test_an_sfu_that_died_is_left_for_the_next(page: Page) -> None:
    """The same topology with a higher epoch: published anew; the old picture stays until the new one is there."""
    await page.evaluate(START, ["a", "b", "c"])
    await page.evaluate("() => { wire.move('sfu'); }")
    await shown_by(page, "sfu")
    await page.evaluate("() => { wire.sfu.die(); wire.move('sfu'); }")
    await page.wait_for_function("() => wire.sent.filter((frame) => frame.type === 'offer' && frame.epoch === 2).length >= 3")
    await shown_by(page, "sfu")
    restarted = [frame for frame in await sent(page, "ice_restart") if frame["epoch"] == 1]
    assert restarted == []


async def test_a_screen_comes_and_goes_by_a_line_of_its_own(page: Page) -> None:
    await page.evaluate(START, ["a", "b"])
    await page.evaluate("() => { wire.move('sfu'); }")
    await shown_by(page, "sfu")
    share = """(share) => {
        const member = wire.members.get('a');
        member.tracks = { ...member.tracks, screen: share ? wire.members.get('b').tracks.camera.clone() : null };
        member.paths.refill();
    }"""
    await page.evaluate(share, True)
    await page.wait_for_function("() => wire.members.get('b').paths.of('a').received.screen !== null")
    await until(page, "async () => (await wire.members.get('b').paths.statistics())[0].inbound.screen.frames_decoded > 3")
    offers = [frame for frame in await sent(page, "offer") if frame["from"] == "a" and frame["target"] == "sfu"]
    assert [[track["source"] for track in frame["tracks"]] for frame in offers] == [
        ["microphone", "camera"],
        ["microphone", "camera", "screen"],
    ]
    assert len({frame["connection_id"] for frame in offers}) == 1
    await page.evaluate(share, False)
    await page.wait_for_function("() => wire.members.get('b').paths.of('a').received.screen === null")


async def test_the_camera_is_offered_in_three_sizes(page: Page) -> None:
    await page.evaluate(START, ["a"])
    await page.evaluate("() => { wire.move('sfu'); }")
    await page.wait_for_function("() => wire.sent.some((frame) => frame.type === 'offer')")
    sdp = (await sent(page, "offer"))[0]["sdp"]
    assert "a=simulcast:send h;m;l" in sdp
    assert sdp.count("a=sendonly") == 2


async def test_without_an_answer_of_the_sfu_the_direct_way_goes_on(page: Page) -> None:
    await page.evaluate(START, ["a", "b"])
    await shown_by(page, "direct")
    await page.evaluate("() => { seen.clear(); wire.sfu.deaf = true; wire.move('sfu'); }")
    await page.evaluate("() => { const now = Date.now; Date.now = () => now() + 11_000; }")  # longer than a move may take
    before = await page.evaluate(SHOWN)
    await shown_by(page, "direct", frames=before["a"]["b"]["frames"] + 20)
    assert {word.split(" ", 1)[1] for word in await page.evaluate("() => [...seen]")} == {"direct connected"}
