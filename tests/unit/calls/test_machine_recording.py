"""The rows of "What a call does" that are about recording it."""

from uuid import UUID

import pytest

from secureconnect.calls.call import Topology
from secureconnect.calls.commands import Command, MediaLost, RecordingStarted, RecordingStopped, StartRecording, StopRecording
from secureconnect.calls.topology import CALM, PATIENCE
from secureconnect.ids import RecordingId, UserId
from tests.unit.calls.story import ANN, BOB, CYN, EVE
from tests.unit.calls.test_topology import ONE, TWO, Media, of

FIRST, SECOND = RecordingId(UUID(int=1)), RecordingId(UUID(int=2))


def start(media: Media, user: UserId = BOB, recording_id: RecordingId = FIRST) -> Media:
    return media.step(StartRecording(user, recording_id))


def test_a_call_of_two_goes_to_the_sfu_to_be_recorded_and_everybody_is_told_by_whom() -> None:
    media = start(of(BOB))
    assert media.way == (Topology.SFU, ONE, 1)
    assert media.call.recording is not None
    assert (media.call.recording.recording_id, media.call.recording.started_by) == (FIRST, BOB)
    assert media.events == (RecordingStarted(media.call.recording),)
    assert media.call.recorded


def test_it_stays_there_as_long_as_it_is_recorded_and_goes_back_after_a_while() -> None:
    media = start(of(BOB)).after(CALM)
    assert media.way == (Topology.SFU, ONE, 1)
    media.step(StopRecording(ANN))
    assert media.call.recorded, "that it was is not forgotten"
    assert (media.call.recording, media.way) == (None, (Topology.SFU, ONE, 1))
    assert media.after(CALM).way == (Topology.P2P, None, 2)


def test_anybody_in_the_call_stops_it_and_is_named() -> None:
    media = start(of(BOB))
    recording = media.call.recording
    assert recording is not None
    assert media.step(StopRecording(ANN)).events == (RecordingStopped(recording, ANN),)
    assert not media.step(StopRecording(ANN)).changed, "again is as good"


def test_the_server_stops_it_at_a_limit_and_says_which() -> None:
    media = start(of(BOB))
    recording = media.call.recording
    assert recording is not None
    assert not media.step(StopRecording(None, SECOND, "disk")).changed, "another recording"
    assert media.step(StopRecording(None, FIRST, "disk")).events == (RecordingStopped(recording, None, "disk"),)
    assert not media.call.over, "the call goes on"
    assert not media.step(StopRecording(None, FIRST, "disk")).changed, "another node was faster"


def test_to_start_again_changes_nothing_and_after_a_stop_it_is_another() -> None:
    media = start(of(BOB))
    again = start(media, ANN, SECOND)
    assert not again.changed
    assert again.call.recording is not None
    assert again.call.recording.recording_id == FIRST
    start(media.step(StopRecording(BOB)), ANN, SECOND)
    assert media.call.recording is not None
    assert media.call.recording.recording_id == SECOND


@pytest.mark.parametrize("command", [StartRecording(EVE, SECOND), StartRecording(CYN, SECOND), StopRecording(CYN)])
def test_only_who_is_in_the_call_may(command: Command) -> None:
    media = start(of(BOB))
    with media.refused("not_joined"):
        media.step(command)


def test_a_call_that_nobody_has_answered_is_not_recorded() -> None:
    media = of()
    with media.refused("recording_unavailable"):
        start(media, ANN)


def test_without_an_sfu_at_hand_it_is_refused() -> None:
    media = of(BOB, place=None)
    with media.refused("recording_unavailable"):
        start(media)


def test_it_ends_with_the_call() -> None:
    media = start(of(BOB, CYN))
    recording = media.call.recording
    media.end(ANN)
    assert media.call.recording is None
    assert RecordingStopped(recording, None) in media.events  # type: ignore[arg-type]
    with media.refused("call_ended"):
        start(media)
    assert not media.step(StopRecording(BOB)).changed


def test_when_its_sfu_dies_another_goes_on_with_it() -> None:
    media = start(of(BOB))
    media.place = TWO
    media.step(MediaLost(ONE, 1))
    assert media.way == (Topology.SFU, TWO, 2)
    assert media.call.recording is not None


def test_when_no_other_comes_it_ends_and_two_talk_straight() -> None:
    media = start(of(BOB))
    recording = media.call.recording
    media.place = None
    media.step(MediaLost(ONE, 1))
    assert (media.call.recording, media.way) == (recording, (Topology.SFU, None, 1))
    media.after(PATIENCE)
    assert media.way == (Topology.P2P, None, 2)
    assert media.events == (RecordingStopped(recording, None),)  # type: ignore[arg-type]
