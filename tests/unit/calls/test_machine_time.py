"""The rows of "What a call does" that nobody asks for: ring deadlines, the grace, sockets that come and go, settle, the end."""

from datetime import timedelta

from msgspec.structs import replace

from secureconnect.calls import machine
from secureconnect.calls.call import LIFE, EndReason, LeaveReason, State, Status, due_at
from secureconnect.calls.commands import Cancelled, DeclinedByDevice, Missed, OpenSession, SessionJoined, SessionLeft, Tick
from tests.unit.calls.story import (
    ANN,
    BOB,
    CYN,
    EAST,
    EVE,
    GRACE,
    LAPTOP,
    PHONE,
    RING,
    START,
    TABLET,
    WEST,
    Story,
    a_conversation,
    initiation,
    person,
)


class TestRingDeadline:
    def test_whoever_does_not_answer_in_time_has_missed_it(self) -> None:
        story = a_conversation(group=True).wait(seconds=44)
        assert not story.changed
        story.wait(seconds=1)
        assert story.state(CYN) is State.MISSED
        assert story.events == (Missed(CYN),)
        assert story.verdict == (Status.ACTIVE, None)

    def test_the_timer_may_fire_twice(self) -> None:
        assert not a_conversation(group=True).wait(seconds=45).wait(seconds=0).changed


