"""How much one person may have in a call: devices, sessions, and the room of others."""

from uuid import UUID

import pytest
from msgspec.structs import replace

from secureconnect.calls import machine
from secureconnect.calls.call import LeaveReason, Participant, Session, State
from secureconnect.calls.commands import Invite, Join, OpenSession, SessionLeft
from secureconnect.calls.machine import MAX_SESSIONS
from secureconnect.errors import CallFull
from secureconnect.ids import DeviceId, SessionId
from tests.unit.calls.story import ANN, BOB, CYN, DAN, EAST, EVE, GRACE, RING, START, Story, a_conversation, initiation, person

DEVICES = [DeviceId(UUID(int=0xDE00 + number)) for number in range(10)]


def by_sfu(*people: Participant, capacity: int = 32) -> Story:
    """A call that an SFU would take: `decide` is told of a place."""
    story = Story(initiation(ANN, person(BOB), capacity=capacity))
    story.call = replace(story.call, participants=(*story.call.participants, *people))
    return story


def open_by_sfu(story: Story, number: int, device: DeviceId | None = None) -> None:
    command = OpenSession(ANN, SessionId(UUID(int=0x100 + number)), EAST, device, None)
    outcome = machine.decide(story.call, command, story.now, "an sfu")
    story.call, story.events = outcome.call, outcome.events


def test_a_fifth_device_is_refused() -> None:
    story = a_conversation()
    for device in DEVICES[: MAX_SESSIONS - 1]:
        story.join(BOB, device, "add")
    with story.refused("too_many_devices"):
        story.join(BOB, DEVICES[5], "add")
    story.join(BOB, DEVICES[0], "add")  # it is in
    story.join(BOB, DEVICES[5], "move")
    assert story.one(BOB).devices == (DEVICES[5],)


def test_a_session_beyond_the_limit_takes_the_place_of_the_oldest() -> None:
    story = by_sfu()
    for number in range(50):
        open_by_sfu(story, number)
        assert len(story.sessions(ANN)) == min(number + 1, MAX_SESSIONS)
    assert story.sessions(ANN) == [SessionId(UUID(int=0x100 + number)) for number in range(46, 50)]
    assert SessionLeft(ANN, SessionId(UUID(int=0x100 + 45)), LeaveReason.LEFT) in story.events


def test_a_session_without_a_socket_goes_before_an_older_one_with_one() -> None:
    story = by_sfu()
    for number in range(MAX_SESSIONS):
        open_by_sfu(story, number)
    lost = story.sessions(ANN)[2]
    story.close(ANN, lost)
    open_by_sfu(story, 9)
    assert lost not in story.sessions(ANN)
    assert len(story.sessions(ANN)) == MAX_SESSIONS


def test_a_call_that_0_1_filled_with_sessions_loads_and_heals() -> None:
    many = tuple(Session(SessionId(UUID(int=0x500 + number)), None, EAST, 1) for number in range(300))
    story = by_sfu()
    me = replace(story.one(ANN), sessions=many, devices=(None, *DEVICES))
    story.call = replace(story.call, participants=(me, *story.call.participants[1:]))
    story.close(ANN, many[0].session_id)
    assert len(story.sessions(ANN)) == 300
    open_by_sfu(story, 1)
    assert len(story.sessions(ANN)) == MAX_SESSIONS


def test_sessions_fill_a_mesh() -> None:
    story = a_conversation(group=True)
    for _ in range(2):
        story.open(ANN)
    assert sum(len(story.sessions(user)) for user in (ANN, BOB)) == 4
    with story.refused("call_full"):
        story.join(CYN)
    with story.refused("call_full"):
        story.step(Invite(ANN, (person(DAN),), RING))
    with pytest.raises(CallFull):
        machine.decide(story.call, OpenSession(ANN, SessionId(UUID(int=1)), EAST, None, None), story.now)


def test_a_page_that_reloads_in_a_full_mesh_comes_in_for_its_lost_session() -> None:
    story = Story.of(ANN, BOB, CYN, DAN)
    for user in (BOB, CYN, DAN):
        story.join(user)
    lost, *_ = [story.open(user) for user in (ANN, BOB, CYN, DAN)]
    story.close(ANN, lost)
    fresh = story.open(ANN)
    assert story.sessions(ANN) == [fresh]


def test_by_an_sfu_people_count() -> None:
    people = [Participant(user, "Person", State.JOINED, devices=(None,), joined_at=START) for user in (CYN, DAN)]
    story = by_sfu(*people, capacity=4)
    for number in range(MAX_SESSIONS):
        open_by_sfu(story, number)
    join = Join(person(BOB), GRACE, None, None)
    story.call = machine.decide(story.call, join, story.now, "an sfu").call
    with pytest.raises(CallFull):
        machine.decide(story.call, Join(person(EVE), GRACE, None, None), story.now, "an sfu")
