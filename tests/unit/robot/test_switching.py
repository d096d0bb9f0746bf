"""Who may let go of what, while two ways are open."""

from uuid import UUID

from secureconnect.ids import SessionId
from secureconnect.robot.switching import FRAMES, PATIENCE_SECONDS, Switching

ANN, BOB = SessionId(UUID(int=1)), SessionId(UUID(int=2))


def test_a_way_goes_when_both_sides_have_said_so() -> None:
    switching = Switching(4, {ANN}, now=0.0)
    assert not switching.carries(ANN, frames=FRAMES - 1, seconds=9.0, video=True)
    assert switching.carries(ANN, frames=FRAMES, seconds=0.0, video=True)
    assert not switching.carries(ANN, frames=FRAMES + 1, seconds=0.0, video=True), "it is said once"
    assert switching.done(1.0, {ANN}) == set()
    switching.heard(ANN, 3)
    assert switching.done(1.0, {ANN}) == set(), "that was of another epoch"
    switching.heard(ANN, 4)
    assert switching.done(1.0, {ANN}) == {ANN}
    assert switching.is_over


def test_sound_alone_counts_by_its_seconds() -> None:
    switching = Switching(1, {ANN}, now=0.0)
    assert not switching.carries(ANN, frames=99, seconds=0.1, video=False)
    assert switching.carries(ANN, frames=0, seconds=0.3, video=False)


def test_who_leaves_is_not_waited_for_and_nobody_for_ever() -> None:
    switching = Switching(1, {ANN, BOB}, now=0.0)
    assert switching.done(1.0, {BOB}) == {ANN}
    assert not switching.is_over
    assert switching.done(PATIENCE_SECONDS, {BOB}) == {BOB}
    assert switching.is_over
