"""What is known of one recording, from its start to the day it is deleted: values only.

`recording.book` writes it down, `recording.desk` has the film made, `recording.service` shows it.
"""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from secureconnect.ids import CallId, ConversationId, RecordingId, UserId


class Status(StrEnum):
    """`processing`: it is over, and the film is being made. `failed`: there is none, and `failure` says why."""

    RECORDING = "recording"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"


class Record(Struct, frozen=True):
    """One recording. `seconds`, `bytes`, `content_type` and `object_name` are of the film, once there is one.

    `attempts` counts those to make it, the one under way included. At `kept_until` all of it is deleted.
    """

    recording_id: RecordingId
    call_id: CallId
    conversation_id: ConversationId
    started_by: UserId
    started_at: datetime
    status: Status
    stopped_at: datetime | None = None
    seconds: float | None = None
    bytes: int | None = None
    content_type: str | None = None
    object_name: str | None = None
    failure: str | None = None
    kept_until: datetime | None = None
    attempts: int = 0
