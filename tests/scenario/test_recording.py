"""Recording a call: who may, what everybody is told, what is in the film, and what it survives."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from secureconnect.clock import SystemClock
from secureconnect.robot.client import http_client
from secureconnect.robot.pictures import Picture, PictureTrack
from secureconnect.robot.sounds import Beep
from secureconnect.robot.sources import Outgoing
from tests.fakes.film import Seen
from tests.fakes.janus import running_janus
from tests.fakes.people import Json, Person, Refused, World
from tests.fakes.server import ServerProcess
from tests.scenario.conftest import serving
from tests.scenario.test_asyncapi import Document
from tests.scenario.test_group import Robot, Stage, stage, two_nodes, until

pytestmark = pytest.mark.anyio
FILM_SECONDS = 60.0
"""How long a short film may take to be made on a machine that is busy with something else."""
PICTURES = 25


@contextmanager
def folder_within_reach() -> Iterator[Path]:
    """pytest's own are barred to nobody, who the SFU runs as when root starts it."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    with folder_within_reach() as folder:
        settings = {"RECORDING": "auto", "RECORDING_DIR": str(folder / "written")}
        async with serving(tmp_path_factory.mktemp("data"), SFU="auto", **settings) as server:
            yield server


def at(call: Json, rest: str = "") -> str:
    return f"/v1/calls/{call['call_id']}/recording{rest}"


async def refusal(person: Person, method: str, path: str) -> tuple[int, str]:
    with pytest.raises(Refused) as refused:
        await person.ask(method, path)
    return refused.value.status, refused.value.code


# Who may, and what is told. Nobody sends anything here, so there is nothing to make a film of.


async def test_everybody_in_the_call_is_told_who_records_and_who_stopped_it(world: World) -> None:
    call, (ada, ben), sockets = await world.call_of("Ada", "Ben")
    recording = await ben.ask("POST", at(call))
    assert (recording["status"], recording["started_by"], recording["url"]) == ("recording", ben.user_id, None)
    document = Document(await world.ask("GET", "/asyncapi.json", None, {}))
    for socket in sockets:
        frame = await socket.expect("recording", state="started")
        assert document.faults("hear", frame) == []
        assert (frame["recording_id"], frame["user_id"]) == (recording["recording_id"], ben.user_id)
        assert (await socket.expect("topology"))["topology"] == "sfu"
    shown = (await ada.look(call))["recording"]
    assert (shown["recording_id"], shown["started_by"]) == (recording["recording_id"], ben.user_id)
    assert (await ada.ask("POST", at(call)))["recording_id"] == recording["recording_id"]

    stopped = await ada.ask("DELETE", at(call))
    assert (stopped["status"], stopped["recording_id"]) == ("processing", recording["recording_id"])
    for socket in sockets:
        assert (await socket.expect("recording", state="stopped"))["user_id"] == ada.user_id
    assert (await ada.look(call))["recording"] is None
    assert (await ben.ask("DELETE", at(call)))["recording_id"] == recording["recording_id"], "again is as good"


async def test_a_repeat_of_a_start_never_starts_what_was_stopped_meanwhile(world: World) -> None:
    call, (ada, ben), _ = await world.call_of("Ada", "Ben")
    first = await ada.ask("POST", at(call), **{"idempotency-key": "one"})
    await ben.ask("DELETE", at(call))
    again = await ada.ask("POST", at(call), **{"idempotency-key": "one"})
    assert again["recording_id"] == first["recording_id"]
    assert (await ada.look(call))["recording"] is None
    other = await ada.ask("POST", at(call), **{"idempotency-key": "two"})
    assert other["recording_id"] != first["recording_id"]


async def test_it_ends_with_the_call_and_says_so_when_there_is_nothing_in_it(world: World) -> None:
    call, (ada, ben), sockets = await world.call_of("Ada", "Ben")
    await ada.ask("POST", at(call))
    await ada.end(call)
    assert (await sockets[1].expect("recording", state="stopped"))["user_id"] is None
    (record,) = await over(ben, call)
    assert (record["status"], record["url"]) == ("failed", None)
    assert record["failure"] == "nobody was recorded"


async def test_only_who_is_in_the_call_records_it_and_only_members_see_what_there_is(world: World) -> None:
    ada, ben, cas = await world.people("Ada", "Ben", "Cas")
    call = await ada.initiate(await ada.converse(ben), ben)
    assert await refusal(ada, "POST", at(call)) == (409, "recording_unavailable")
    assert await refusal(ben, "POST", at(call)) == (409, "not_joined")
    for method, rest in (("POST", ""), ("DELETE", ""), ("GET", "s")):
        assert await refusal(cas, method, at(call, rest)) == (404, "not_found")
    await ben.join(call)
    assert await refusal(ben, "DELETE", at(call)) == (409, "not_recording")
    await ben.ask("POST", at(call))
    await ada.end(call)
    assert await refusal(ben, "POST", at(call)) == (409, "call_ended")


