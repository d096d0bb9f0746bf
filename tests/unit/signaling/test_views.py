"""How a call fits into a frame: nobody who is in it is left out, whatever its size."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from secureconnect.calls.call import CallType, Recording, State, Status, Topology
from secureconnect.calls.machine import MAX_SESSIONS
from secureconnect.ids import CallId, ConversationId, DeviceId, RecordingId, SessionId, UserId
from secureconnect.signaling.protocol import MAX_FRAME_BYTES, CallFrame, Limits, MediaState, Welcome, encode
from secureconnect.signaling.views import VIEW_BYTES, CallView, ParticipantView, SessionView, shorten

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
LONGEST_NAME = "👍" * 80


def person(number: int, state: State, *, sessions: int = 0, name: str = LONGEST_NAME) -> ParticipantView:
    devices = [DeviceId(uuid4()) for _ in range(sessions)]
    return ParticipantView(
        user_id=UserId(UUID(int=number)),
        display_name=name,
        role="callee",
        state=state,
        waiting=False,
        ring_deadline=NOW,
        joined_at=NOW,
        left_at=NOW.replace(year=2000 + number) if state is State.LEFT else None,
        devices=devices,
        sessions=[SessionView(SessionId(uuid4()), device, connected=False) for device in devices],
    )


def call_of(*people: ParticipantView) -> CallView:
    return CallView(
        call_id=CallId(uuid4()),
        conversation_id=ConversationId(uuid4()),
        call_type=CallType.VIDEO,
        status=Status.ACTIVE,
        end_reason=None,
        version=2**40,
        caller_id=people[0].user_id,
        topology=Topology.SFU,
        epoch=1000,
        created_at=NOW,
        answered_at=NOW,
        ended_at=None,
        participants=list(people),
        recording=Recording(RecordingId(uuid4()), people[0].user_id, NOW),
        recorded=True,
    )


def welcome(call: CallView) -> bytes:
    sessions = [session.session_id for one in call.participants for session in one.sessions]
    media = {str(session): MediaState(True, True, True, True) for session in sessions}
    return encode(
        Welcome(
            session_id=sessions[0],
            user_id=call.caller_id,
            resume="r" * 64,
            resumed=False,
            seq=2**52,
            topology=call.topology,
            epoch=call.epoch,
            ice_servers=[],
            token_expires_in=86_400,
            limits=Limits(30.0),
            call=call,
            media=media,  # type: ignore[arg-type]  # encoded alike
        )
    )


def test_the_largest_call_of_the_default_capacity_fits_with_all_who_ever_were_in_it() -> None:
    inside = [person(number, State.JOINED, sessions=MAX_SESSIONS) for number in range(32)]
    left = [person(number, State.LEFT) for number in range(32, 256)]
    whole = call_of(*inside, *left)
    assert len(encode(whole)) > MAX_FRAME_BYTES
    short = shorten(whole)
    assert short.participants_truncated
    assert short.participants[:32] == inside
    assert len(encode(short)) <= VIEW_BYTES
    assert len(encode(CallFrame(short.call_id, NOW, short))) < MAX_FRAME_BYTES
    assert len(welcome(short)) < MAX_FRAME_BYTES


def test_those_who_left_last_are_kept() -> None:
    inside = [person(number, State.JOINED, sessions=1, name="Ann") for number in range(10)]
    left = [person(number, State.LEFT) for number in range(10, 150)]
    short = shorten(call_of(*left, *inside))
    kept = [one.user_id.int for one in short.participants if one.state is State.LEFT]
    assert 10 < len(kept) < 140
    assert kept == list(range(150 - len(kept), 150))


def test_the_largest_capacity_that_can_be_set_fits_with_usual_names() -> None:
    inside = [person(number, State.JOINED, sessions=1, name="Dr. Ada Lovelace") for number in range(100)]
    short = shorten(call_of(*inside))
    assert [one.sessions for one in short.participants] == [one.sessions for one in inside]
    assert len(welcome(short)) < MAX_FRAME_BYTES


@pytest.mark.parametrize("people", [2, 12, 30])
def test_an_ordinary_call_is_whole(people: int) -> None:
    call = call_of(*(person(number, State.JOINED, sessions=1) for number in range(people)))
    assert shorten(call) is call or shorten(call) == call
    assert not shorten(call).participants_truncated
