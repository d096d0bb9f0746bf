"""Calls across two nodes that share a PostgreSQL and a Redis: heard on both, resumed on either, and outliving a node that dies."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from secureconnect.store import open_database
from secureconnect.store.schema import migrate
from tests.fakes.people import Json, Person, World, person_in
from tests.fakes.postgres import running_postgres
from tests.fakes.redis import RedisServer
from tests.fakes.server import ServerProcess

pytestmark = pytest.mark.anyio


class Cluster:
    """Nodes that share everything. Each has its world, and a person can be at any of them."""

    def __init__(self, nodes: list[ServerProcess], redis: RedisServer) -> None:
        self.nodes = nodes
        self.redis = redis
        self.worlds = [World(node.url) for node in nodes]

    def at(self, number: int, person: Person) -> Person:
        """The same person and device, connected to another node."""
        return Person(self.worlds[number], person.user, person.token, person.device_id)

    async def call_across(self) -> tuple[Json, Person, Person]:
        """Ada at the first node has rung Ben at the second, who has joined."""
        ada, ben = await self.worlds[0].people("Ada", "Ben")
        ben = self.at(1, ben)
        at_ben = await ben.events()
        call = await ada.initiate(await ada.converse(ben), ben)
        await at_ben.expect("call.incoming", call_id=call["call_id"])
        return await ben.join(call), ada, ben


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with running_postgres() as url:
        yield url


@asynccontextmanager
async def cluster_of(number: int, postgres: str, folder: Path, **more: str) -> AsyncIterator[Cluster]:
    redis = RedisServer()
    redis.start()
    database = open_database(postgres)
    await migrate(database)
    await database.close()
    settings = {"DATABASE_URL": postgres, "BUS_URL": redis.url, "RATE_LIMITS": "off", **more}
    async with AsyncExitStack() as stack:
        stack.callback(redis.stop)
        nodes = [await stack.enter_async_context(ServerProcess(folder / str(one), **settings)) for one in range(number)]
        cluster = Cluster(nodes, redis)
        for world in cluster.worlds:
            stack.push_async_callback(world.close)
        yield cluster


@pytest.fixture
async def cluster(postgres: str, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster_of(2, postgres, tmp_path) as cluster:
        yield cluster


async def test_what_one_says_at_one_node_is_heard_at_the_other(cluster: Cluster) -> None:
    call, ada, ben = await cluster.call_across()
    at_ada, at_ben = await ada.signaling(call), await ben.signaling(call)
    await at_ada.expect("join", session_id=at_ben.welcome["session_id"])
    await asyncio.gather(
        *(at_ada.say("reaction", emoji=str(number)) for number in range(50)),
        *(at_ben.say("reaction", emoji=str(number)) for number in range(50)),
    )
    await at_ada.expect("reaction", emoji="49")
    await at_ben.expect("reaction", emoji="49")
    for socket in (at_ada, at_ben):
        assert [frame["emoji"] for frame in socket.heard("reaction")] == [str(number) for number in range(50)]
        seqs = [frame["seq"] for frame in socket.frames if "seq" in frame and frame["type"] != "welcome"]
        assert seqs == sorted(set(seqs))
    await at_ben.tell("mute_audio", muted=True)
    late = await cluster.at(1, ada).on("0193e5a0-7c1b-7def-8123-456789abcdef").join(call, mode="add")
    assert person_in(late, ada)["state"] == "joined"
    on_tablet = await cluster.at(1, ada).on("0193e5a0-7c1b-7def-8123-456789abcdef").signaling(call)
    assert on_tablet.welcome["media"][at_ben.welcome["session_id"]]["audio_muted"] is True


async def test_a_session_resumes_at_the_other_node_and_its_old_socket_closes(cluster: Cluster) -> None:
    call, ada, ben = await cluster.call_across()
    at_ada, at_ben = await ada.signaling(call), await ben.signaling(call)
    await at_ada.tell("reaction", emoji="heard")
    await at_ben.expect("reaction", emoji="heard")
    moved = await cluster.at(0, ben).resume(call, at_ben)
    assert moved.welcome["resumed"] is True
    assert moved.welcome["session_id"] == at_ben.welcome["session_id"]
    assert await at_ben.closed() == 1000
    await at_ada.tell("reaction", emoji="after")
    await moved.expect("reaction", emoji="after")
    assert not at_ada.heard("leave")


async def test_a_node_that_dies_takes_no_call_with_it(cluster: Cluster) -> None:
    call, ada, ben = await cluster.call_across()
    at_ada, at_ben = await ada.signaling(call), await ben.signaling(call)
    await cluster.nodes[1].kill()
    assert await at_ben.closed() == 1006
    await at_ada.tell("reaction", emoji="while Ben was away")
    back = await cluster.at(0, ben).resume(call, at_ben)
    assert back.welcome["resumed"] is True
    await back.expect("reaction", emoji="while Ben was away")
    await back.tell("reaction", emoji="back")
    await at_ada.expect("reaction", emoji="back")
    assert not at_ada.heard("leave")


async def test_redis_away_and_back_loses_no_signal(cluster: Cluster) -> None:
    call, ada, ben = await cluster.call_across()
    at_ada, at_ben = await ada.signaling(call), await ben.signaling(call)
    await at_ada.tell("reaction", emoji="before")
    await at_ben.expect("reaction", emoji="before")
    cluster.redis.stop()
    for number in range(20):
        await at_ada.say("reaction", emoji=f"during {number}")
    health = await cluster.worlds[0].health()
    assert health["status"] == "degraded"
    assert health["dependencies"]["bus"]["status"] == "unavailable"
    assert health["dependencies"]["database"]["status"] == "healthy"
    cluster.redis.start()
    await at_ben.expect("reaction", emoji="during 19")
    heard = [frame["emoji"] for frame in at_ben.heard("reaction")]
    assert heard == ["before", *(f"during {number}" for number in range(20))]
    await at_ben.tell("reaction", emoji="after")
    await at_ada.expect("reaction", emoji="after")
