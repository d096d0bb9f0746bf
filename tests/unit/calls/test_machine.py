"""The rows of "What a call does" that somebody asks for, one by one.

Who is who: Ann starts the call; Bob, Cyn and Dan are rung; Eve is a member besides."""

import pytest

from secureconnect.calls.call import EndReason, LeaveReason, State, Status
from secureconnect.calls.commands import (
    AnsweredByDevice,
    Cancelled,
    DeclinedByDevice,
    Missed,
    Rang,
    SessionLeft,
)
from secureconnect.errors import ServiceError
from secureconnect.ids import UserId
from tests.unit.calls.story import (
    ANN,
    BOB,
    CYN,
    DAN,
    EVE,
    GRACE,
    LAPTOP,
    PHONE,
    RING,
    START,
    TABLET,
    Story,
    a_conversation,
    initiation,
    person,
)


class TestInitiate:
    def test_the_caller_is_in_and_the_callees_ring_until_their_deadline(self) -> None:
        story = Story.of(ANN, BOB, CYN)
        assert story.verdict == (Status.RINGING, None)
        assert story.state(ANN) is State.JOINED
        assert [story.state(user) for user in (BOB, CYN)] == [State.RINGING, State.RINGING]
        assert story.one(BOB).ring_deadline == START + RING
        assert story.events == (Rang(BOB, waiting=False), Rang(CYN, waiting=False))

    @pytest.mark.parametrize(
        ("callees", "code"),
        [
            ((ANN,), "callee_is_caller"),
            ((BOB, ANN), "callee_is_caller"),
            ((BOB, CYN, BOB), "duplicate_callee"),
            ((BOB, CYN, DAN, EVE), "too_many_participants"),
        ],
    )
    def test_it_is_refused_before_anything_exists(self, callees: tuple[UserId, ...], code: str) -> None:
        with pytest.raises(ServiceError) as refusal:
            Story.of(ANN, *callees)
        assert (refusal.value.code, refusal.value.status) == (code, 422)

    def test_as_many_as_the_topology_holds_may_be_called(self) -> None:
        assert len(Story.of(ANN, BOB, CYN, DAN).call.participants) == 4

    def test_who_is_in_another_call_rings_waiting(self) -> None:
        story = Story(initiation(ANN, person(BOB, busy=True), person(CYN)))
        assert story.events == (Rang(BOB, waiting=True), Rang(CYN, waiting=False))
        assert story.one(BOB).waiting
        assert not story.join(BOB).one(BOB).waiting

    def test_with_reject_the_busy_are_busy_at_once_and_the_others_ring(self) -> None:
        story = Story(initiation(ANN, person(BOB, busy=True), person(CYN), reject_busy=True))
        assert story.state(BOB) is State.BUSY
        assert story.events == (Rang(CYN, waiting=False),)
        assert story.verdict == (Status.RINGING, None)

    def test_when_all_are_busy_the_call_is_over_at_once(self) -> None:
        story = Story(initiation(ANN, person(BOB, busy=True), reject_busy=True))
        assert story.verdict == (Status.MISSED, EndReason.BUSY)
        assert story.call.ended_at == START


