"""Corners of the room that a walk reaches rarely: two sockets at once, leaving while one opens, talking to oneself or too much."""

from collections.abc import Iterator
from uuid import UUID

import msgspec
import pytest

from secureconnect.calls.call import Session
from secureconnect.ids import DeviceId
from secureconnect.signaling.call_room import taken
from secureconnect.signaling.protocol import BURST
from secureconnect.signaling.session import STRIKES
from tests.unit.signaling.world import ANN, BOB, NODE, TOPIC, Client, Link, World

PHONE, LAPTOP = DeviceId(UUID(int=0xD0)), DeviceId(UUID(int=0xD1))


@pytest.fixture
def world() -> Iterator[World]:
    world = World(ANN, BOB)
    world.calls.join(BOB, LAPTOP)
    yield world
    world.close()


@pytest.fixture
def ann(world: World) -> Client:
    return connected(Client(world, ANN, PHONE))


@pytest.fixture
def bob(world: World) -> Client:
    return connected(Client(world, BOB, LAPTOP))


def connected(client: Client) -> Client:
    client.connect()
    client.read()
    return client


def unread(link: Link | None) -> list[dict[str, object]]:
    assert link is not None
    return [msgspec.json.decode(frame) for frame in link.unread]


def unread_types(link: Link | None) -> list[object]:
    return [frame["type"] for frame in unread(link)]


def test_everybody_else_is_told_what_is_addressed_to_nobody(ann: Client, bob: Client) -> None:
    ann.read()
    bob.say(type="reaction", emoji="🎉")
    (heard,) = unread(ann.link)
    assert heard["type"] == "reaction"
    assert heard["emoji"] == "🎉"
    assert heard["sender_id"] == str(BOB)
    assert heard["session_id"] == str(bob.session_id)
    assert unread(bob.link) == []


def test_a_sender_does_not_hear_itself_even_when_it_names_itself(ann: Client, bob: Client) -> None:
    bob.say(type="reaction", target_id=str(bob.session_id))
    bob.say(type="reaction", target_id=str(BOB))
    assert unread(bob.link) == []
    assert bob.talking


def test_a_ref_is_acknowledged_with_the_seq_the_others_see(ann: Client, bob: Client) -> None:
    ann.read()
    bob.say(type="reaction", ref="r1")
    assert unread(bob.link) == [{"type": "ack", "ref": "r1", "seq": unread(ann.link)[0]["seq"]}]
    assert "ref" not in unread(ann.link)[0]


@pytest.mark.parametrize("target", [None, ""])
def test_no_target_is_no_target_however_it_is_written(ann: Client, bob: Client, target: str | None) -> None:
    ann.read()
    bob.say(type="reaction", target_id=target)
    (heard,) = unread(ann.link)
    assert "target_id" not in heard


def test_an_unknown_target_is_refused_with_the_ref(bob: Client) -> None:
    bob.say(type="reaction", target_id="nobody", ref="r1")
    (refusal,) = unread(bob.link)
    assert (refusal["code"], refusal["ref"]) == ("unknown_target", "r1")


def test_what_one_says_of_oneself_goes_to_all_whatever_its_target(world: World, ann: Client, bob: Client) -> None:
    carl = connected(Client(world, ANN, DeviceId(UUID(int=0xD2))))
    ann.read()
    bob.say(type="mute_audio", muted=True, target_id=str(carl.session_id))
    assert [unread_types(one.link) for one in (ann, carl)] == [["mute_audio"], ["mute_audio"]]


def test_leave_is_acknowledged_and_closes_the_socket(world: World, ann: Client, bob: Client) -> None:
    connected(Client(world, ANN, DeviceId(UUID(int=0xD2))))
    bob.read()
    bob.say(type="leave", ref="bye")
    world.run_spawned()
    assert unread_types(bob.link) == ["call", "leave", "ack"]
    assert bob.link is not None
    assert bob.link.closed_with == 1000


def test_a_session_that_comes_back_closes_its_earlier_socket(bob: Client) -> None:
    earlier = bob.lose()
    assert bob.connect().closed_with is None
    assert earlier.closed_with == 1000


def taken_at_another_node(world: World, client: Client, generation: int) -> None:
    session = client.session_id
    assert session is not None
    body = taken(Session(session, client.device_id, NODE, generation))
    world.bus.publish(TOPIC, body, sender=str(session), target=str(session))


def test_a_socket_whose_session_came_back_at_another_node_closes(world: World, bob: Client) -> None:
    taken_at_another_node(world, bob, generation=2)
    assert bob.link is not None
    assert (bob.link.closed_with, bob.link.unread) == (1000, [])


def test_what_an_earlier_socket_said_late_means_nothing(world: World, bob: Client) -> None:
    for _ in range(2):
        bob.lose()
        connected(bob)
    taken_at_another_node(world, bob, generation=2)
    assert bob.talking


def test_of_two_sockets_that_open_at_once_the_first_gives_way(world: World, bob: Client) -> None:
    bob.lose()
    bob.knock()
    first, bob.opening = bob.opening, None
    assert bob.connect().closed_with is None
    assert first is not None
    late = Link(first)
    first.opened(late)
    assert (late.closed_with, late.unread) == (1000, [])
    world.run(first.closed())
    assert world.calls.call.participants[1].connected, "the close of the first is not the close of the second"


def test_a_session_that_left_while_its_socket_opened_is_not_let_in(world: World, ann: Client, bob: Client) -> None:
    bob.lose()
    bob.knock()
    world.run(world.calls.leave(ANN, world.calls.call.call_id))
    link = bob.enter()
    assert (link.closed_with, link.unread) == (1000, [])


def test_a_session_that_left_while_its_log_was_read_is_not_let_in(world: World, ann: Client, bob: Client) -> None:
    bob.lose()
    world.bus.before_read = [lambda: world.calls.leave_now(ANN)]
    bob.knock()
    assert bob.enter().closed_with == 1000


class TestLimits:
    @pytest.fixture
    def world(self) -> Iterator[World]:
        world = World(ANN, BOB, limited=True)
        yield world
        world.close()

    def test_more_than_the_burst_is_refused_with_the_ref_until_time_passes(self, world: World, ann: Client) -> None:
        for _ in range(BURST):
            ann.say(type="reaction")
        assert unread(ann.link) == []
        ann.say(type="reaction", ref="one too many")
        (refusal,) = unread(ann.link)
        assert (refusal["code"], refusal["ref"]) == ("rate_limited", "one too many")
        world.clock.advance(1 / 50)
        ann.say(type="reaction", ref="again")
        assert unread_types(ann.link) == ["error", "ack"]

    def test_repeated_abuse_closes_the_socket(self, world: World, ann: Client) -> None:
        assert ann.link is not None
        for _ in range(STRIKES):
            ann.link.attachment.received(b"rubbish", world.clock.monotonic())
            world.clock.advance(0.001)
        assert ann.link.closed_with is None
        ann.link.attachment.received(b"rubbish", world.clock.monotonic())
        assert ann.link.closed_with == 1008