class TestGrace:
    def test_it_counts_from_initiate(self) -> None:
        story = Story.of(ANN, BOB).wait(seconds=29)
        assert not story.changed
        assert story.wait(seconds=1).verdict == (Status.MISSED, EndReason.CANCELLED)

    def test_it_counts_from_join(self) -> None:
        story = Story.of(ANN, BOB, CYN)
        story.open(ANN)
        story.wait(seconds=10).join(BOB).wait(seconds=29)
        assert story.state(BOB) is State.JOINED
        assert story.wait(seconds=1).state(BOB) is State.LEFT

    def test_it_counts_from_the_last_socket_that_closes(self) -> None:
        story = a_conversation(group=True).wait(seconds=5)
        (session,) = story.sessions(BOB)
        story.close(BOB, session)
        assert (story.state(BOB), story.events) == (State.RECONNECTING, ())
        assert story.one(BOB).grace_deadline == story.now + GRACE
        assert story.wait(seconds=29).state(BOB) is State.RECONNECTING
        story.wait(seconds=1)
        assert story.state(BOB) is State.LEFT
        assert story.events == (SessionLeft(BOB, session, LeaveReason.TIMEOUT),)

    def test_whoever_comes_back_in_time_stays_and_keeps_the_session(self) -> None:
        story = a_conversation()
        (session,) = story.sessions(BOB)
        story.close(BOB, session).wait(seconds=29)
        assert story.open(BOB, PHONE, resume=session, node=WEST) == session
        assert (story.state(BOB), story.events) == (State.JOINED, ())
        assert not story.wait(seconds=600).changed

    def test_whoever_comes_back_with_an_unknown_session_begins_a_new_one(self) -> None:
        story = a_conversation()
        (lost,) = story.sessions(BOB)
        story.close(BOB, lost)
        begun = story.open(BOB, PHONE)
        assert begun != lost
        assert story.events[0] == SessionLeft(BOB, lost, LeaveReason.LEFT)
        assert isinstance(story.events[1], SessionJoined)
        assert story.sessions(BOB) == [begun]

    def test_a_late_close_of_an_old_socket_means_nothing(self) -> None:
        story = a_conversation()
        (session,) = story.sessions(BOB)
        old_socket = story.session(BOB, session)
        story.open(BOB, PHONE, resume=session, node=WEST)
        assert not story.close_socket(BOB, old_socket).changed

    def test_a_close_that_is_told_twice_counts_once(self) -> None:
        story = a_conversation()
        (session,) = story.sessions(BOB)
        socket = story.session(BOB, session)
        story.close_socket(BOB, socket).wait(seconds=10)
        assert not story.close_socket(BOB, socket).changed
        assert story.one(BOB).grace_deadline == START + GRACE

    def test_one_of_two_devices_is_given_up_alone(self) -> None:
        story = a_conversation().join(BOB, LAPTOP, "add")
        (phone,) = story.sessions(BOB)
        laptop = story.open(BOB, LAPTOP)
        assert story.close(BOB, laptop).state(BOB) is State.JOINED
        story.wait(seconds=30)
        assert story.events == (SessionLeft(BOB, laptop, LeaveReason.TIMEOUT),)
        assert (story.sessions(BOB), story.state(BOB)) == ([phone], State.JOINED)

    def test_a_session_without_a_device_name_outlives_the_named_device(self) -> None:
        story = a_conversation()
        (phone,) = story.sessions(BOB)
        nameless = story.open(BOB, None)
        story.close(BOB, phone).wait(seconds=30)
        assert story.events == (SessionLeft(BOB, phone, LeaveReason.TIMEOUT),)
        assert (story.sessions(BOB), story.one(BOB).devices) == ([nameless], (None,))
        assert story.leave(BOB, nameless).state(BOB) is State.LEFT

    def test_a_lost_node_is_the_close_of_all_its_sockets(self) -> None:
        story = a_conversation()
        story.open(BOB, PHONE, resume=story.sessions(BOB)[0], node=WEST)
        story.lose(EAST)
        assert (story.state(ANN), story.state(BOB)) == (State.RECONNECTING, State.JOINED)
        assert not story.lose(EAST).changed
        assert story.wait(seconds=30).verdict == (Status.ENDED, EndReason.COMPLETED)

    def test_an_attempt_that_was_given_up_takes_nothing_from_a_later_one(self) -> None:
        story = a_conversation()
        (phone,) = story.sessions(BOB)
        attempt = OpenSession(BOB, phone, WEST, PHONE, phone)
        story.step(replace(attempt, attempt=7))
        held = story.session(BOB, phone)
        with story.refused("superseded"):
            story.step(replace(attempt, node_id=EAST, attempt=6))
        assert story.session(BOB, phone) == held
        story.step(replace(attempt, attempt=8))
        story.step(attempt)
        assert story.session(BOB, phone).attempt == 8, "whoever does not count loses nobody's place"
        assert story.session(BOB, phone).generation == held.generation + 2

    def test_a_node_that_was_taken_for_lost_and_lives_keeps_its_sessions(self) -> None:
        story = a_conversation()
        (phone,) = story.sessions(BOB)
        held = story.session(BOB, phone)
        story.lose(EAST).wait(seconds=5)
        story.step(OpenSession(BOB, phone, EAST, PHONE, phone, held.generation))
        assert (story.state(BOB), story.one(BOB).grace_deadline) == (State.JOINED, None)
        assert story.session(BOB, phone).generation == held.generation + 1, "a late close of before does not count"
        assert not story.close_socket(BOB, held).changed

    def test_a_node_that_was_taken_for_lost_takes_nobodys_place(self) -> None:
        story = a_conversation()
        (phone,) = story.sessions(BOB)
        held = story.session(BOB, phone)
        story.lose(EAST)
        story.open(BOB, PHONE, resume=phone, node=WEST)
        with story.refused("not_joined"):
            story.step(OpenSession(BOB, phone, EAST, PHONE, phone, held.generation))
        assert story.session(BOB, phone).node_id == WEST


class TestSession:
    def test_the_first_socket_of_a_session_is_told_and_stops_the_grace(self) -> None:
        story = Story.of(ANN, BOB)
        session = story.open(ANN)
        assert story.events == (SessionJoined(ANN, story.session(ANN, session)),)
        assert story.one(ANN).grace_deadline is None

    def test_only_those_who_joined_may_open_one(self) -> None:
        story = Story.of(ANN, BOB)
        for user in (BOB, EVE):
            with story.refused("not_joined"):
                story.open(user)

    def test_not_in_a_call_that_is_over(self) -> None:
        story = Story.of(ANN, BOB).end(ANN)
        with story.refused("call_ended"):
            story.open(ANN)

    def test_a_device_that_did_not_join_may_not(self) -> None:
        story = Story.of(ANN, BOB).join(BOB, PHONE)
        with story.refused("answered_elsewhere"):
            story.open(BOB, TABLET)

    def test_a_device_has_one_at_a_time_and_a_nameless_one_as_many_as_it_has_sockets(self) -> None:
        story = Story.of(ANN, BOB).join(BOB, PHONE)
        first, second = story.open(BOB, PHONE), story.open(BOB, PHONE)
        assert story.sessions(BOB) == [second] != [first]
        assert [story.open(ANN), story.open(ANN)] == story.sessions(ANN)