class TestJoin:
    def test_the_first_callee_makes_it_active_and_silences_the_other_devices(self) -> None:
        story = Story.of(ANN, BOB, CYN).join(BOB, PHONE)
        assert story.verdict == (Status.ACTIVE, None)
        assert story.call.answered_at == START
        assert story.events == (AnsweredByDevice(BOB, PHONE),)
        assert (story.state(BOB), story.state(CYN)) == (State.JOINED, State.RINGING)

    def test_another_device_of_the_one_who_answered_is_refused(self) -> None:
        story = Story.of(ANN, BOB).join(BOB, PHONE)
        for device in (LAPTOP, None):
            with story.refused("answered_elsewhere"):
                story.join(BOB, device)

    @pytest.mark.parametrize("mode", [None, "add", "move"])
    def test_the_same_device_again_changes_nothing(self, mode: str | None) -> None:
        story = Story.of(ANN, BOB).join(BOB, PHONE).join(BOB, PHONE, mode)
        assert not story.changed
        assert story.events == ()

    def test_a_client_without_device_id_is_a_device_too(self) -> None:
        assert not Story.of(ANN, BOB).join(BOB).join(BOB).changed

    def test_add_is_one_more_device(self) -> None:
        story = a_conversation().join(BOB, LAPTOP, "add")
        assert story.one(BOB).devices == (PHONE, LAPTOP)
        assert len(story.one(BOB).sessions) == 1
        story.open(BOB, LAPTOP)
        assert len(story.one(BOB).sessions) == 2

    def test_move_takes_the_call_over_from_the_other_device(self) -> None:
        story = a_conversation()
        (phone,) = story.sessions(BOB)
        story.join(BOB, LAPTOP, "move")
        assert story.events == (SessionLeft(BOB, phone, LeaveReason.MOVED),)
        assert (story.one(BOB).devices, story.state(BOB)) == ((LAPTOP,), State.JOINED)
        with story.refused("answered_elsewhere"):
            story.open(BOB, PHONE, resume=phone)

    def test_move_from_a_device_that_is_in_ends_the_others_and_keeps_its_own_session(self) -> None:
        story = a_conversation().join(BOB, LAPTOP, "add")
        (phone,) = story.sessions(BOB)
        laptop = story.open(BOB, LAPTOP)
        story.join(BOB, LAPTOP, "move")
        assert story.events == (SessionLeft(BOB, phone, LeaveReason.MOVED),)
        assert (story.one(BOB).devices, story.sessions(BOB), story.state(BOB)) == ((LAPTOP,), [laptop], State.JOINED)
        assert story.one(BOB).grace_deadline is None
        assert not story.join(BOB, LAPTOP, "move").changed

    def test_move_from_a_device_that_is_in_without_a_socket_gives_it_the_grace(self) -> None:
        story = a_conversation().join(BOB, LAPTOP, "add").join(BOB, LAPTOP, "move")
        assert (story.state(BOB), story.one(BOB).grace_deadline) == (State.JOINED, story.now + GRACE)

    def test_another_member_may_join_while_the_call_lives(self) -> None:
        story = a_conversation().join(EVE)
        assert story.state(EVE) is State.JOINED
        assert story.events == ()

    def test_who_declined_or_missed_or_left_may_still_join(self) -> None:
        declined = a_conversation(group=True).decline(CYN).join(CYN)
        missed = a_conversation(group=True).wait(seconds=45).join(CYN)
        left = a_conversation(group=True).join(CYN).leave(CYN).join(CYN)
        for story in (declined, missed, left):
            assert story.state(CYN) is State.JOINED
            assert story.events == ()
        assert left.one(CYN).left_at is None

    def test_a_member_who_was_not_rung_makes_it_active_too(self) -> None:
        assert Story.of(ANN, BOB).join(EVE).verdict == (Status.ACTIVE, None)

    def test_a_full_call_takes_nobody(self) -> None:
        story = Story.of(ANN, BOB, CYN, DAN).join(BOB).join(CYN).join(EVE)
        with story.refused("call_full"):
            story.join(DAN)
        assert story.leave(EVE).join(DAN).state(DAN) is State.JOINED

    def test_a_call_that_is_over_takes_nobody(self) -> None:
        story = Story.of(ANN, BOB).end(ANN)
        with story.refused("call_ended"):
            story.join(BOB)


class TestDecline:
    def test_declining_silences_the_other_devices(self) -> None:
        story = Story.of(ANN, BOB, CYN).decline(BOB, PHONE)
        assert story.state(BOB) is State.DECLINED
        assert story.events == (DeclinedByDevice(BOB, PHONE),)
        assert story.verdict == (Status.RINGING, None)

    def test_again_is_fine_even_when_that_ended_the_call(self) -> None:
        assert not Story.of(ANN, BOB, CYN).decline(BOB).decline(BOB, LAPTOP).changed
        assert not Story.of(ANN, BOB).decline(BOB).decline(BOB).changed

    def test_who_is_in_cannot_decline(self) -> None:
        story = a_conversation()
        for user in (ANN, BOB):
            with story.refused("already_joined"):
                story.decline(user)

    def test_what_is_over_cannot_be_declined(self) -> None:
        story = Story.of(ANN, BOB).end(ANN)
        with story.refused("call_ended"):
            story.decline(BOB)

    def test_who_was_not_rung_has_nothing_to_decline(self) -> None:
        story = Story.of(ANN, BOB)
        with story.refused("conflict"):
            story.decline(EVE)


