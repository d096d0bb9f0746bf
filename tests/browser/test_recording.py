"""A call is recorded: what the library and the page know of it, and people who see it begin, go on, end, and turn into a film."""

import math
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.async_api import Browser, Page

from tests.browser.group import Group, group
from tests.browser.pages import PersonPage, chromium
from tests.browser.test_call import PICTURES
from tests.browser.test_sfu import STILL_MS
from tests.fakes.film import Seen
from tests.fakes.server import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.media]

VISIBLE = 60
"""So far apart are the dark and the bright of a picture at least, of 255: the fake camera shows a figure on a plain ground."""
AUDIBLE = 500
"""Of 32767. The fake microphone beeps."""
CALL = """async (frames) => {
    const { Call } = await import('/sdk/call.js');
    const { reduce } = await import('/sdk/snapshot.js');
    const people = ['ann', 'ben'].map((id) => ({ user_id: id, display_name: id.toUpperCase(), state: 'joined', sessions: [] }));
    const record = { call_id: 'call', status: 'active', version: 1, topology: 'p2p', epoch: 0, participants: people };
    for (const frame of frames) if (frame.type === 'call') frame.call = { ...record, ...frame.call };
    const never = () => new Promise(() => {});
    const api = { origin: location.origin, user: { user_id: 'ann' }, token: never, leave: async () => {} };
    const media = Object.assign(new EventTarget(), { tracks: {}, opening: true });
    const call = new Call(api, record, media).open();
    const told = [];
    const states = [call.recording];
    const snapshots = [structuredClone(call.snapshot)];
    call.addEventListener('recording', ({ detail }) => told.push([detail.state, detail.user_id, detail.display_name]));
    for (const frame of frames) {
        call.signaling.dispatchEvent(new CustomEvent('frame', { detail: frame }));
        states.push(call.recording);
        snapshots.push(structuredClone(call.snapshot));
    }
    const last = JSON.stringify(snapshots.at(-1));
    const folded = snapshots.map((one, from) => JSON.stringify(frames.slice(from).reduce(reduce, one)) === last);
    await call.leave();
    return { told, states, folded };
}"""
RUNNING = {"recording_id": "one", "started_by": "ben", "started_at": "2026-11-25T14:02:00Z"}
FRAMES: list[dict[str, Any]] = [
    {"type": "call", "seq": 2, "call": {"version": 2, "topology": "sfu", "epoch": 1, "recording": RUNNING | {"new": 1}}, "new": 1},
    {"type": "recording", "seq": 3, "recording_id": "one", "state": "started", "user_id": "ben", "new": 1},
    {"type": "recording", "seq": 4, "recording_id": "one", "state": "paused", "user_id": "ben"},
    {"type": "recording", "seq": 5},
    {"type": "call", "seq": 6, "call": {"version": 3, "topology": "sfu", "epoch": 1}},
    {"type": "recording", "seq": 7, "recording_id": "one", "state": "stopped", "user_id": None},
    {"type": "call", "seq": 8, "call": {"version": 2, "topology": "sfu", "epoch": 1, "recording": RUNNING}},
]


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(tmp_path_factory.mktemp("data"), SFU="auto", RECORDING="auto", HOST="0.0.0.0") as process:
        yield process


@pytest.fixture(scope="module")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    async with chromium() as one:
        yield one


@pytest.fixture
async def page(server: ServerProcess, browser: Browser) -> AsyncIterator[Page]:
    page = await browser.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda failure: faults.append(str(failure)))
    await page.goto(f"{server.url}/docs/errors")
    yield page
    assert faults == []
    await page.close()


async def test_what_records_a_call_is_in_the_call_and_who_did_it_in_a_frame(page: Page) -> None:
    """What is new in a frame is passed over, also a state; a snapshot of any moment and what follows give the last one."""
    seen = await page.evaluate(CALL, FRAMES)
    assert seen["told"] == [["started", "ben", "BEN"], ["stopped", None, ""]]
    assert [state and state["recording_id"] for state in seen["states"]] == [None, *["one"] * 4, *[None] * 3]
    assert all(seen["folded"])


