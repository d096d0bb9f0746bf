"""What an outside application is told of calls: the events as values. Nothing is done here.

What is told when is in `webhooks.events`, how it is signed in `webhooks.signing`, sent in `webhooks.sender`, in order and at least
once by `webhooks.delivery`. The shapes are docs/webhooks.md.
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from secureconnect.ids import CallId, ConversationId, DeviceId, RecordingId, UserId
from secureconnect.signaling.views import CallView


class EventType(StrEnum):
    """What can happen to a call, as an application is told of it."""

    CALL_STARTED = "call.started"
    CALL_RINGING = "call.ringing"
    CALL_BUSY = "call.busy"
    CALL_ANSWERED = "call.answered"
    CALL_DECLINED = "call.declined"
    CALL_MISSED = "call.missed"
    PARTICIPANT_JOINED = "participant.joined"
    PARTICIPANT_LEFT = "participant.left"
    CALL_ENDED = "call.ended"
    RECORDING_STARTED = "recording.started"
    RECORDING_STOPPED = "recording.stopped"
    RECORDING_READY = "recording.ready"
    RECORDING_FAILED = "recording.failed"
    TEST = "webhook.test"


class EventData(Struct, frozen=True, omit_defaults=True):
    """Of which call, and as it is after the change. `sequence` grows with each event of the call; `user_id`: whom it is about."""

    call_id: CallId
    conversation_id: ConversationId
    sequence: int
    call: CallView
    user_id: UserId | None = None
    device_id: DeviceId | None = None
    reason: str | None = None
    waiting: bool | None = None
    duration_seconds: float | None = None
    recording_id: RecordingId | None = None


class Event(Struct, frozen=True):
    """The body of one request: `type`, `timestamp` and `data`, as Standard Webhooks recommends."""

    type: EventType
    timestamp: datetime
    data: EventData


class Webhook(Struct, frozen=True):
    """One event on its way. `body` is the JSON that is signed; `attempts` counts this one."""

    event_id: UUID
    call_id: CallId
    type: EventType
    body: bytes
    expires_at: datetime
    attempts: int = 1


class Kept(Struct, frozen=True):
    """One event as it is remembered: what became of it, and its body."""

    event_id: UUID
    call_id: CallId
    type: EventType
    body: bytes
    created_at: datetime
    attempts: int
    done_at: datetime | None
    outcome: str | None
    detail: str | None
