"""What the server says of media by the SFU: frames of the signaling socket, published by `calls.at_sfu`. Pure.

Clients never meet the SFU's own protocol: it has the `sender_id` and `session_id` "sfu", and speaks in offers and answers.
"""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from msgspec import Struct

from secureconnect.ids import CallId, UserId

SFU = "sfu"
"""What messages to it have as `target_id`."""


class Source(StrEnum):
    """What is in a track."""

    MICROPHONE = "microphone"
    CAMERA = "camera"
    SCREEN = "screen"


class ReceivedStream(Struct, frozen=True):
    """What arrives in the section `mid` of the SFU's offer; not `active`: nothing any more, whoever it was."""

    mid: str
    session_id: str
    user_id: str
    source: Source
    active: bool


class SfuOffer(Struct, frozen=True, tag="offer"):
    """The SFU offers what this session is to receive. The same `connection_id` again: other streams, or other ICE."""

    call_id: CallId
    timestamp: datetime
    sender_id: str
    session_id: str
    connection_id: str
    epoch: int
    sdp: str
    streams: list[ReceivedStream]


class SfuAnswer(Struct, frozen=True, tag="answer"):
    """The SFU's answer to what this session offered to publish."""

    call_id: CallId
    timestamp: datetime
    sender_id: str
    session_id: str
    connection_id: str
    epoch: int
    sdp: str


class SentStream(Struct, frozen=True):
    """What of a picture is sent: `substream` 0 to 2, the smallest first; None when it is `paused`. `reason`: size or bandwidth."""

    session_id: str
    source: Source
    substream: int | None
    paused: bool
    reason: str | None


class Layers(Struct, frozen=True, tag="layers"):
    """What the SFU sends this session of each picture, since it changed."""

    call_id: CallId
    timestamp: datetime
    streams: list[SentStream]


class Speaker(Struct, frozen=True, tag="speaker"):
    """This session has begun to talk, or ended."""

    call_id: CallId
    timestamp: datetime
    sender_id: UserId
    session_id: str
    talking: bool


class Muted(Struct, frozen=True, tag="muted"):
    """The host has silenced this session: its microphone (audio), its camera and screen (video), until it says otherwise itself.

    With `reason` the server has done it, and `by` is the session's own user: `bit_rate`, it sends more than it may.
    """

    call_id: CallId
    timestamp: datetime
    session_id: str
    by: UserId
    kinds: list[Literal["audio", "video"]]
    reason: str | None = None


SFU_FRAMES: tuple[type[Struct], ...] = (SfuOffer, SfuAnswer, Layers, Speaker, Muted)
