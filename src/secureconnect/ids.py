"""Identifiers: their types, how they are made, and the short form that logs may show.

Used everywhere. Randomness and time are handed in, so a test chooses both.
"""

from collections.abc import Callable
from typing import NewType
from uuid import UUID

UserId = NewType("UserId", UUID)
DeviceId = NewType("DeviceId", UUID)
ConversationId = NewType("ConversationId", UUID)
MessageId = NewType("MessageId", UUID)
CallId = NewType("CallId", UUID)
SessionId = NewType("SessionId", UUID)
NodeId = NewType("NodeId", UUID)
RecordingId = NewType("RecordingId", UUID)


class IdFactory:
    """Makes UUIDs of version 7 (RFC 9562, section 5.7): time-ordered, so that newest-first is an index walk.

    `now_ms` gives Unix time in milliseconds, `random_bytes(n)` gives n unpredictable bytes.
    """

    def __init__(self, now_ms: Callable[[], int], random_bytes: Callable[[int], bytes]) -> None:
        self._now_ms = now_ms
        self._random_bytes = random_bytes

    def new(self) -> UUID:
        value = (self._now_ms() & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(self._random_bytes(10), "big")
        value = value & ~(0xF << 76) | 0x7 << 76
        value = value & ~(0b11 << 62) | 0b10 << 62
        return UUID(int=value)

    def user(self) -> UserId:
        return UserId(self.new())

    def conversation(self) -> ConversationId:
        return ConversationId(self.new())

    def message(self) -> MessageId:
        return MessageId(self.new())

    def call(self) -> CallId:
        return CallId(self.new())

    def session(self) -> SessionId:
        return SessionId(self.new())

    def recording(self) -> RecordingId:
        return RecordingId(self.new())


def short(identifier: UUID | str | None) -> str:
    """The last eight characters: enough to follow one call through a log, too little to be a key to anything."""
    return "-" if identifier is None else str(identifier)[-8:]