class TestLeave:
    def test_leaving_frees_the_place_and_ends_ones_sessions(self) -> None:
        story = a_conversation(group=True)
        (session,) = story.sessions(BOB)
        story.leave(BOB)
        assert (story.state(BOB), story.one(BOB).devices, story.one(BOB).left_at) == (State.LEFT, (), START)
        assert story.events == (SessionLeft(BOB, session, LeaveReason.LEFT),)

    def test_leaving_again_or_after_the_end_or_without_having_been_there_changes_nothing(self) -> None:
        assert not a_conversation(group=True).leave(BOB).leave(BOB).changed
        assert not a_conversation().leave(BOB).leave(ANN).changed
        assert not a_conversation().leave(EVE).changed

    def test_leaving_while_it_rings_is_declining(self) -> None:
        story = Story.of(ANN, BOB, CYN).leave(BOB)
        assert story.state(BOB) is State.DECLINED
        assert story.events == (DeclinedByDevice(BOB, None),)

    def test_the_last_but_one_who_leaves_ends_the_call(self) -> None:
        story = a_conversation()
        (of_ann,), (of_bob,) = story.sessions(ANN), story.sessions(BOB)
        story.leave(BOB)
        assert story.verdict == (Status.ENDED, EndReason.COMPLETED)
        assert story.events == (SessionLeft(BOB, of_bob, LeaveReason.LEFT), SessionLeft(ANN, of_ann, LeaveReason.ENDED))

    def test_one_device_leaves_and_the_person_stays_with_the_other(self) -> None:
        story = a_conversation().join(BOB, LAPTOP, "add")
        (phone,) = story.sessions(BOB)
        laptop = story.open(BOB, LAPTOP)
        story.leave(BOB, phone)
        assert story.sessions(BOB) == [laptop]
        assert (story.state(BOB), story.one(BOB).devices) == (State.JOINED, (LAPTOP,))
        assert story.leave(BOB, laptop).verdict == (Status.ENDED, EndReason.COMPLETED)

    def test_one_device_leaves_before_the_other_has_opened_its_socket_which_has_the_grace_to_do_so(self) -> None:
        story = a_conversation().join(BOB, LAPTOP, "add")
        (phone,) = story.sessions(BOB)
        story.leave(BOB, phone)
        assert story.events == (SessionLeft(BOB, phone, LeaveReason.LEFT),)
        assert (story.state(BOB), story.one(BOB).devices) == (State.RECONNECTING, (LAPTOP,))
        assert story.one(BOB).grace_deadline == story.now + GRACE
        story.open(BOB, LAPTOP)
        assert (story.state(BOB), story.one(BOB).grace_deadline) == (State.JOINED, None)

    def test_a_device_that_is_added_and_never_comes_leaves_by_its_grace(self) -> None:
        story = a_conversation().join(BOB, LAPTOP, "add")
        (phone,) = story.sessions(BOB)
        assert story.leave(BOB, phone).wait(seconds=30).verdict == (Status.ENDED, EndReason.COMPLETED)

    def test_a_device_that_was_given_up_keeps_nobody_in_the_call(self) -> None:
        story = a_conversation().join(BOB, LAPTOP, "add")
        (phone,) = story.sessions(BOB)
        story.close(BOB, story.open(BOB, LAPTOP)).wait(seconds=30)
        assert (story.sessions(BOB), story.one(BOB).devices) == ([phone], (PHONE,))
        assert story.leave(BOB, phone).verdict == (Status.ENDED, EndReason.COMPLETED)

    def test_who_joined_without_a_name_leaves_with_the_only_socket_whatever_its_name(self) -> None:
        story = Story.of(ANN, BOB).join(BOB)
        story.open(ANN)
        assert story.leave(BOB, story.open(BOB, TABLET)).verdict == (Status.ENDED, EndReason.COMPLETED)

    def test_one_without_a_name_leaves_and_another_stays(self) -> None:
        story = Story.of(ANN, BOB).join(BOB)
        story.open(ANN)
        first, second = story.open(BOB), story.open(BOB)
        assert story.leave(BOB, first).sessions(BOB) == [second]
        assert story.state(BOB) is State.JOINED
        assert story.leave(BOB, second).verdict == (Status.ENDED, EndReason.COMPLETED)

    def test_a_session_that_moved_away_does_not_take_the_person_along(self) -> None:
        story = a_conversation()
        (phone,) = story.sessions(BOB)
        story.join(BOB, LAPTOP, "move").leave(BOB, phone)
        assert not story.changed
        assert story.state(BOB) is State.JOINED

    def test_when_only_lost_devices_stay_they_have_the_rest_of_their_grace(self) -> None:
        story = a_conversation().join(BOB, LAPTOP, "add")
        (phone,) = story.sessions(BOB)
        laptop = story.open(BOB, LAPTOP)
        story.close(BOB, laptop).wait(seconds=10).leave(BOB, phone)
        assert story.state(BOB) is State.RECONNECTING
        assert story.wait(seconds=19).state(BOB) is State.RECONNECTING
        assert story.wait(seconds=1).state(BOB) is State.LEFT


