"""What a change of a call is told to whom: machine events become frames on the call's topic and on the users' topics.

Called by `calls.service` after the save. Encodes once, publishes, decides nothing.
"""

from collections.abc import Collection, Iterable
from datetime import datetime

from secureconnect.bus import Bus, call_topic, user_topic
from secureconnect.bus.announcement import Announcement
from secureconnect.calls.call import Call, shown_to
from secureconnect.calls.commands import (
    AnsweredByDevice,
    Cancelled,
    DeclinedByDevice,
    Event,
    Missed,
    Rang,
    RecordingStarted,
    RecordingStopped,
    SessionJoined,
    SessionLeft,
)
from secureconnect.ids import CallId, UserId
from secureconnect.signaling.events import (
    CallAnsweredElsewhere,
    CallCancelled,
    CallDeclinedElsewhere,
    CallEndedEvent,
    CallIncoming,
    CallMissed,
    CallUpdated,
)
from secureconnect.signaling.protocol import CallFrame, JoinFrame, LeaveFrame, RecordingFrame, TopologyFrame, encode
from secureconnect.signaling.reports import CallRinging
from secureconnect.signaling.views import CallView, shorten, view_of


class Announcer:
    """Tells sessions and devices what became of a call. Never waits."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def announce(
        self, before: Call | None, after: Call, events: Iterable[Event], members: Iterable[UserId], now: datetime
    ) -> Announcement:
        """Publish one saved change: the call as it is now, what happened, and the news for all members."""
        view = shorten(view_of(after))
        topic = call_topic(after.call_id)
        words = Announcement(self._bus)
        withheld = {participant.user_id for participant in after.participants if participant.is_withheld}
        # The state before what happened: whoever leaves still hears what the call has become, and then goodbye.
        words.publish(topic, encode(CallFrame(after.call_id, now, view)))
        for event in events:
            _tell_sessions(words, event, after, now)
            _tell_user(words, event, view, now, withheld)
        if before is not None and before.epoch != after.epoch and not after.over:
            words.publish(topic, encode(TopologyFrame(after.call_id, now, after.topology, after.epoch)))
        kind = CallEndedEvent if after.over else CallUpdated
        body = encode(kind(after.call_id, now, view))
        for user_id in members:
            if user_id not in withheld:
                words.publish(user_topic(user_id), body)
            elif (shown := shown_to(after, user_id)) is not None:
                words.publish(user_topic(user_id), encode(kind(after.call_id, now, view_of(shown))))
        return words

    def ringing(self, call_id: CallId, caller_id: UserId, user_id: UserId, now: datetime) -> None:
        """Tell the caller that a device of this person shows the ring: until then a call is only on its way."""
        self._bus.publish(user_topic(caller_id), encode(CallRinging(call_id, now, user_id)))


def _tell_sessions(words: Announcement, event: Event, call: Call, now: datetime) -> None:
    topic = call_topic(call.call_id)
    match event:
        case SessionJoined(user_id, session):
            one = call.participant(user_id)
            name = one.display_name if one else ""
            frame = JoinFrame(call.call_id, now, user_id, session.session_id, session.device_id, name)
            words.publish(topic, encode(frame), sender=str(session.session_id))
        case SessionLeft(user_id, session_id, reason):
            left = LeaveFrame(call.call_id, now, user_id, session_id, reason)
            words.publish(topic, encode(left), retain=(str(session_id), None))
        case RecordingStarted(recording):
            began = RecordingFrame(call.call_id, now, recording.recording_id, "started", recording.started_by)
            words.publish(topic, encode(began))
        case RecordingStopped(recording, user_id, reason):
            words.publish(topic, encode(RecordingFrame(call.call_id, now, recording.recording_id, "stopped", user_id, reason)))


def _tell_user(words: Announcement, event: Event, view: CallView, now: datetime, withheld: Collection[UserId]) -> None:
    call_id = view.call_id
    if isinstance(event, Rang | Cancelled | Missed | AnsweredByDevice | DeclinedByDevice) and event.user_id in withheld:
        return
    match event:
        case Rang(user_id, waiting):
            _send(words, user_id, encode(CallIncoming(call_id, now, view, waiting)))
        case AnsweredByDevice(user_id, device_id):
            _send(words, user_id, encode(CallAnsweredElsewhere(call_id, now, view, device_id)), but=device_id)
        case DeclinedByDevice(user_id, device_id):
            _send(words, user_id, encode(CallDeclinedElsewhere(call_id, now, view, device_id)), but=device_id)
        case Cancelled(user_id):
            _send(words, user_id, encode(CallCancelled(call_id, now, view)))
        case Missed(user_id):
            _send(words, user_id, encode(CallMissed(call_id, now, view)))


def _send(words: Announcement, user_id: UserId, body: bytes, *, but: object = None) -> None:
    """To every device of the user; the one named as sender does not hear its own deed."""
    words.publish(user_topic(user_id), body, sender=str(but) if but is not None else "")
