"""Calls of more than two: robots with real media, through a real Janus that `serve` runs, or all to all where there is none."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from secureconnect.clock import SystemClock
from secureconnect.ids import CallId, ConversationId
from secureconnect.robot.call import CallSession
from secureconnect.robot.client import Client, http_client
from secureconnect.robot.pictures import Picture, PictureTrack
from secureconnect.robot.sounds import Beep
from secureconnect.robot.sources import Outgoing, Source
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

    def __init__(self, name: str, client: Client) -> None:
        self.name = name
        self.client = client
        self._session: CallSession | None = None
        self.task: asyncio.Task[None] | None = None

    def enter(self, call_id: CallId) -> None:
        self._session = CallSession(
            self.client, call_id, small_picture(self.name), clock=SystemClock(), random=random.Random(1).random
        )
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


def janus_of(server: ServerProcess) -> int:
    """The process that the server runs."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            name, parent = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :].split()[1]
            if name == "janus" and int(parent) == server.pid:
                return int(entry.name)
    raise AssertionError("the server runs no janus")


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
        await cyn.leave()
        await until(lambda: ann.topology == bob.topology == "p2p", "the two to go back to p2p")
        await scene.all_see_all(ann, bob, by_sfu=False)
        await until(lambda: ann.session.link is None and bob.session.link is None, "the SFU to be let go")


async def test_a_janus_that_is_killed_costs_a_call_of_four_seconds_and_no_more(tmp_path: Path) -> None:
    async with serving(tmp_path, SFU="auto") as server, stage(server) as scene:
        robots = await scene.people("Ann", "Bob", "Cyn", "Dan")
        await scene.join(*robots[1:])
        await scene.all_see_all(*robots, by_sfu=True)
        for _ in range(int(os.environ.get("SECURECONNECT_KILLS", "1"))):
            os.kill(janus_of(server), signal.SIGKILL)
            begun = asyncio.get_running_loop().time()
            await scene.all_see_all(*robots, by_sfu=True, seconds=15)
            print(f"media again after {asyncio.get_running_loop().time() - begun:.2f} s")


async def test_without_an_sfu_four_are_a_mesh_and_the_fifth_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, SFU="off") as server, stage(server) as scene:
        ann, bob, cyn = await scene.people("Ann", "Bob", "Cyn")
        await scene.join(bob, cyn)
        await scene.all_see_all(ann, bob, cyn, by_sfu=False)
        assert ann.topology == "mesh"
