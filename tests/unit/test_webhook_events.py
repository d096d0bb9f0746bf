"""What an outside application is told of a recording, among all else that happens to its call."""

from uuid import UUID

from secureconnect.calls.commands import StartRecording
from secureconnect.ids import RecordingId
from secureconnect.webhooks import Event, EventType
from secureconnect.webhooks.events import EVENTS_A_CHANGE, events_of, recording_event
from tests.unit.calls.story import ANN, BOB
from tests.unit.calls.test_topology import Media, of

RECORDING = RecordingId(UUID(int=1))


def told(media: Media) -> list[Event]:
    """Of the last step."""
    return events_of(media.call, media.call, media.events, media.now)


def test_who_started_it_and_that_it_ended_with_the_call_before_anybody_left() -> None:
    media = of(BOB).step(StartRecording(BOB, RECORDING))
    (started,) = told(media)
    assert (started.type, started.data.user_id, started.data.recording_id) == (EventType.RECORDING_STARTED, BOB, RECORDING)
    before = media.call
    media.end(ANN)
    events = events_of(before, media.call, media.events, media.now)
    assert (events[0].type, events[-1].type) == (EventType.RECORDING_STOPPED, EventType.CALL_ENDED)
    assert (events[0].data.user_id, events[0].data.recording_id) == (None, RECORDING)


def test_what_became_of_it_comes_behind_all_that_was_told_and_before_the_next_change() -> None:
    media = of(BOB)
    last = media.call.version * EVENTS_A_CHANGE + 3
    ready = recording_event(EventType.RECORDING_READY, media.call, RECORDING, media.now, after=last, reason=None)
    assert last < ready.data.sequence < (media.call.version + 1) * EVENTS_A_CHANGE
    first = recording_event(EventType.RECORDING_FAILED, media.call, RECORDING, media.now, after=None, reason="no space")
    assert (first.data.reason, first.data.recording_id) == ("no space", RECORDING)
