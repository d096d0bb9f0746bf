"""A socket ends with its access token: when it expires, and when what it stands for is revoked, at whichever node it is."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from secureconnect.accounts.revocations import Revocations
from secureconnect.bus import open_bus
from secureconnect.clock import SystemClock
from secureconnect.ids import UserId
from secureconnect.store import open_database
from tests.cluster import Cluster
from tests.fakes.people import Json, Person, Refused, Socket, World, mint, person_in
from tests.fakes.server import ServerProcess

pytestmark = pytest.mark.anyio
PASSWORD = "correct horse battery staple"
WITHIN_SECONDS = 2.0
"""One second is promised; the machine of a test may be busy with another one."""


class Ada:
    """Somebody with an account, a sign-in that named its device, and sockets of it at two nodes."""

    def __init__(self, here: World, there: World, given: Json, email: str, device_id: str) -> None:
        self.email = email
        self.refresh_token: str = given["refresh_token"]
        self.here = Person(here, given["user"], given["access_token"], device_id)
        self.there = Person(there, given["user"], given["access_token"], device_id)
        self.user_id = UserId(UUID(self.here.user_id))

    async def events(self) -> list[Socket]:
        """At each node one that names its device, one that names another, one that names none."""
        devices = (self.here.device_id, str(uuid4()), None)
        return [await person.socket("/v1/ws/events", device_id=device) for person in (self.here, self.there) for device in devices]

    async def again(self) -> Person:
        """The same person, signed in at another device."""
        body = {"email": self.email, "password": PASSWORD, "device_id": str(uuid4())}
        given = await self.here.world.ask("POST", "/v1/auth/login", body, {})
        return Person(self.here.world, given["user"], given["access_token"], body["device_id"])


async def register(here: World, there: World) -> Ada:
    email, device_id = f"{uuid4().hex}@example.com", str(uuid4())
    body = {"email": email, "password": PASSWORD, "display_name": "Ada", "device_id": device_id}
    return Ada(here, there, await here.ask("POST", "/v1/auth/register", body, {}), email, device_id)


@pytest.fixture
async def worlds(cluster: Cluster) -> AsyncIterator[list[World]]:
    """The people at each of three nodes."""
    worlds = [World(node.url) for node in cluster.nodes]
    yield worlds
    for world in worlds:
        await world.close()


@contextlib.asynccontextmanager
async def operator(database_url: str, bus_url: str) -> AsyncIterator[Revocations]:
    """Who revokes from outside of any node, as a command does. With `memory://` no node hears of it."""
    # A name of its own each time: Redis takes what comes twice from one publisher for a repeat.
    database, bus = open_database(database_url), open_bus(bus_url, SystemClock(), str(uuid4()))
    running = asyncio.ensure_future(bus.run())
    try:
        yield Revocations(database=database, bus=bus, clock=SystemClock(), lifetime=timedelta(days=1))
        await bus.flush()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await bus.close()
        await database.close()


async def logout(ada: Ada, cluster: Cluster) -> None:
    await ada.here.world.ask("POST", "/v1/auth/logout", {"refresh_token": ada.refresh_token}, {})


async def refresh_twice(ada: Ada, cluster: Cluster) -> None:
    """The first token once more, after its successor was used: a copy is in other hands."""
    first = {"refresh_token": ada.refresh_token}
    second = await ada.here.world.ask("POST", "/v1/auth/refresh", first, {})
    await ada.here.world.ask("POST", "/v1/auth/refresh", {"refresh_token": second["refresh_token"]}, {})
    with pytest.raises(Refused):
        await ada.here.world.ask("POST", "/v1/auth/refresh", first, {})


async def sign_the_device_out(ada: Ada, cluster: Cluster) -> None:
    await (await ada.again()).ask("DELETE", f"/v1/devices/{ada.here.device_id}")


async def revoke_the_user(ada: Ada, cluster: Cluster) -> None:
    async with operator(cluster.database_url, cluster.redis.url) as revocations:
        await revocations.revoke_user(ada.user_id)


async def disable_the_user(ada: Ada, cluster: Cluster) -> None:
    async with operator(cluster.database_url, cluster.redis.url) as revocations:
        await revocations.disable_user(ada.user_id)


EVERY_WAY = [logout, refresh_twice, sign_the_device_out, revoke_the_user, disable_the_user]


async def closings(sockets: list[Socket], begun: float) -> set[int]:
    """The codes they close with. All close in time."""

    async def wait(socket: Socket) -> tuple[int, float]:
        code = await socket.closed()
        return code, time.monotonic() - begun

    closed = await asyncio.gather(*(wait(socket) for socket in sockets))
    assert max(seconds for _, seconds in closed) < WITHIN_SECONDS, closed
    return {code for code, _ in closed}


@pytest.mark.parametrize("revoke", EVERY_WAY, ids=lambda way: way.__name__)
async def test_what_is_revoked_ends_at_every_node(cluster: Cluster, worlds: list[World], revoke: Any) -> None:
    here, there, _ = worlds
    ada, ben = await register(here, there), await here.register("Ben")
    cleo = await here.register("Cleo")
    conversation_id = await ben.converse(ada.here, cleo)
    call = await ben.initiate(conversation_id, ada.here, cleo)
    # Without a device: one that joined would have its place in the call until the grace is over.
    await ada.here.join(call, device_id=None)
    await cleo.join(call)
    at_ben, _ = await ben.signaling(call), await cleo.signaling(call)
    # One session at each kind of node; neither names the device of the sign-in.
    at_ada = await ada.there.socket("/v1/calls/ws/signaling", call_id=call["call_id"])
    sockets = [*await ada.events(), at_ada]
    strangers = [await ben.events(), at_ben]
    await revoke(ada, cluster)
    assert await closings(sockets, time.monotonic()) == {4003}
    await at_ben.expect("leave", session_id=at_ada.welcome["session_id"])
    assert person_in(await ben.look(call), ada.here)["state"] == "left"
    for again in (ada.here.events(), ada.there.signaling(call, resume=at_ada.welcome["resume"], seq=at_ada.seq)):
        with pytest.raises(Refused) as refused:
            await again
        assert refused.value.status == 401
    await ben.write(conversation_id, "still here")
    for socket in strangers[:1]:
        await socket.expect("message.created")


async def test_a_session_that_lost_its_socket_does_not_outlive_its_sign_in(cluster: Cluster, worlds: list[World]) -> None:
    here, there, _ = worlds
    ada, ben = await register(here, there), await here.register("Ben")
    call = await ben.initiate(await ben.converse(ada.here), ada.here)
    await ada.there.join(call)
    at_ben, at_ada = await ben.signaling(call), await ada.there.signaling(call)
    await at_ben.expect("join", session_id=at_ada.welcome["session_id"])
    at_ada.abort()
    await at_ben.until(
        lambda frame: frame["type"] == "call" and person_in(frame["call"], ada.here)["state"] == "reconnecting", "Ada lost"
    )
    begun = time.monotonic()
    await logout(ada, cluster)
    await at_ben.expect("leave", session_id=at_ada.welcome["session_id"])
    assert time.monotonic() - begun < WITHIN_SECONDS


async def test_a_new_sign_in_does_not_take_up_the_session_of_a_revoked_one(cluster: Cluster, worlds: list[World]) -> None:
    here, there, _ = worlds
    ada, ben = await register(here, there), await here.register("Ben")
    call = await ben.initiate(await ben.converse(ada.here), ada.here)
    await ada.here.join(call)
    at_ben, at_ada = await ben.signaling(call), await ada.here.signaling(call)
    await logout(ada, cluster)
    assert await at_ada.closed() == 4003
    await at_ben.expect("leave", session_id=at_ada.welcome["session_id"])
    with pytest.raises(Refused) as refused:
        await (await ada.again()).resume(call, at_ada)
    assert refused.value.status == 409


async def test_tokens_of_an_application_end_with_their_user(cluster: Cluster, worlds: list[World]) -> None:
    """They name no sign-in: the moment they were issued decides. A device that such a socket names can be signed out."""
    here, there, _ = worlds
    ada = await here.person("Ada")
    elsewhere = Person(there, ada.user, ada.token, ada.device_id)
    named, unnamed = await elsewhere.events(), await elsewhere.socket("/v1/ws/events")
    await ada.ask("DELETE", f"/v1/devices/{ada.device_id}")
    assert await named.closed() == 4003
    await unnamed.expect("device.revoked", device_id=ada.device_id)
    async with operator(cluster.database_url, cluster.redis.url) as revocations:
        await revocations.revoke_user(UserId(UUID(ada.user_id)))
    assert await closings([unnamed], time.monotonic()) == {4003}
    with pytest.raises(Refused):
        await ada.events()
    await asyncio.sleep(1.1)  # a token has whole seconds, and of the same one nobody could tell
    await Person(there, ada.user, mint(ada.user_id, "Ada"), ada.device_id).events()


async def test_a_node_that_hears_nothing_reads_it_again(cluster: Cluster, worlds: list[World]) -> None:
    here, there, _ = worlds
    ada = await register(here, there)
    sockets = await ada.events()
    async with operator(cluster.database_url, "memory://") as deaf:
        await deaf.revoke_user(ada.user_id)
    begun = time.monotonic()
    assert [await socket.closed() for socket in sockets] == [4003] * len(sockets)
    assert time.monotonic() - begun < 5 + WITHIN_SECONDS


async def test_a_socket_is_open_for_as_long_as_its_token_is_renewed(cluster: Cluster, worlds: list[World]) -> None:
    """A token of a few seconds in a call. At the end nobody renews it."""
    seconds, renewals = 3, 3
    here, there, _ = worlds
    ben, ada = await here.person("Ben"), await here.person("Ada")
    call = await ben.initiate(await ben.converse(ada), ada)
    await ada.join(call)
    short = Person(there, ada.user, mint(ada.user_id, "Ada", seconds=seconds), ada.device_id)
    at_ben = await ben.signaling(call)
    sockets = [await short.signaling(call), await short.events()]
    assert all(seconds - 2 <= socket.welcome["token_expires_in"] <= seconds for socket in sockets)
    for _ in range(renewals):
        await asyncio.sleep(seconds * 0.6)
        minted = time.time()
        for socket in sockets:
            await socket.say("auth", token=mint(ada.user_id, "Ada", seconds=seconds), ref="mine")
            answer = await socket.expect("authenticated", ref="mine")
            assert seconds - 2 <= answer["token_expires_in"] <= seconds
        await sockets[0].tell("reaction", emoji="👋")
        await at_ben.expect("reaction")
    expiry = int(minted) + seconds
    for socket in sockets:
        assert await socket.closed() == 4004
        assert expiry <= time.time() < expiry + 1 + WITHIN_SECONDS
    # The place in the call is kept, as for any socket that was lost.
    renewed = Person(here, ada.user, mint(ada.user_id, "Ada"), ada.device_id)
    back = await renewed.resume(call, sockets[0])
    assert back.welcome["resumed"]
    assert not at_ben.heard("leave")


async def test_only_the_users_own_token_renews_a_socket(worlds: list[World]) -> None:
    here, *_ = worlds
    ada, mallory = await here.person("Ada"), await here.person("Mallory")
    for token, code in (("forged", "unauthenticated"), (mint(ada.user_id, "Ada", seconds=-60), "token_expired")):
        socket = await ada.events()
        await socket.say("auth", token=token, ref="1")
        await socket.expect("error", code=code, ref="1")
        await socket.say("auth", token=ada.token, ref="2")
        await socket.expect("authenticated", ref="2")
    socket = await ada.events()
    await socket.say("auth", token=mallory.token, ref="3")
    await socket.expect("error", code="forbidden", ref="3")
    assert await socket.closed() == 1008


async def test_a_node_that_drains_still_revokes(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, RATE_LIMITS="off", DRAIN_SECONDS="8")
    await server.start()
    world = World(server.url)
    ending: asyncio.Task[int] | None = None
    try:
        ada = await register(world, world)
        socket, short = await ada.here.events(), await world.bearer(mint(str(uuid4()), "Ben", seconds=3))
        expiring = await short.events()
        ending = asyncio.ensure_future(server.stop())
        await socket.expect("reconnect")
        await world.ask("POST", "/v1/auth/logout", {"refresh_token": ada.refresh_token}, {})
        assert await closings([socket], time.monotonic()) == {4003}
        assert await expiring.closed() == 4004
    finally:
        await world.close()
        assert await (server.stop() if ending is None else ending) == 0
