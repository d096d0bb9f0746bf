"""A node that was taken for lost and lives: its sockets carry on, but for those whose sessions went elsewhere or have gone."""

import asyncio
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest

from secureconnect.calls.commands import NodeLost, OpenSession
from secureconnect.ids import DeviceId, NodeId
from secureconnect.signaling.call_socket import KEPT_AGAIN_SECONDS
from tests.unit.signaling.world import ANN, BOB, GRACE, NODE, Client, World

PHONE, LAPTOP = DeviceId(UUID(int=0xD0)), DeviceId(UUID(int=0xD1))
ELSEWHERE = NodeId(UUID(int=0xE1))


@pytest.fixture
def world() -> Iterator[World]:
    world = World(ANN, BOB)
    world.calls.join(BOB, LAPTOP)
    yield world
    world.close()


def everybody(world: World) -> tuple[Client, Client]:
    ann, bob = Client(world, ANN, PHONE), Client(world, BOB, LAPTOP)
    for one in (ann, bob):
        one.connect()
        one.read()
    return ann, bob


def keep(world: World, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Keep the sessions; something happens between the first look and the second."""

    async def work() -> None:
        keeping = asyncio.ensure_future(world.sockets.keep_sessions())
        for _ in range(100):
            await asyncio.sleep(0)
        assert world.clock.sleeping, "it waits before it looks again"
        meanwhile()
        world.clock.advance(KEPT_AGAIN_SECONDS)
        await keeping

    world.run(work())


def states(world: World) -> list[str]:
    return [one.state.value for one in world.calls.call.participants]


def test_who_is_here_is_joined_again(world: World) -> None:
    ann, bob = everybody(world)
    world.calls.command(NodeLost(NODE, GRACE))
    assert states(world) == ["reconnecting", "reconnecting"]
    keep(world)
    assert states(world) == ["joined", "joined"]
    world.clock.advance(GRACE.total_seconds() + 1)
    world.calls.tick()
    assert states(world) == ["joined", "joined"]
    ann.say(type="reaction", emoji="here")
    bob.read()
    assert ann.talking
    assert bob.talking
    # The close that is told at last is that of the session as it is now.
    world.run(bob.lose().attachment.closed())
    world.run_spawned()
    assert states(world) == ["joined", "reconnecting"]


def test_who_came_back_elsewhere_is_left_in_peace(world: World) -> None:
    _, bob = everybody(world)
    session_id = bob.session_id
    assert session_id is not None
    link = bob.link
    assert link is not None
    world.calls.command(NodeLost(NODE, GRACE))
    world.calls.command(OpenSession(BOB, session_id, ELSEWHERE, LAPTOP, session_id))
    keep(world)
    assert link.closed_with == 1000
    held = world.calls.session(BOB, session_id)
    assert held is not None
    assert held.node_id == ELSEWHERE


def test_a_change_that_began_while_the_node_was_lost_is_mended_by_the_second_look(world: World) -> None:
    everybody(world)
    keep(world, meanwhile=lambda: world.calls.command(NodeLost(NODE, GRACE)))
    assert states(world) == ["joined", "joined"]


def test_nothing_is_written_when_nobody_thought_so(world: World) -> None:
    everybody(world)
    before = world.calls.call
    keep(world)
    assert world.calls.call == before
