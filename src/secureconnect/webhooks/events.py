"""What a change of a call is told to an outside application: the call before and after and the machine's events in, ours out. Pure.

Called by `webhooks.delivery` in the transaction that saves the change.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from secureconnect.calls.call import Call, RingEnd, State
from secureconnect.calls.commands import DeclinedByDevice, Missed, Rang, RecordingStarted, RecordingStopped, SessionLeft
from secureconnect.calls.commands import Event as Happening
from secureconnect.ids import DeviceId, RecordingId, UserId
from secureconnect.signaling.views import view_of
from secureconnect.webhooks import Event, EventData, EventType

EVENTS_A_CHANGE = 10_000
"""More than one change can bring: a call's version and the place within its change make one growing number."""


class _Told(NamedTuple):
    type: EventType
    user_id: UserId | None = None
    device_id: DeviceId | None = None
    reason: str | None = None
    waiting: bool | None = None
    duration_seconds: float | None = None
    recording_id: RecordingId | None = None


def events_of(before: Call | None, after: Call, happened: Sequence[Happening], now: datetime) -> list[Event]:
    """The events of one saved change, in order: who came in, who rings, how rings ended, who left, and the end."""
    view = view_of(after)
    return [
        Event(
            told.type,
            now,
            EventData(
                after.call_id,
                after.conversation_id,
                after.version * EVENTS_A_CHANGE + place,
                view,
                user_id=told.user_id,
                device_id=told.device_id,
                reason=told.reason,
                waiting=told.waiting,
                duration_seconds=told.duration_seconds,
                recording_id=told.recording_id,
            ),
        )
        for place, told in enumerate(_told(before, after, happened))
    ]


def recording_event(
    kind: EventType, call: Call, recording_id: RecordingId, now: datetime, *, after: int | None, reason: str | None
) -> Event:
    """What became of a recording, which is no change of its call: it comes behind the event `after`, the last there is."""
    sequence = call.version * EVENTS_A_CHANGE if after is None else after + 1
    data = EventData(call.call_id, call.conversation_id, sequence, view_of(call), reason=reason, recording_id=recording_id)
    return Event(kind, now, data)


def _told(before: Call | None, after: Call, happened: Sequence[Happening]) -> Iterator[_Told]:
    were_in = {one.user_id for one in before.participants if one.is_in} if before else set()
    came = [one for one in after.participants if one.is_in and one.user_id not in were_in]
    if before is None:
        yield _Told(EventType.CALL_STARTED, after.caller_id)
    for one in came:
        yield _Told(EventType.PARTICIPANT_JOINED, one.user_id, one.devices[0] if one.devices else None)
    for event in happened:
        yield from _of_happening(event, after)
    if before is None:
        yield from (_Told(EventType.CALL_BUSY, one.user_id) for one in after.participants if one.state is State.BUSY)
    if after.answered_at is not None and (before is None or before.answered_at is None):
        yield from (_Told(EventType.CALL_ANSWERED, one.user_id) for one in came if one.user_id != after.caller_id)
    reasons = {event.user_id: str(event.reason) for event in happened if isinstance(event, SessionLeft)}
    for one in after.participants:
        if one.user_id in were_in and not one.is_in:
            yield _Told(EventType.PARTICIPANT_LEFT, one.user_id, reason=reasons.get(one.user_id))
    if after.over and not (before is not None and before.over):
        yield _Told(EventType.CALL_ENDED, reason=str(after.end_reason), duration_seconds=_duration(after))


def _of_happening(event: Happening, after: Call) -> Iterator[_Told]:
    match event:
        case Rang(user_id, waiting):
            yield _Told(EventType.CALL_RINGING, user_id, waiting=waiting)
        case DeclinedByDevice(user_id, device_id):
            yield _Told(EventType.CALL_DECLINED, user_id, device_id)
        case Missed(user_id):
            one = after.participant(user_id)
            end = one.ring.end if one is not None and one.ring is not None else None
            yield _Told(EventType.CALL_MISSED, user_id, reason=str(end or RingEnd.TIMEOUT))
        case RecordingStarted(recording):
            yield _Told(EventType.RECORDING_STARTED, recording.started_by, recording_id=recording.recording_id)
        case RecordingStopped(recording, user_id, reason):
            yield _Told(EventType.RECORDING_STOPPED, user_id, recording_id=recording.recording_id, reason=reason)
        case _:
            return  # who answers has joined, and that is told; sessions come and go more often than people do


def _duration(call: Call) -> float | None:
    if call.answered_at is None or call.ended_at is None:
        return None
    return (call.ended_at - call.answered_at).total_seconds()