LISTS = """async (steps) => {
    const { Recordings } = await import('/static/recordings.js');
    const questions = [];
    const ask = () => new Promise((resolve, reject) => questions.push({ resolve, reject }));
    const recordings = new Recordings({ recordings: ask });
    let changes = 0;
    recordings.addEventListener('change', () => { changes += 1; });
    const seen = [];
    for (const [verb, ...args] of steps) {
        if (verb === 'answer') questions[args[0]].resolve(args[1].map((status) => ({ recording_id: 'one', status })));
        else if (verb === 'fail') questions[args[0]].reject(new Error('out of reach'));
        else recordings[verb](...args);
        await new Promise((resolve) => setTimeout(resolve));
        seen.push([questions.length, changes, recordings.of('call').map((one) => one.status).join()]);
    }
    return seen;
}"""


async def lists(page: Page, *steps: list[Any]) -> list[list[Any]]:
    """After each step: how often the server was asked, how often there was news, and what is known."""
    seen: list[list[Any]] = await page.evaluate(LISTS, steps)
    return seen


async def test_recordings_are_asked_for_when_they_are_looked_at_and_when_one_is_ready(page: Page) -> None:
    assert await lists(
        page,
        ["ready", "call"],
        ["look", "call", True],
        ["answer", 0, ["processing"]],
        ["ready", "call"],
        ["answer", 1, ["ready"]],
        ["look", "call", True],
        ["answer", 2, ["ready"]],
        ["look", "call", True],
        ["again"],
    ) == [
        [0, 0, ""],
        [1, 0, ""],
        [1, 1, "processing"],
        [2, 1, "processing"],
        [2, 2, "ready"],
        [3, 2, "ready"],
        [3, 3, "ready"],
        [3, 3, "ready"],
        [3, 3, "ready"],
    ], "asked by each look until nothing more can come of it"


async def test_an_answer_that_another_question_overtook_is_old(page: Page) -> None:
    seen = await lists(
        page,
        ["look", "call", True],
        ["ready", "call"],
        ["answer", 1, ["ready"]],
        ["answer", 0, ["processing"]],
        ["fail", 0],
        ["again"],
    )
    assert seen == [[1, 0, ""], [2, 0, ""], [2, 1, "ready"], [2, 1, "ready"], [2, 1, "ready"], [3, 1, "ready"]]


async def test_a_recording_that_begins_and_ends_in_a_call_that_was_looked_at_is_asked_for(page: Page) -> None:
    running = {"call_id": "call", "recording": {"recording_id": "one"}}
    over = {"call_id": "call", "recording": None}
    seen = await lists(
        page,
        ["callChanged", running],
        ["look", "call", False],
        ["answer", 0, []],
        ["callChanged", over],
        ["callChanged", running],
        ["answer", 1, ["recording"]],
        ["callChanged", running],
        ["callChanged", over],
        ["fail", 2],
        ["again"],
        ["answer", 3, ["processing"]],
    )
    assert [one[0] for one in seen] == [0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4]
    assert seen[-1][2] == "processing"


async def choose(person: PersonPage, entry: str) -> None:
    """Something of the menu in a call."""
    await person.press("more")
    await person.press(entry)


async def narrow(person: PersonPage, name: str) -> None:
    """The same page as on a phone, to be looked at."""
    await person.page.set_viewport_size({"width": 360, "height": 740})
    await person.picture(f"{name}-narrow")
    await person.page.set_viewport_size({"width": 1280, "height": 800})


async def said(person: PersonPage, words: str) -> None:
    """Return once a screen reader was told so."""
    await person.page.locator("#announcements p").filter(has_text=words).first.wait_for(state="attached")


