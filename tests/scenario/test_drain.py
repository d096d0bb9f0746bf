"""A node that is asked to end sends everybody elsewhere before it goes: on one node, and a rolling restart of two."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from secureconnect.store import open_database
from secureconnect.store.schema import migrate
from tests.fakes.people import PATIENCE_SECONDS, Json, Person, Refused, Socket, World, person_in
from tests.fakes.postgres import running_postgres
from tests.fakes.server import ServerProcess
from tests.scenario.conftest import faults
from tests.scenario.test_two_nodes import Cluster, cluster_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

DRAIN_SECONDS = 2.0
PAUSE_SECONDS = 0.02
SLACK_SECONDS = 3.0
"""What a busy machine may add to a deadline."""


@asynccontextmanager
async def draining(server: ServerProcess) -> AsyncIterator[World]:
    """The server, started, and a world at it; it is the test's to end."""
    await server.start()
    world = World(server.url)
    try:
        yield world
    finally:
        await world.close()
        await server.kill()


async def until(holds: Callable[[], bool]) -> None:
    """Return when it holds; several people act at once, and each tells only of itself."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if holds():
                return
            await asyncio.sleep(0.02)


async def test_everybody_is_asked_to_come_back_and_told_when(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, RATE_LIMITS="off", DRAIN_SECONDS=str(DRAIN_SECONDS))
    async with draining(server) as world:
        call, (ada, ben), sockets = await world.call_of("Ada", "Ben")
        inboxes = [await one.events() for one in (ada, ben) for _ in range(8)]
        stopping = asyncio.create_task(server.stop())
        everybody = [*sockets, *inboxes]
        times = [(await socket.expect("reconnect"))["after_ms"] for socket in everybody]
        width = DRAIN_SECONDS * 1000 / len(everybody)
        for part, time in enumerate(sorted(times)):
            assert part * width - 1 <= time <= (part + 1) * width, "one in every part of the time"

        # Refused at once, and for as long as it takes; what needs no socket goes on.
        with pytest.raises(Refused) as refused:
            await ada.events()
        assert (refused.value.status, refused.value.code, refused.value.headers["retry-after"]) == (503, "draining", "1")
        with pytest.raises(Refused) as refused:
            await ben.resume(call, sockets[1])
        assert refused.value.code == "draining"
        assert (await world.ready())["status"] == "draining"
        assert (await world.health())["status"] == "healthy"
        assert (await ada.look(call))["status"] == "active"

        # Ben does as he is asked: Ada sees him between two sockets, with the place kept. She stays to the end.
        await sockets[1].connection.close()
        seen = await sockets[0].until(lambda frame: frame["type"] == "call", "Ben's socket closed")
        assert person_in(seen["call"], ben)["state"] == "reconnecting"
        assert await sockets[0].closed() == 1012
        assert not sockets[0].heard("leave")
        assert await stopping == 0
        assert faults(server) == []


async def test_nobody_there_is_nobody_to_wait_for(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, DRAIN_SECONDS="25")
    await server.start()
    assert await server.stop() == 0
    assert not [line for line in server.lines if line["event"] == "draining"]


async def test_asked_twice_it_ends_at_once(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, RATE_LIMITS="off", DRAIN_SECONDS="25")
    async with draining(server) as world:
        (ada,) = await world.people("Ada")
        inbox = await ada.events()
        os.kill(server.pid, signal.SIGTERM)
        await inbox.expect("reconnect")
        assert await server.stop() == -signal.SIGTERM
        assert await inbox.closed() == 1006


async def test_a_request_in_flight_is_answered(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, RATE_LIMITS="off")
    async with draining(server) as world:
        # Hashes of passwords take their time, two at once: some are under way or wait when the server is asked to end.
        arriving = [asyncio.create_task(world.register(f"Person {number}")) for number in range(8)]
        await arriving[0]
        assert await server.stop() == 0
        assert all(person.token for person in await asyncio.gather(*arriving))


# --- Two nodes ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with running_postgres() as url:
        yield url


@pytest.fixture
async def cluster(postgres: str, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster_of(2, postgres, tmp_path, DRAIN_SECONDS=str(DRAIN_SECONDS)) as cluster:
        yield cluster


@asynccontextmanager
async def a_way_to(url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The database's URL by a way of our own, on which things move while the event is set."""
    flowing = asyncio.Event()
    flowing.set()
    pumps: set[asyncio.Task[None]] = set()
    port = urlsplit(url).port

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await flowing.wait()
                writer.write(data)
        finally:
            writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", port)
        pumps.update((asyncio.create_task(pump(reader, there[1])), asyncio.create_task(pump(there[0], writer))))

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as server:
        try:
            yield url.replace(f":{port}/", f":{server.sockets[0].getsockname()[1]}/"), flowing
        finally:
            for task in pumps:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)


async def test_a_database_that_hangs_does_not_keep_a_node_alive(postgres: str, tmp_path: Path) -> None:
    database = open_database(postgres)
    await migrate(database)
    await database.close()
    async with a_way_to(postgres) as (url, flowing):
        server = ServerProcess(tmp_path, RATE_LIMITS="off", DATABASE_URL=url, SHUTDOWN_SECONDS="4")
        async with draining(server) as world:
            _, _, sockets = await world.call_of("Ada", "Ben")
            flowing.clear()
            begun = asyncio.get_running_loop().time()
            assert await server.stop() == 0
            assert asyncio.get_running_loop().time() - begun < 4 + SLACK_SECONDS
            assert [await socket.closed() for socket in sockets] == [1012, 1012]


