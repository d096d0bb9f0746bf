"""The snapshot's rules, one test each, and that the order of `call` frames does not matter."""

from itertools import permutations
from uuid import UUID

from secureconnect.ids import CallId, ConversationId, SessionId, UserId
from secureconnect.robot.snapshot import Snapshot, after, opening
from secureconnect.robot.wire import (
    Call,
    CallChanged,
    CallStatus,
    Leave,
    MediaState,
    Muted,
    RaiseHand,
    ScreenShare,
    Signal,
    TopologyChanged,
    Welcome,
)

ADA = SessionId(UUID(int=1))
USER = UserId(UUID(int=2))


def a_call(version: int, status: CallStatus = "active") -> Call:
    return Call(
        call_id=CallId(UUID(int=3)),
        conversation_id=ConversationId(UUID(int=4)),
        call_type="video",
        status=status,
        version=version,
        caller_id=USER,
        participants=[],
    )


def fold(*signals: Signal) -> Snapshot:
    snapshot = Snapshot(call=a_call(1))
    for signal in signals:
        snapshot = after(snapshot, signal)
    return snapshot


def test_the_call_with_the_larger_version_wins_in_any_order() -> None:
    frames = [CallChanged(seq=n, call=a_call(n, "ended" if n == 4 else "active")) for n in (2, 3, 4)]
    assert {fold(*order).call.version for order in permutations(frames)} == {4}
    assert {fold(*order).call.status for order in permutations(frames)} == {"ended"}


def test_what_is_muted_shared_or_raised_is_the_senders() -> None:
    snapshot = fold(
        Muted(type="mute_audio", seq=1, session_id=ADA, muted=True),
        Muted(type="mute_video", seq=2, session_id=ADA, muted=True),
        ScreenShare(seq=3, session_id=ADA),
        RaiseHand(seq=4, session_id=ADA),
    )
    assert snapshot.media == {ADA: MediaState(audio_muted=True, video_muted=True, screen_share=True, hand_raised=True)}


def test_a_session_in_which_nothing_is_set_has_no_entry() -> None:
    muted = Muted(type="mute_audio", seq=1, session_id=ADA, muted=True)
    assert fold(muted, Muted(type="mute_audio", seq=2, session_id=ADA, muted=False)).media == {}
    assert fold(muted, Leave(seq=2, session_id=ADA)).media == {}


def test_the_topology_follows() -> None:
    assert fold(TopologyChanged(seq=1, topology="sfu")).topology == "sfu"


def test_a_welcome_that_resumes_brings_no_snapshot() -> None:
    welcome = Welcome(session_id=ADA, user_id=USER, resume="r", resumed=True, seq=7)
    assert opening(welcome) is None
    fresh = Welcome(session_id=ADA, user_id=USER, resume="r", resumed=False, seq=7, call=a_call(5), topology="mesh")
    assert opening(fresh) == Snapshot(call=a_call(5), topology="mesh")