# What is in the film


def source(hertz: float, name: str) -> Any:
    """A beep of this height, and a picture of some size."""
    clock, shown = SystemClock(), Picture(name, 320, 180)
    return lambda: Outgoing((Beep(hertz, clock), PictureTrack(shown, clock)))


async def answer_to(robot: Robot, scene: Stage, method: str, rest: str) -> httpx2.Response:
    headers = {"authorization": f"Bearer {await robot.client.access_token()}"}
    async with http_client() as http:
        return await http.request(method, f"{robot.client.base_url}/v1/calls/{scene.call_id}/recording{rest}", headers=headers)


async def ask(robot: Robot, scene: Stage, method: str, rest: str) -> Any:
    answer = await answer_to(robot, scene, method, rest)
    assert answer.status_code < 300, answer.text
    return answer.json()


async def two_who_talk(scene: Stage) -> tuple[Robot, Robot]:
    ann, bob = await scene.people("Ann", "Bob")
    ann.source, bob.source = source(440.0, "Ann"), source(880.0, "Bob")
    return ann, bob


async def some_pictures(*robots: Robot) -> None:
    """So many more by the SFU, at each."""
    before = {robot.name: sum(frames for frames, _ in robot.by_sfu().values()) for robot in robots}
    for robot in robots:
        await until(
            lambda robot=robot: sum(frames for frames, _ in robot.by_sfu().values()) >= before[robot.name] + PICTURES,  # type: ignore[misc]
            f"{robot.name} to see {PICTURES} pictures",
        )


async def over(person: Person, call: Json) -> list[Json]:
    """The recordings of the call, once none is under way."""
    async with asyncio.timeout(FILM_SECONDS):
        while True:
            page = await person.ask("GET", at(call, "s"))
            if all(one["status"] in ("ready", "failed") for one in page["items"]):
                return list(page["items"])
            await asyncio.sleep(0.1)


async def ready(robot: Robot, scene: Stage) -> Json:
    async with asyncio.timeout(FILM_SECONDS):
        while True:
            (record,) = (await ask(robot, scene, "GET", "s"))["items"]
            if record["status"] not in ("recording", "processing"):
                assert record["status"] == "ready", record
                return dict(record)
            await asyncio.sleep(0.1)


async def fetch(url: str, **headers: str) -> httpx2.Response:
    async with http_client() as http:
        return await http.get(url, headers=headers)