async def is_rung(call: Group, index: int) -> PersonPage:
    """Somebody who does not answer yet."""
    person = await call.open(index)
    call.pages.remove(person)
    await person.see("incoming")
    return person


async def is_warned(person: PersonPage) -> None:
    """While one is rung, and about to join later, one reads that it is recorded; also who skips the green room otherwise."""
    await person.page.get_by_test_id("incoming").get_by_text("This call is being recorded").wait_for()
    await person.picture("10-rung-into-a-recording")
    await person.press("decline")
    await person.press("conversation-item")
    await person.press("join-banner")
    assert await person.one("recorded-note").inner_text() == "This call is being recorded"
    await person.picture("11-green-room-of-a-recording")
    await narrow(person, "11-green-room-of-a-recording")
    await person.page.get_by_label("Skip this next time").check()
    await person.page.keyboard.press("Escape")
    await person.press("join-banner")
    await person.see("recorded-note")
    await person.page.keyboard.press("Escape")


async def test_two_are_recorded_and_everybody_finds_the_film(server: ServerProcess, browser: Browser, tmp_path: Path) -> None:
    """Begun by one, seen by both while the call moves to the SFU, read by a third before joining, stopped by the other."""
    async with group(server, browser, ("Ann", "Ben", "Cleo"), PICTURES) as call:
        await call.call(2)
        ann, ben = call.pages
        cleo = await is_rung(call, 2)
        await call.flows("direct")
        await call.start_meters()
        await choose(ann, "record")
        await ann.picture("10-record-dialog")
        await narrow(ann, "10-record-dialog")
        await ann.press("record-start")
        await said(ben, "Ann started recording")
        began = time.monotonic()
        assert re.fullmatch(r"REC\s+Ann is recording, since \d\d:\d\d [AP]M", await ben.one("recording-badge").inner_text())
        assert re.fullmatch(r"REC\s+You are recording, since \d\d:\d\d [AP]M", await ann.one("recording-badge").inner_text())
        await call.flows("sfu")
        assert await call.dark_moments() == 0
        assert max(await call.longest_gaps()) < STILL_MS
        await ben.picture("12-recorded")
        await narrow(ben, "12-recorded")
        await is_warned(cleo)

        await choose(ben, "record")
        await said(ann, "Recording has stopped")
        lasted = time.monotonic() - began
        for person in (ann, ben):
            await person.one("recording-badge").wait_for(state="hidden")
            assert not [frame for frame in person.frames if frame["type"] == "error"]
        await call.flows("sfu")
        await ann.press("leave")
        for person in (ann, ben):
            await person.see("after-call")
            await person.see("recording")
        await ann.picture("13-after-a-recording")
        await narrow(ann, "13-after-a-recording")
        await ann.one("after-call").get_by_test_id("recording-link").wait_for()
        await ann.picture("14-after-a-film")
        await ben.page.keyboard.press("Escape")
        for person in (ben, cleo):
            link = person.page.locator(".call-line").get_by_test_id("recording-link")
            await link.wait_for()
            await person.picture("15-thread-with-a-film")
            await narrow(person, "15-thread-with-a-film")
            assert person.faults == []

        words, address = await link.inner_text(), str(await link.get_attribute("href"))
        async with httpx2.AsyncClient(trust_env=False, follow_redirects=True) as http:
            answer = await http.get(address)
        assert answer.status_code == 200, answer.text
        (tmp_path / "film.mp4").write_bytes(answer.content)
        film = Seen(tmp_path / "film.mp4")
        assert lasted - 3 < film.seconds < lasted + 1
        assert words in {f"Recording, 0:{math.floor(film.seconds + near):02}" for near in (-0.1, 0, 0.1)}
        middle = film.seconds / 2
        assert min(film.spread(middle, 0, 640), film.spread(middle, 640, 1280)) > VISIBLE
        assert max(film.samples) > AUDIBLE
        assert ann.faults == []
        await cleo.page.context.close()
