"""The arithmetic of a session: who hears an entry, what is replayed, how fast one may talk, when a slow reader is given up.

Pure: time is a number handed in, nothing is sent from here. `signaling.call_room` and `signaling.socket` obey what it says.
"""

import base64
import hmac
from collections.abc import Iterable, Iterator
from uuid import UUID

from secureconnect.bus import Entry
from secureconnect.ids import CallId, SessionId
from secureconnect.keys import InternalKeys, Purpose
from secureconnect.signaling.protocol import BURST, MESSAGES_PER_SECOND, QUEUE_BYTES, QUEUE_MESSAGES

STRIKES = 100
"""Unacceptable frames at once; one is forgiven a second. A client with a fault sends a few, an attack sends no others."""
STRIKES_FORGIVEN_PER_SECOND = 1.0


class TokenBucket:
    """So many a second, so many at once."""

    __slots__ = ("_burst", "_last", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._last = now

    def take(self, now: float) -> bool:
        """Whether one more is allowed at `now` (seconds of a monotonic clock)."""
        tokens = self._tokens + (now - self._last) * self._rate
        self._last = now
        tokens = min(tokens, self._burst)
        if tokens < 1.0:
            self._tokens = tokens
            return False
        self._tokens = tokens - 1.0
        return True


def message_bucket(now: float) -> TokenBucket:
    return TokenBucket(MESSAGES_PER_SECOND, BURST, now)


def strike_bucket(now: float) -> TokenBucket:
    return TokenBucket(STRIKES_FORGIVEN_PER_SECOND, STRIKES, now)


def is_too_slow(messages: int, size: int) -> bool:
    """The verdict on a client for whom so many messages and bytes wait."""
    return messages > QUEUE_MESSAGES or size > QUEUE_BYTES


class OpeningQueue:
    """What a socket must be sent once it is open, in the order it came; too much of it, and the socket is given up."""

    __slots__ = ("_size", "entries", "is_full")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.is_full = False
        self._size = 0

    def add(self, entry: Entry) -> None:
        """Keep an entry. Beyond the limits nothing is kept, and `is_full` says so."""
        self._size += len(entry.body)
        if is_too_slow(len(self.entries), self._size):
            self.is_full = True
            self.entries.clear()
        if not self.is_full:
            self.entries.append(entry)


def is_for(entry: Entry, session_id: str, user_id: str) -> bool:
    """Whether this session hears the entry: what it did not send itself, and what is addressed to it, its user or everybody."""
    return entry.sender != session_id and (not entry.target or entry.target in (session_id, user_id))


def missed(entries: Iterable[Entry], session_id: str, user_id: str) -> Iterator[Entry]:
    """Of what a log has kept, what this session must still hear."""
    return (entry for entry in entries if is_for(entry, session_id, user_id))


class ResumeTokens:
    """Tokens that prove a session is one's own, readable by every node that knows the secret; no node needs to remember them."""

    def __init__(self, keys: InternalKeys) -> None:
        self._keys = keys

    def make(self, session_id: SessionId, call_id: CallId) -> str:
        return base64.urlsafe_b64encode(session_id.bytes + self._tag(session_id, call_id)).decode()

    def read(self, token: str, call_id: CallId) -> SessionId | None:
        """The session a token stands for in this call, or None when it is not one of ours."""
        try:
            raw = base64.urlsafe_b64decode(token)
        except ValueError:
            return None
        if len(raw) != 32:
            return None
        session_id = SessionId(UUID(bytes=raw[:16]))
        return session_id if hmac.compare_digest(raw[16:], self._tag(session_id, call_id)) else None

    def _tag(self, session_id: UUID, call_id: UUID) -> bytes:
        return hmac.digest(self._keys.of(Purpose.RESUME_TOKENS, call_id), session_id.bytes + call_id.bytes, "sha256")[:16]
