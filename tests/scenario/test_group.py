"""Calls of more than two: robots with real media, through a real Janus that `serve` runs, or all to all where there is none."""

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from secureconnect.clock import SystemClock
from secureconnect.ids import CallId, ConversationId, UserId
from secureconnect.media.janus import open_janus
from secureconnect.robot.call import CallSession
from secureconnect.robot.client import Client, http_client
from secureconnect.robot.pictures import Picture, PictureTrack
from secureconnect.robot.sounds import Beep
from secureconnect.robot.sources import Outgoing, Source
from secureconnect.robot.wire import MediaState
from secureconnect.store import open_database
from secureconnect.store.schema import migrate
from tests.fakes.janus import JanusServer, janus_of, running_janus
from tests.fakes.postgres import running_postgres
from tests.fakes.redis import RedisServer
from tests.fakes.server import ServerProcess
from tests.scenario.conftest import serving

pytestmark = pytest.mark.anyio
PATIENCE_SECONDS = 30.0


async def until(holds: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Return when it holds. What happens to media can only be asked for."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                if holds():
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited {seconds:g} s for: {what}") from None


def small_picture(name: str) -> Source:
    """What a robot shows here: large enough to be decoded, small enough for four of them on one core."""
    clock, shown = SystemClock(), Picture(name, 160, 96)
    return lambda: Outgoing((Beep(440.0, clock), PictureTrack(shown, clock)))


class Robot:
    """Somebody in the call, with everything that is seen and heard of the others."""

    def __init__(self, name: str, client: Client, source: Source | None = None) -> None:
        self.name = name
        self.source = source or small_picture(name)
        self.client = client
        self.user_id: UserId | None = None
        self._session: CallSession | None = None
        self.task: asyncio.Task[None] | None = None

    def enter(self, call_id: CallId) -> None:
        self._session = CallSession(self.client, call_id, self.source, clock=SystemClock(), random=random.Random(1).random)
        self.task = asyncio.create_task(self._session.run())

    @property
    def session(self) -> CallSession:
        assert self._session is not None
        return self._session

    @property
    def topology(self) -> str | None:
        return self.session.snapshot.topology if self.session.snapshot is not None else None

    def seen(self) -> dict[str, int]:
        """Frames by session, whichever way they came."""
        frames: dict[str, int] = {}
        for one in self.session.others:
            frames[str(one.remote)] = frames.get(str(one.remote), 0) + one.video.frames
        return frames

    def by_sfu(self) -> dict[str, tuple[int, float]]:
        """Frames and audible seconds by session, of those that came by the SFU."""
        link = self.session.link
        return {str(one.remote): (one.video.frames, one.audio.audible_seconds) for one in link.others.values()} if link else {}

    @property
    def epoch(self) -> int:
        return self.session.link.epoch if self.session.link is not None else 0

    def media_of(self, other: "Robot") -> MediaState:
        """What the other has said of itself, or others of them."""
        snapshot, key = self.session.snapshot, other.session.session_id
        return snapshot.media.get(key, MediaState()) if snapshot is not None and key is not None else MediaState()

    def connected(self, count: int) -> bool:
        """Whether so many sessions have a socket, as far as is known here."""
        snapshot = self.session.snapshot
        people = snapshot.call.participants if snapshot is not None else []
        return sum(one.connected for person in people for one in person.sessions) == count

    async def leave(self) -> None:
        assert self.task is not None
        await self.session.leave()
        await asyncio.wait([self.task], timeout=10)


class Stage:
    """A server, people at it, and their call."""

    def __init__(self, url: str, http: httpx2.AsyncClient) -> None:
        self.url = url
        self._http = http
        self.robots: list[Robot] = []
        self.call_id: CallId | None = None
        self.conversation_id: ConversationId | None = None

    async def people(self, *names: str) -> list[Robot]:
        self.robots = [Robot(name, Client(self.url, self._http, clock=SystemClock(), device_id=uuid4())) for name in names]  # type: ignore[arg-type]
        users = [
            await one.client.register(f"{one.name}.{uuid4().hex[:8]}@example.org", "a long password", one.name)
            for one in self.robots
        ]
        for robot, user in zip(self.robots, users, strict=True):
            robot.user_id = user.user_id
        conversation = await self.robots[0].client.create_conversation([user.user_id for user in users[1:]])
        call = await self.robots[0].client.initiate(conversation.conversation_id, [user.user_id for user in users[1:]])
        self.call_id, self.conversation_id = call.call_id, conversation.conversation_id
        self.robots[0].enter(call.call_id)
        return self.robots

    async def join(self, *robots: Robot) -> None:
        assert self.call_id is not None
        for robot in robots:
            await robot.client.join(self.call_id)
            robot.enter(self.call_id)

    async def post(self, robot: Robot, path: str, body: object) -> httpx2.Response:
        headers = {"authorization": f"Bearer {await robot.client.access_token()}"}
        return await self._http.post(self.url + path, json=body, headers=headers)

    async def refusal(self, robot: Robot, path: str, body: object) -> str:
        """The code of what the server answers."""
        return str((await self.post(robot, path, body)).json()["code"])

    async def all_see_all(self, *robots: Robot, by_sfu: bool, seconds: float = PATIENCE_SECONDS) -> None:
        """New pictures and new sound of everybody, at everybody."""
        before = {robot.name: robot.by_sfu() if by_sfu else {} for robot in robots}
        counts = {robot.name: robot.seen() for robot in robots}

        def sees(robot: Robot) -> bool:
            if not by_sfu:
                new = {key: frames - counts[robot.name].get(key, 0) for key, frames in robot.seen().items()}
                return sum(frames >= 5 for frames in new.values()) == len(robots) - 1
            now, then = robot.by_sfu(), before[robot.name]
            fresh = [
                key
                for key, (frames, heard) in now.items()
                if frames >= then.get(key, (0, 0))[0] + 5 and heard > then.get(key, (0, 0.0))[1]
            ]
            return len(fresh) == len(robots) - 1

        for robot in robots:
            await until(lambda robot=robot: sees(robot), f"{robot.name} to see {len(robots) - 1}", seconds)  # type: ignore[misc]


@asynccontextmanager
async def stage(server: ServerProcess) -> AsyncIterator[Stage]:
    async with http_client() as http:
        scene = Stage(server.url, http)
        try:
            yield scene
        finally:
            tasks = [robot.task for robot in scene.robots if robot.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def people_at(janus: JanusServer) -> int:
    """How many sit there."""
    api = await open_janus(janus.server.url, janus.server.secret, SystemClock())
    session = await api.create(lambda: None)
    handle = await api.attach(session, lambda message: None)
    reply = await api.message(session, handle, {"request": "list", "admin_key": janus.server.secret})
    await api.close()
    return sum(room["num_participants"] for room in reply.body["list"])


async def test_the_third_moves_everybody_to_the_sfu_and_two_go_back(tmp_path: Path) -> None:
    async with serving(tmp_path, SFU="auto") as server, stage(server) as scene:
        ann, bob, cyn, dan = await scene.people("Ann", "Bob", "Cyn", "Dan")
        await scene.join(bob)
        await scene.all_see_all(ann, bob, by_sfu=False)
        assert ann.topology == "p2p"
        await scene.join(cyn)
        await scene.all_see_all(ann, bob, cyn, by_sfu=True)
        await until(lambda: not ann.session.peers and not bob.session.peers, "the direct connection to go")
        assert ann.topology == "sfu"
        await scene.join(dan)
        await scene.all_see_all(ann, bob, cyn, dan, by_sfu=True)
        await dan.leave()
        await scene.join(dan)
        await scene.all_see_all(ann, bob, cyn, dan, by_sfu=True)
        await dan.leave()
        await cyn.leave()
        await until(lambda: ann.topology == bob.topology == "p2p", "the two to go back to p2p")
        await scene.all_see_all(ann, bob, by_sfu=False)
        await until(lambda: ann.session.link is None and bob.session.link is None, "the SFU to be let go")


async def test_a_janus_that_is_killed_costs_a_call_of_four_seconds_and_no_more(tmp_path: Path) -> None:
    async with serving(tmp_path, SFU="auto") as server, stage(server) as scene:
        robots = await scene.people("Ann", "Bob", "Cyn", "Dan")
        await scene.join(*robots[1:])
        await scene.all_see_all(*robots, by_sfu=True)
        for _ in range(int(os.environ.get("KILLS", "1"))):
            os.kill(janus_of(server), signal.SIGKILL)
            begun = asyncio.get_running_loop().time()
            await scene.all_see_all(*robots, by_sfu=True, seconds=15)
            print(f"media again after {asyncio.get_running_loop().time() - begun:.2f} s")


async def test_a_janus_that_is_killed_costs_only_the_calls_that_it_has(tmp_path: Path) -> None:
    async with serving(tmp_path, SFU="auto", SFU_PROCESSES="2") as server, stage(server) as first, stage(server) as second:
        ann, bob, cyn = await first.people("Ann", "Bob", "Cyn")
        await first.join(bob, cyn)
        await first.all_see_all(ann, bob, cyn, by_sfu=True)
        dan, eve, fay = await second.people("Dan", "Eve", "Fay")
        await second.join(eve, fay)
        await second.all_see_all(dan, eve, fay, by_sfu=True)
        epochs = [robot.epoch for robot in (ann, dan)]
        os.kill(janus_of(server), signal.SIGKILL)
        await until(lambda: [robot.epoch for robot in (ann, dan)] != epochs, "one call to move")
        await first.all_see_all(ann, bob, cyn, by_sfu=True, seconds=15)
        await second.all_see_all(dan, eve, fay, by_sfu=True, seconds=15)
        stayed = [robot.epoch == epoch for robot, epoch in zip((ann, dan), epochs, strict=True)]
        assert sorted(stayed) == [False, True], "the other call stays where it is"


async def test_without_an_sfu_four_are_a_mesh_and_the_fifth_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, SFU="off") as server, stage(server) as scene:
        ann, bob, cyn = await scene.people("Ann", "Bob", "Cyn")
        await scene.join(bob, cyn)
        await scene.all_see_all(ann, bob, cyn, by_sfu=False)
        assert ann.topology == "mesh"


async def test_who_is_silenced_is_muted_for_all_until_they_say_otherwise(tmp_path: Path) -> None:
    async with serving(tmp_path, SFU="auto") as server, stage(server) as scene:
        ann, bob, cyn = await scene.people("Ann", "Bob", "Cyn")
        await scene.join(bob, cyn)
        await scene.all_see_all(ann, bob, cyn, by_sfu=True)
        key = str(bob.session.session_id)
        path = f"/v1/calls/{scene.call_id}/participants/{bob.user_id}/mute"
        await scene.post(ann, path, {"kinds": ["video"]})
        await until(lambda: cyn.media_of(bob).video_muted, "Cyn to hear that Bob is silenced")
        frames = -1
        while frames != cyn.seen()[key]:
            frames = cyn.seen()[key]
            await asyncio.sleep(0.5)  # seven pictures' time: what was on its way has come
        await bob.session.say("mute_video", muted=False)
        await until(lambda: cyn.seen()[key] >= frames + 5, "Bob's picture to be back")
        assert (
            await scene.refusal(cyn, f"/v1/calls/{scene.call_id}/participants/{bob.user_id}/mute", {"kinds": ["audio"]})
            == "not_host"
        )


async def test_what_is_not_shown_is_not_sent_and_is_back_when_it_is(tmp_path: Path) -> None:
    async with serving(tmp_path, SFU="auto") as server, stage(server) as scene:
        ann, bob, cyn = await scene.people("Ann", "Bob", "Cyn")
        await scene.join(bob, cyn)
        await scene.all_see_all(ann, bob, cyn, by_sfu=True)
        shown, hidden = str(bob.session.session_id), str(cyn.session.session_id)
        tile = {"source": "camera", "width": 640, "height": 360}
        await ann.session.say("view", tiles=[{"session_id": shown, **tile}])
        frames = -1
        while frames != ann.seen()[hidden]:
            frames = ann.seen()[hidden]
            await asyncio.sleep(0.5)  # seven pictures' time
        seen = ann.seen()[shown]
        await until(lambda: ann.seen()[shown] >= seen + 5, "the one who is shown to go on")
        await ann.session.say("view", tiles=[{"session_id": one, **tile} for one in (shown, hidden)])
        await until(lambda: ann.seen()[hidden] >= frames + 5, "the other to be back")


def naming(*sfus: JanusServer, draining: JanusServer | None = None) -> str:
    """These, as the settings of a node name them."""
    return json.dumps(
        [
            {"name": each.server.name, "url": each.server.url, "secret": each.server.secret, "draining": each is draining}
            for each in sfus
        ]
    )


@asynccontextmanager
async def two_nodes(tmp_path: Path, *sfus: JanusServer, **more: str) -> AsyncIterator[tuple[ServerProcess, ServerProcess]]:
    """Nodes that share a database, a bus, and these."""
    redis = RedisServer()
    redis.start()
    with ExitStack() as stack:
        stack.callback(redis.stop)
        url = stack.enter_context(running_postgres())
        database = open_database(url)
        await migrate(database)
        await database.close()
        shared = {"DATABASE_URL": url, "BUS_URL": redis.url, "SFU": "auto", "SFU_SERVERS": naming(*sfus)}
        shared |= {"RATE_LIMITS": "off", "DRAIN_SECONDS": "2", **more}
        east, west = ServerProcess(tmp_path / "east", **shared), ServerProcess(tmp_path / "west", **shared)
        await asyncio.gather(east.start(), west.start())
        try:
            yield east, west
        finally:
            await asyncio.gather(*[node.stop() for node in (east, west) if node.is_running])


async def test_a_node_that_is_killed_takes_no_media_along_and_an_sfu_that_is_killed_is_replaced(tmp_path: Path) -> None:
    async with (
        running_janus("one") as one,
        running_janus("two") as two,
        two_nodes(tmp_path, one, two) as (east, west),
        stage(east) as scene,
    ):
        ann, bob, cyn = await scene.people("Ann", "Bob", "Cyn")
        cyn.client.base_url = west.url
        await scene.join(bob, cyn)
        await scene.all_see_all(ann, bob, cyn, by_sfu=True)
        links = [robot.session.link for robot in scene.robots]
        for robot in scene.robots:
            robot.client.base_url = west.url
        await east.kill()
        await scene.all_see_all(ann, bob, cyn, by_sfu=True)
        await until(lambda: all(robot.connected(3) for robot in scene.robots), "all to be back at the other node")
        assert [robot.session.link for robot in scene.robots] == links, "nothing was negotiated again"
        assert links[0] is not None
        epoch = links[0].epoch
        holder = one if await people_at(one) else two
        os.kill(holder.pid, signal.SIGKILL)
        await until(lambda: all(robot.epoch > epoch for robot in scene.robots), "everybody to be told of another SFU")
        await scene.all_see_all(ann, bob, cyn, by_sfu=True)


async def test_an_sfu_is_emptied_and_nobody_is_said_to_have_left(tmp_path: Path) -> None:
    """As docs/sfu.md says: the nodes are told one after the other. A call moves, and new ones go elsewhere."""
    async with (
        running_janus("one") as one,
        running_janus("two") as two,
        two_nodes(tmp_path, one, two) as (east, west),
        stage(east) as scene,
        stage(west) as other,
    ):
        ann, bob, cyn = await scene.people("Ann", "Bob", "Cyn")
        await scene.join(bob, cyn)
        await scene.all_see_all(ann, bob, cyn, by_sfu=True)
        sessions, epoch = [robot.session.session_id for robot in scene.robots], ann.epoch
        full, free = (one, two) if await people_at(one) else (two, one)
        for node, beside in ((east, west), (west, east)):
            node.change(SFU_SERVERS=naming(one, two, draining=full))
            for robot in scene.robots:
                robot.client.base_url = beside.url
            await node.stop()
            await node.start()
        await until(lambda: all(robot.epoch > epoch for robot in scene.robots), "everybody to be told of another SFU")
        await scene.all_see_all(ann, bob, cyn, by_sfu=True)
        assert [robot.session.session_id for robot in scene.robots] == sessions, "nobody has left and come again"
        # What a node let go of when it stopped, and nobody claimed, is there for a minute more.
        behind = await people_at(full)
        assert await people_at(free) == 3

        robots = await other.people("Dan", "Eva", "Fay")
        await other.join(*robots[1:])
        await other.all_see_all(*robots, by_sfu=True)
        assert (await people_at(full) <= behind, await people_at(free)) == (True, 6)
