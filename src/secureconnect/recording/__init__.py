"""A recording as the modules of this room see it: the tracks that the SFU wrote, the film made of them, what goes wrong. Values
only.

`recording.compose` makes the film: `recording.tracks` says what there is, `recording.layout` who is seen where and when,
`recording.commands` what the programs are told, `recording.program` how they are run.
"""

from datetime import datetime
from pathlib import Path
from typing import Literal

from msgspec import Struct

from secureconnect.signaling.sfu_frames import Source


class RecordingError(Exception):
    """What becomes of a recording that does not become a film; the message is for operators."""


class NothingRecorded(RecordingError):
    """Nobody's sound or picture was recorded in that time, or nothing of it can be read."""


class CannotCompose(RecordingError):
    """A program that makes the film is missing, or has failed; the message has its last words."""


class Track(Struct, frozen=True):
    """What the SFU wrote of one microphone, camera or screen, in the file `path`. `began_at`: when its first packet came.

    `codec` is one of "opus", "vp8", "vp9", "h264".
    """

    path: Path
    kind: Literal["audio", "video"]
    codec: str
    source: Source
    session_id: str
    began_at: datetime


class Film(Struct, frozen=True):
    """What was made: the file, "video/mp4" or, when nobody had a picture, "audio/mp4", its length and its size."""

    path: Path
    content_type: str
    seconds: float
    bytes: int
