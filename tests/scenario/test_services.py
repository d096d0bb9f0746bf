"""One service a process: each answers its own routes and no others, and together they carry a call."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest

from secureconnect.config import SERVICES
from secureconnect.store import open_database
from secureconnect.store.schema import migrate
from tests.fakes.people import Json, Person, Refused, World
from tests.fakes.postgres import running_postgres
from tests.fakes.redis import RedisServer
from tests.fakes.server import ServerProcess

pytestmark = pytest.mark.anyio

EVERYWHERE = {"/health", "/health/live", "/health/ready", "/v1/calls/health"}
"""What the description of every service holds."""
OWN = {
    "auth": ("/v1/auth/", "/v1/users", "/v1/devices", "/v1/push"),
    "chat": ("/v1/conversations", "/v1/messages"),
    "video": ("/v1/calls", "/v1/ice-servers", "/v1/webhooks"),
}


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with running_postgres() as url:
        yield url


@pytest.fixture(scope="module")
async def worlds(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, World]]:
    """A world at each service, by its name."""
    redis = RedisServer()
    redis.start()
    database = open_database(postgres)
    await migrate(database)
    await database.close()
    settings = {"DATABASE_URL": postgres, "BUS_URL": redis.url, "RATE_LIMITS": "off"}
    async with AsyncExitStack() as stack:
        stack.callback(redis.stop)
        found = {}
        for name in SERVICES:
            folder = tmp_path_factory.mktemp(name)
            node = await stack.enter_async_context(ServerProcess(folder, SERVICES=name, **settings))
            found[name] = World(node.url)
            stack.push_async_callback(found[name].close)
        yield found


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client(trust_env=False) as client:
        yield client


def at(world: World, person: Person) -> Person:
    return Person(world, person.user, person.token, person.device_id)


async def test_a_call_through_three_processes(worlds: dict[str, World]) -> None:
    ada, ben = await worlds["auth"].register("Ada"), await worlds["auth"].register("Ben")
    inbox = await at(worlds["chat"], ben).events()
    conversation = await at(worlds["chat"], ada).converse(ben)
    call = await at(worlds["video"], ada).initiate(conversation, ben)
    await inbox.expect("call.incoming", call_id=call["call_id"])
    await at(worlds["video"], ben).join(call)
    at_ada, at_ben = [await at(worlds["video"], one).signaling(call) for one in (ada, ben)]
    await at_ada.tell("reaction", emoji="hello")
    await at_ben.expect("reaction", emoji="hello")
    # Who leaves the conversation, in one process, leaves its call, in another.
    await at(worlds["chat"], ben).ask("DELETE", f"/v1/conversations/{conversation}/participants/{ben.user_id}")
    assert await at_ben.closed() == 1000
    line = (await at(worlds["chat"], ada).timeline(conversation))[0]
    assert line["call"]["status"] == "ended"


@pytest.mark.parametrize("name", SERVICES)
async def test_each_answers_its_own_routes_only(worlds: dict[str, World], name: str) -> None:
    described: Json = await worlds[name].ask("GET", "/openapi.json", None, {})
    paths = set(described["paths"]) - EVERYWHERE
    assert paths
    assert all(path.startswith(OWN[name]) for path in paths)
    assert set(described["paths"]) >= EVERYWHERE
    ada = await worlds["auth"].person("Ada")
    asked = {"auth": "/v1/users/me", "chat": "/v1/conversations", "video": "/v1/calls"}
    for other, path in asked.items():
        if other == name:
            await at(worlds[name], ada).ask("GET", path)
        else:
            with pytest.raises(Refused) as refused:
                await at(worlds[name], ada).ask("GET", path)
            assert (refused.value.status, refused.value.code) == (404, "not_found")
    if name != "video":
        with pytest.raises(Refused) as refused:
            await at(worlds[name], ada).initiate(ada.user_id, ada)
        assert (refused.value.status, refused.value.code) == (404, "not_found")


async def test_sockets_are_where_their_service_is(worlds: dict[str, World]) -> None:
    ada = await worlds["auth"].person("Ada")
    for name in ("auth", "video"):
        with pytest.raises(Refused) as refused:
            await at(worlds[name], ada).events()
        assert refused.value.status == 404
    for name in ("auth", "chat"):
        with pytest.raises(Refused) as refused:
            await at(worlds[name], ada).socket("/v1/calls/ws/signaling", call_id=ada.user_id)
        assert (refused.value.status, refused.value.problem["detail"]) == (404, "There is no socket at this address.")


@pytest.mark.parametrize("name", SERVICES)
async def test_each_says_what_it_is(worlds: dict[str, World], http: httpx2.Client, name: str) -> None:
    health = await worlds[name].health()
    assert (health["service"], health["status"]) == (name, "healthy")
    assert http.get(f"{worlds[name].url}/metrics").status_code == 404, "it has a listener of its own"
    assert http.get(f"{worlds[name].url}/docs/errors").status_code == 200
    assert http.get(f"{worlds[name].url}/asyncapi.json").status_code == 200
    assert http.get(f"{worlds[name].url}/").status_code == (200 if name == "auth" else 404)


async def test_a_part_alone_refuses_to_start_without_others_to_meet(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, SERVICES="chat")
    with pytest.raises(RuntimeError):
        await server.start()
    async with asyncio.timeout(20):
        assert await server.stop() == 2