class TestEnd:
    def test_everyone_leaves_and_those_who_ring_are_cancelled(self) -> None:
        story = a_conversation(group=True).end(ANN)
        assert [story.state(user) for user in (ANN, BOB, CYN)] == [State.LEFT, State.LEFT, State.CANCELLED]
        assert story.verdict == (Status.ENDED, EndReason.COMPLETED)
        assert story.events[:2] == (Cancelled(CYN), Missed(CYN))
        assert [event.reason for event in story.events if isinstance(event, SessionLeft)] == [LeaveReason.ENDED] * 2

    def test_either_side_of_a_call_of_two_may_end_it(self) -> None:
        assert a_conversation().end(ANN).call.over
        assert a_conversation().end(BOB).call.over

    def test_in_a_group_only_the_one_who_started_it_may(self) -> None:
        story = a_conversation(group=True)
        for user in (BOB, CYN, EVE):
            with story.refused("not_host"):
                story.end(user)

    def test_a_member_who_is_not_in_the_call_of_two_may_not(self) -> None:
        story = a_conversation()
        with story.refused("not_host"):
            story.end(EVE)

    @pytest.mark.parametrize("user", [ANN, BOB, EVE])
    def test_again_is_fine_for_everybody(self, user: UserId) -> None:
        assert not a_conversation().end(ANN).end(user).changed


class TestInvite:
    def test_someone_in_the_call_rings_more_members(self) -> None:
        story = a_conversation().wait(seconds=5).invite(BOB, CYN, DAN)
        assert story.events == (Rang(CYN, waiting=False), Rang(DAN, waiting=False))
        assert story.one(CYN).ring_deadline == story.now + RING

    def test_who_rang_or_is_in_is_not_rung_again(self) -> None:
        story = a_conversation(group=True).decline(CYN).invite(ANN, BOB, CYN)
        assert not story.changed
        assert story.events == ()

    def test_who_was_busy_is_rung(self) -> None:
        story = Story(initiation(ANN, person(BOB, busy=True), person(CYN), reject_busy=True)).join(CYN).invite(ANN, BOB)
        assert story.state(BOB) is State.RINGING

    def test_only_someone_in_the_call_invites(self) -> None:
        story = a_conversation(group=True)
        for user in (CYN, EVE):
            with story.refused("not_joined"):
                story.invite(user, DAN)

    def test_not_more_than_there_is_room_for(self) -> None:
        story = a_conversation(group=True)
        with story.refused("call_full"):
            story.invite(ANN, DAN, EVE)

    def test_not_into_a_call_that_is_over(self) -> None:
        story = a_conversation().end(ANN)
        with story.refused("call_ended"):
            story.invite(ANN, CYN)