class TestSettle:
    """Nobody rings and fewer than two are in: why is it over? The first that fits."""

    def test_answered_is_completed_whatever_came_after(self) -> None:
        story = a_conversation(group=True).decline(CYN).leave(BOB)
        assert story.verdict == (Status.ENDED, EndReason.COMPLETED)

    def test_the_caller_left_is_cancelled_even_when_one_declined(self) -> None:
        story = Story.of(ANN, BOB, CYN).decline(BOB).leave(ANN)
        assert story.verdict == (Status.MISSED, EndReason.CANCELLED)
        assert story.state(CYN) is State.CANCELLED
        assert story.events == (Cancelled(CYN), Missed(CYN))

    def test_the_caller_ended_is_cancelled(self) -> None:
        story = Story.of(ANN, BOB).end(ANN)
        assert story.verdict == (Status.MISSED, EndReason.CANCELLED)
        assert story.events == (Cancelled(BOB), Missed(BOB))

    def test_declined_goes_before_timeout(self) -> None:
        story = Story.of(ANN, BOB, CYN).decline(BOB)
        story.open(ANN)
        assert story.wait(seconds=45).verdict == (Status.DECLINED, EndReason.DECLINED)

    def test_timeout_goes_before_busy(self) -> None:
        story = Story(initiation(ANN, person(BOB, busy=True), person(CYN), reject_busy=True))
        story.open(ANN)
        assert story.wait(seconds=45).verdict == (Status.MISSED, EndReason.TIMEOUT)

    def test_declined_goes_before_busy(self) -> None:
        story = Story(initiation(ANN, person(BOB, busy=True), person(CYN), reject_busy=True)).decline(CYN)
        assert story.verdict == (Status.DECLINED, EndReason.DECLINED)

    def test_the_one_who_waits_alone_is_out_when_it_is_over(self) -> None:
        story = Story.of(ANN, BOB)
        session = story.open(ANN)
        story.decline(BOB)
        assert story.state(ANN) is State.LEFT
        assert story.events == (DeclinedByDevice(BOB, None), SessionLeft(ANN, session, LeaveReason.ENDED))

    def test_one_in_and_one_who_rings_is_not_over(self) -> None:
        story = a_conversation(group=True).leave(BOB)
        assert story.verdict == (Status.ACTIVE, None)
        assert story.decline(CYN).verdict == (Status.ENDED, EndReason.COMPLETED)

    def test_nobody_in_cancels_those_who_ring(self) -> None:
        story = a_conversation(group=True).leave(BOB).leave(ANN)
        assert story.verdict == (Status.ENDED, EndReason.COMPLETED)
        assert story.events[-2:] == (Cancelled(CYN), Missed(CYN))


class TestLife:
    def test_after_24_hours_the_call_ends(self) -> None:
        story = a_conversation()
        assert due_at(story.call) == START + LIFE
        assert not story.wait(seconds=24 * 3600 - 1).changed
        assert story.wait(seconds=1).verdict == (Status.ENDED, EndReason.COMPLETED)

    def test_those_who_ring_then_are_cancelled(self) -> None:
        story = a_conversation().wait(seconds=24 * 3600 - 10).invite(ANN, CYN).wait(seconds=10)
        assert story.state(CYN) is State.CANCELLED
        assert story.verdict == (Status.ENDED, EndReason.COMPLETED)


class TestDue:
    def test_nothing_is_due_once_it_is_over(self) -> None:
        assert due_at(a_conversation().end(ANN).call) is None

    def test_the_earliest_counts(self) -> None:
        story = Story.of(ANN, BOB)
        assert due_at(story.call) == START + GRACE
        session = story.open(ANN)
        assert due_at(story.call) == START + RING
        story.wait(seconds=1).close(ANN, session)
        assert due_at(story.call) == START + timedelta(seconds=31)

    def test_a_tick_before_its_time_does_nothing(self) -> None:
        call = Story.of(ANN, BOB).call
        assert not machine.decide(call, Tick(), START).changed