class Side:
    """One side of a call as a careful client plays it: says numbers, hears the other's, and obeys `reconnect`.

    It says the next one when the last is confirmed, and goes when nothing of its own is under way: so whatever is heard twice or
    not at all is the servers' doing. At a node that is not there it tries the next.
    """

    def __init__(self, cluster: Cluster, person: Person, node: int) -> None:
        self.person = person
        self.said = 0
        self.heard: list[int] = []
        self.kinds: set[str] = set()
        self.seqs: list[int] = []
        self.resumed: list[bool] = []
        self.silent = asyncio.Event()
        self._cluster = cluster
        self._node = node
        self._wait: float | None = None

    async def enter(self, call: Json) -> Socket:
        return await self._cluster.at(self._node, self.person).signaling(call)

    async def play(self, call: Json, socket: Socket, other: "Side", over: asyncio.Event) -> None:
        """Talk until it is over, and listen until all that the other has said is heard."""
        while not over.is_set():
            await self._say(socket)
            if self._wait is None:
                await asyncio.sleep(PAUSE_SECONDS)  # the pace of the talk; the log of a call keeps 1024 entries
            else:
                await socket.connection.close()
                await asyncio.sleep(self._wait)
                socket = await self._back(call, socket.welcome)
        self.silent.set()
        await other.silent.wait()
        while len(self.heard) < other.said:
            await self._read(socket)

    async def _say(self, socket: Socket) -> None:
        await socket.say("reaction", emoji=str(self.said), ref=str(self.said))
        while (await self._read(socket)).get("ref") != str(self.said):
            pass
        self.said += 1

    async def _read(self, socket: Socket) -> Json:
        frame = await socket.read()
        self.kinds.add(frame["type"])
        if frame["type"] == "reconnect":
            self._wait = float(frame["after_ms"]) / 1000
        elif frame["type"] != "ack":
            self.seqs.append(frame["seq"])
        if frame["type"] == "reaction":
            self.heard.append(int(frame["emoji"]))
        return frame

    async def _back(self, call: Json, welcome: Json) -> Socket:
        self._wait = None
        last = max(self.seqs, default=welcome["seq"])
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                self._node = 1 - self._node
                try:
                    at = self._cluster.at(self._node, self.person)
                    socket = await at.signaling(call, resume=welcome["resume"], seq=last)
                except (Refused, OSError):
                    await asyncio.sleep(0.1)  # a node that is just starting cannot be waited for in another way
                else:
                    self.resumed.append(socket.welcome["resumed"])
                    return socket


async def test_a_rolling_restart_cuts_no_call(cluster: Cluster) -> None:
    over = asyncio.Event()
    sides: list[Side] = []
    async with asyncio.TaskGroup() as group:
        for home in (0, 1):
            call, ada, ben = await cluster.call_across()
            # One call begins with both at their own nodes, the other the other way round.
            pair = Side(cluster, ada, home), Side(cluster, ben, 1 - home)
            sides += pair
            at_ada, at_ben = [await side.enter(call) for side in pair]
            group.create_task(pair[0].play(call, at_ada, pair[1], over))
            group.create_task(pair[1].play(call, at_ben, pair[0], over))
        for node, moved in ((cluster.nodes[0], 2), (cluster.nodes[1], 6)):
            await until(lambda: all(side.heard for side in sides))
            assert await node.stop() == 0
            assert faults(node) == []
            await until(lambda moved=moved: sum(len(side.resumed) for side in sides) == moved)  # type: ignore[misc]
            await node.start()
        over.set()
    for side, other in ((sides[0], sides[1]), (sides[1], sides[0]), (sides[2], sides[3]), (sides[3], sides[2])):
        assert side.heard == list(range(other.said)), "every message, once and in order"
        assert side.seqs == sorted(set(side.seqs))
        assert all(side.resumed)
        assert "leave" not in side.kinds
        # The other went for a moment and came back: to those who stay it shows as reconnecting, never as gone.
        assert side.kinds <= {"join", "call", "reaction", "ack", "reconnect"}


async def test_a_drained_node_leaves_nobody_for_its_lease_to_find(cluster: Cluster) -> None:
    call, ada, ben = await cluster.call_across()
    at_ada, at_ben = await ada.signaling(call), await ben.signaling(call)
    assert await cluster.nodes[1].stop() == 0
    await at_ada.until(
        lambda frame: frame["type"] == "call" and person_in(frame["call"], ben)["state"] == "reconnecting", "Ben's socket closed"
    )
    assert await at_ben.closed() == 1012
    told = [str(line["event"]) for line in cluster.nodes[1].lines]
    assert "call changed" in told[told.index("draining") :], "by the node that goes, and not by the one that misses it"
    held = person_in(await ada.look(call), ben)["sessions"]
    assert [session["connected"] for session in held] == [False]


async def test_a_bus_that_is_away_does_not_keep_a_node_alive(cluster: Cluster) -> None:
    call, ada, ben = await cluster.call_across()
    at_ada, at_ben = await ada.signaling(call), await ben.signaling(call)
    cluster.redis.stop()
    await at_ada.say("reaction", emoji="to nobody")
    begun = asyncio.get_running_loop().time()
    assert await cluster.nodes[0].stop() == 0
    assert asyncio.get_running_loop().time() - begun < DRAIN_SECONDS + 10
    assert "stopped in the middle" in [line["event"] for line in cluster.nodes[0].lines]
    # The database was there: whoever was at this node has the grace to come back.
    assert [one["connected"] for one in person_in(await ben.look(call), ada)["sessions"]] == [False]
    assert await at_ada.closed() == 1012
    assert not at_ben.heard("leave")