async def film_of(robot: Robot, record: Json, folder: Path) -> Seen:
    """What the link leads to, decoded, and held to what the list said of it."""
    answer = await fetch(robot.client.base_url + record["url"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, record["content_type"])
    assert len(answer.content) == int(answer.headers["content-length"]) == record["bytes"]
    assert "content-encoding" not in answer.headers
    path = folder / "film.mp4"
    path.write_bytes(answer.content)
    seen = Seen(path)
    assert seen.seconds == pytest.approx(record["seconds"], abs=0.2)
    return seen


def shows_both(seen: Seen) -> None:
    """Side by side, and both beep."""
    last = seen.seconds - 0.2
    assert seen.spread(last, 0, 640) > 20, "Ann's half is of one colour"
    assert seen.spread(last, 640, 1280) > 20, "Bob's half is of one colour"
    assert seen.loudest(440.0) > 1000
    assert seen.loudest(880.0) > 1000


async def test_the_film_shows_and_sounds_of_both_and_outlives_the_server(tmp_path: Path) -> None:
    with folder_within_reach() as folder:
        settings = {"SFU": "auto", "RECORDING": "auto", "RECORDING_DIR": str(folder / "written")}
        async with serving(tmp_path, **settings) as server, stage(server) as scene:
            ann, bob = await two_who_talk(scene)
            await scene.join(bob)
            await scene.all_see_all(ann, bob, by_sfu=False)
            await ask(ann, scene, "POST", "")
            await some_pictures(ann, bob)
            await ask(bob, scene, "DELETE", "")
            await server.kill()  # before anything was made of it, and the SFU with it
            await server.start()
            record = await ready(ann, scene)
            shows_both(await film_of(ann, record, tmp_path))
            assert list((folder / "written").iterdir()) == [], "what the SFU wrote is needed no more"
            link = ann.client.base_url + record["url"]
            await check_link(link, record["bytes"])
            await check_deletion(scene, by=ann, not_by=bob, record=record, link=link)


async def check_link(url: str, length: int) -> None:
    """One range at a time, and no other film, no later than it says."""
    part = await fetch(url, range="bytes=4-11")
    assert (part.status_code, part.headers["content-range"], part.content[:4]) == (206, f"bytes 4-11/{length}", b"ftyp")
    rest = await fetch(url, range=f"bytes={length - 3}-")
    assert (rest.status_code, len(rest.content)) == (206, 3)
    assert len((await fetch(url, range="bytes=-7")).content) == 7
    assert (await fetch(url, range=f"bytes={length}-")).status_code == 416
    assert (await fetch(url, range="pages=1-2")).status_code == 200
    # A player asks with HEAD first, and is told what GET would say (RFC 9110, section 9.3.2).
    for asked, status in ((None, 200), ("bytes=4-11", 206), (f"bytes={length}-", 416)):
        headers = {"range": asked} if asked else {}
        async with http_client() as http:
            head, got = await http.head(url, headers=headers), await http.get(url, headers=headers)
        assert (head.status_code, head.content) == (status, b"")
        for name in ("content-length", "content-range", "accept-ranges", "content-type", "cache-control"):
            assert head.headers.get(name) == got.headers.get(name), (asked, name)
    another = url.partition("?")[0].rsplit("/", 2)[1]
    for forged in (
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.replace("expires=", "expires=9"),
        url.replace(another, str(uuid4())),
    ):
        refused = await fetch(forged)
        assert refused.status_code == 404, forged


async def check_deletion(scene: Stage, *, by: Robot, not_by: Robot, record: Json, link: str) -> None:
    """Gone from the list and behind its link, at the word of who started it."""
    path = f"s/{record['recording_id']}"
    assert (await answer_to(not_by, scene, "DELETE", path)).json()["code"] == "forbidden"
    assert (await answer_to(by, scene, "DELETE", path)).status_code == 204
    assert (await ask(by, scene, "GET", "s"))["items"] == []
    assert (await fetch(link)).status_code == 404
    assert (await answer_to(by, scene, "DELETE", path)).status_code == 404


async def test_an_sfu_that_dies_costs_a_moment_of_the_film_and_a_node_that_dies_none(tmp_path: Path) -> None:
    with folder_within_reach() as folder:
        shared = {
            "RECORDING": "auto",
            "RECORDING_DIR": str(folder / "written"),
            "RECORDING_STORE": (folder / "films").as_uri(),
        }
        async with (
            running_janus("one", recordings=folder / "written") as one,
            running_janus("two", recordings=folder / "written") as two,
            two_nodes(tmp_path, one, two, **shared) as (east, west),
            stage(east) as scene,
        ):
            ann, bob = await two_who_talk(scene)
            bob.client.base_url = west.url
            world = World(west.url)
            listening = await (await world.bearer(await bob.client.access_token())).events()
            await scene.join(bob)
            await scene.all_see_all(ann, bob, by_sfu=False)
            await ask(ann, scene, "POST", "")
            await some_pictures(ann, bob)
            mine = next(each for each in (one, two) if list_of(folder / "written", each.pid))
            os.kill(mine.pid, signal.SIGKILL)
            await some_pictures(ann, bob)
            await east.kill()
            ann.client.base_url = west.url
            await ask(bob, scene, "DELETE", "")
            record = await ready(bob, scene)
            seen = await film_of(bob, record, tmp_path)
            shows_both(seen)
            assert seen.spread(1.0, 0, 640) > 20, "what the dead one wrote is in it, too"
            told = await listening.expect("recording.ready")
            assert (told["call_id"], told["recording_id"]) == (record["call_id"], record["recording_id"])
            assert Document(await world.ask("GET", "/asyncapi.json", None, {})).faults("notify", told) == []
            await world.close()


def list_of(folder: Path, pid: int) -> list[str]:
    """The files in there that this process has open."""
    links = [entry.readlink() for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()]
    return [str(link) for link in links if str(link).startswith(str(folder))]


async def test_without_the_programs_or_an_sfu_it_says_what_to_do(tmp_path: Path) -> None:
    async with serving(tmp_path, RECORDING="auto") as server:
        world = World(server.url)
        call, (ada, _), _ = await world.call_of("Ada", "Ben")
        with pytest.raises(Refused) as refused:
            await ada.ask("POST", at(call))
        assert refused.value.code == "recording_unavailable"
        assert "sfu" in json.dumps(refused.value.problem["detail"])
        await world.close()
