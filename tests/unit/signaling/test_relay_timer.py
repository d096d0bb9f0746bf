"""The relay timer: which frames are timed, what it takes for delivered, and what it does about one that never comes back."""

from collections.abc import Iterator

import pytest

from secureconnect.signaling.relay_timer import GIVEN_UP_SECONDS, ONE_IN, RelayTimer
from tests.unit.calls.story import PHONE
from tests.unit.signaling.world import ANN, BOB, Client, World


@pytest.fixture
def world() -> Iterator[World]:
    made = World(ANN, BOB)
    yield made
    made.close()


def test_one_in_so_many_frames_is_timed(world: World) -> None:
    ann, bob = Client(world, ANN, PHONE), Client(world, BOB, PHONE)
    world.calls.join(BOB, PHONE)
    for one in (ann, bob):
        one.connect()
    for number in range(3 * ONE_IN):
        ann.say(type="reaction", emoji=str(number))
    assert world.timed == [0.0, 0.0, 0.0]
    assert world.sockets.handlers.relayed == 3 * ONE_IN


class Timed:
    def __init__(self) -> None:
        self.now = 100.0
        self.seen: list[float] = []
        self.timer = RelayTimer(lambda: self.now, self.seen.append)


def test_it_waits_for_the_frame_it_began_with() -> None:
    timed = Timed()
    timed.timer.begin(b"first")
    timed.now += 5
    timed.timer.begin(b"second")
    assert timed.timer.body == b"first", "an outage is as long as its longest wait"
    timed.now += 1
    timed.timer.end()
    assert (timed.seen, timed.timer.body) == ([6.0], b"")


def test_what_never_comes_back_is_given_up() -> None:
    timed = Timed()
    timed.timer.begin(b"first")
    timed.now += GIVEN_UP_SECONDS + 1
    timed.timer.begin(b"second")
    timed.now += 0.25
    timed.timer.end()
    assert timed.seen == [0.25]
