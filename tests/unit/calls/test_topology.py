"""Which way media goes: the rows of the table in docs/calls.md, one after the other."""

from datetime import timedelta

import pytest

from secureconnect.calls import machine
from secureconnect.calls.call import Topology, due_at
from secureconnect.calls.commands import Command, MediaLost, Tick
from secureconnect.calls.topology import CALM, PATIENCE
from secureconnect.errors import CallFull
from tests.unit.calls.story import ANN, BOB, CYN, DAN, EVE, LAPTOP, PHONE, Story, initiation, person

ONE, TWO = "sfu-1", "sfu-2"


class Media(Story):
    """A story told where the SFU `place` is at hand."""

    place: str | None = ONE

    def step(self, command: Command) -> "Media":
        outcome = machine.decide(self.call, command, self.now, self.place)
        self.call, self.events, self.changed = outcome.call, outcome.events, outcome.changed
        return self

    @property
    def way(self) -> tuple[Topology, str | None, int]:
        return self.call.topology, self.call.sfu, self.call.epoch

    def after(self, how_long: timedelta) -> "Media":
        self.now += how_long
        return self.step(Tick())


def of(*people: object, place: str | None = ONE, capacity: int = 32) -> Media:
    """Ann rings all others, and those who are named are in."""
    media = Media(initiation(ANN, *(person(one) for one in (BOB, CYN, DAN)), capacity=capacity))
    media.place = place
    for one in people:
        media.join(one)  # type: ignore[arg-type]
    return media


def test_two_talk_straight() -> None:
    assert of(BOB).way == (Topology.P2P, None, 0)


def test_the_third_moves_all_to_the_sfu_at_hand() -> None:
    assert of(BOB, CYN).way == (Topology.SFU, ONE, 1)


def test_a_third_device_does_too() -> None:
    media = of()
    media.join(BOB, PHONE)
    media.open(BOB, PHONE)
    media.join(BOB, LAPTOP, "add")
    assert media.way[0] is Topology.P2P
    media.open(BOB, LAPTOP)
    assert media.way == (Topology.SFU, ONE, 1)


def test_the_fourth_changes_nothing() -> None:
    assert of(BOB, CYN, DAN).way == (Topology.SFU, ONE, 1)


def test_two_who_remain_go_back_after_a_while_of_calm() -> None:
    media = of(BOB, CYN)
    media.leave(CYN)
    assert media.way == (Topology.SFU, ONE, 1)
    assert due_at(media.call) == media.now + CALM
    assert media.after(CALM).way == (Topology.P2P, None, 2)


def test_who_comes_back_meanwhile_finds_it_as_it_was() -> None:
    media = of(BOB, CYN)
    media.leave(CYN)
    media.join(CYN)
    assert media.call.topology_due is None
    assert media.way == (Topology.SFU, ONE, 1)


def test_without_an_sfu_more_than_two_are_a_mesh_and_the_fifth_finds_no_room() -> None:
    media = of(BOB, CYN, DAN, place=None)
    assert media.way == (Topology.MESH, None, 1)
    with pytest.raises(CallFull):
        media.join(EVE)


def test_a_mesh_moves_to_an_sfu_that_came() -> None:
    media = of(BOB, CYN, place=None)
    media.place = TWO
    assert media.step(Tick()).way == (Topology.SFU, TWO, 2)


def test_a_call_whose_sfu_is_gone_goes_to_another_at_once() -> None:
    media = of(BOB, CYN)
    media.place = TWO
    assert media.step(MediaLost(ONE, 1)).way == (Topology.SFU, TWO, 2)


def test_the_same_one_may_be_back_already() -> None:
    assert of(BOB, CYN).step(MediaLost(ONE, 1)).way == (Topology.SFU, ONE, 2)


@pytest.mark.parametrize("late", [MediaLost(TWO, 1), MediaLost(ONE, 0), MediaLost(ONE, 7)])
def test_news_of_another_way_means_nothing(late: MediaLost) -> None:
    assert not of(BOB, CYN).step(late).changed


def test_without_another_it_waits_and_takes_the_first_that_comes() -> None:
    media = of(BOB, CYN)
    media.place = None
    assert media.step(MediaLost(ONE, 1)).way == (Topology.SFU, None, 1)
    assert due_at(media.call) == media.now + PATIENCE
    assert media.after(PATIENCE / 2).way == (Topology.SFU, None, 1)
    media.place = ONE
    assert media.step(Tick()).way == (Topology.SFU, ONE, 2)


def test_when_none_comes_it_becomes_a_mesh() -> None:
    media = of(BOB, CYN)
    media.place = None
    media.step(MediaLost(ONE, 1))
    assert media.after(PATIENCE).way == (Topology.MESH, None, 2)


def test_more_than_a_mesh_holds_wait_on() -> None:
    media = of(BOB, CYN, DAN)
    media.join(EVE)
    media.place = None
    media.step(MediaLost(ONE, 1))
    for _ in range(3):
        assert media.after(PATIENCE).way == (Topology.SFU, None, 1)
    media.place = TWO
    assert media.after(PATIENCE).way == (Topology.SFU, TWO, 2)


def test_two_whose_sfu_is_gone_do_without() -> None:
    media = of(BOB, CYN)
    media.leave(CYN)
    media.place = None
    assert media.step(MediaLost(ONE, 1)).way == (Topology.P2P, None, 2)


def test_a_call_that_is_over_has_nothing_to_look_at() -> None:
    media = of(BOB, CYN)
    media.leave(CYN)
    media.end(ANN)
    assert media.call.over
    assert media.call.topology_due is None
