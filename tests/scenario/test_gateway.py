"""What the gateway does when nodes fall silent, or all say that something is missing behind them."""

import asyncio

import pytest

from tests.cluster import Cluster
from tests.fakes.people import World, person_in

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


async def test_of_a_node_that_says_nothing_more_the_sockets_are_cut_and_come_back_elsewhere(cluster: Cluster) -> None:
    """A machine that loses its power closes no connection: its clients would wait until they have been given up."""
    world = World(cluster.url, cluster.gateway.certificate)
    call, (ada, ben), (at_ada, at_ben) = await world.call_of("Ada", "Ben")
    silent = next(node for node in cluster.nodes if _holds(node.lines, call["call_id"]))
    silent.pause()
    try:
        # Nothing is said while it waits: what ends this is the gateway, not a keep-alive of ours.
        assert {*await asyncio.gather(at_ada.closed(), at_ben.closed())} == {1006}
        back_ada, back_ben = await ada.resume(call, at_ada), await ben.resume(call, at_ben)
        assert back_ada.welcome["resumed"] is back_ben.welcome["resumed"] is True
        await back_ada.tell("reaction", emoji="here")
        await back_ben.expect("reaction", emoji="here")
    finally:
        silent.resume()
    await cluster.gateway.until_all_up()
    # What was stopped goes on where it was, and takes nobody's place.
    await back_ben.tell("reaction", emoji="still here")
    await back_ada.expect("reaction", emoji="still here")
    now = await ada.look(call)
    assert {person_in(now, one)["state"] for one in (ada, ben)} == {"joined"}
    assert not back_ada.heard("leave")
    assert not back_ben.heard("leave")
    await world.close()


async def test_without_redis_requests_are_answered_and_sockets_stay(cluster: Cluster) -> None:
    world = World(cluster.url, cluster.gateway.certificate)
    call, (ada, ben), (at_ada, at_ben) = await world.call_of("Ada", "Ben")
    cluster.redis.stop()
    try:
        async with asyncio.timeout(20):
            while True:
                if (await world.ready())["status"] == "degraded":
                    break
                await asyncio.sleep(0.1)
        conversation = await ada.converse(ben)
        assert (await ada.write(conversation, "by the database alone"))["content"] == "by the database alone"
        assert (await ada.look(call))["status"] == "active"
        await at_ada.say("reaction", emoji="while it was away")
    finally:
        cluster.redis.start()
    await at_ben.expect("reaction", emoji="while it was away")
    await cluster.gateway.until_all_up()
    await world.close()


def _holds(lines: list[dict[str, object]], call_id: str) -> bool:
    """Whether a node has opened a signaling socket of this call: ids are logged by their last eight characters."""
    return any(
        line.get("event") == "socket opened" and line.get("kind") == "signaling" and line.get("call") == call_id[-8:]
        for line in lines
    )
