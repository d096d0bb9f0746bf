"""How often somebody may do something: one limit a name, counted by key. Called by the route handlers in api.

Counts in this process; a flood across nodes is the gateway's work. Knows no requests: the caller says what the key is.
"""

import math
from collections.abc import Mapping

from secureconnect.clock import Clock
from secureconnect.errors import RateLimited

WINDOW_SECONDS = 60.0
ROUNDING = 1e-6
"""Who waits exactly as long as told must not be refused for the last digit of a float."""
LIMITS_PER_MINUTE: Mapping[str, int] = {
    "login": 10,  # by email: guessing one person's password
    "login_address": 60,  # by address: trying one password on many people
    "register": 60,  # by address: each costs a slow hash
    "message": 120,  # by user: two a second is faster than anybody types
}


class RateLimiter:
    """At most so many a minute of each name and key, `enabled` unless a load test says otherwise."""

    def __init__(self, *, clock: Clock, limits: Mapping[str, int] = LIMITS_PER_MINUTE, enabled: bool = True) -> None:
        self._clock = clock
        self._windows = {name: _SlidingWindow(limit) for name, limit in limits.items()}
        self._enabled = enabled

    async def hit(self, name: str, key: str) -> None:
        """Count one use of the limit `name` by `key`. Raises RateLimited, with the seconds to wait, when it is one too many."""
        if not self._enabled:
            return
        window = self._windows[name]
        wait = window.hit(key, self._clock.monotonic())
        if wait > 0:
            seconds = max(1, math.ceil(wait - ROUNDING))
            raise RateLimited(f"Too many requests of this kind: at most {window.limit} a minute.", retry_after=seconds)


class _SlidingWindow:
    """Counts of this minute and of the last, of which the part still in sight counts.

    Two dictionaries that change places each minute: whoever stays away is forgotten without anybody looking for them, which is why
    this is not a library's store (that of `limits` walks all keys after each hit: half a millisecond at 5000).
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._minute = 0
        self._counts: dict[str, int] = {}
        self._last_counts: dict[str, int] = {}

    def hit(self, key: str, now: float) -> float:
        """Count one at `now`, in seconds, and return 0; when it is one too many, do not and return the seconds to wait."""
        minute, passed = divmod(now / WINDOW_SECONDS, 1)
        self._turn_to(int(minute))
        count, last_count = self._counts.get(key, 0), self._last_counts.get(key, 0)
        if last_count * (1 - passed) + count + 1 <= self.limit + ROUNDING:
            self._counts[key] = count + 1
            return 0.0
        if count < self.limit:
            return (_fades_to(last_count, self.limit - 1 - count) - passed) * WINDOW_SECONDS
        return (1 - passed + _fades_to(count, self.limit - 1)) * WINDOW_SECONDS

    def _turn_to(self, minute: int) -> None:
        if minute != self._minute:
            self._last_counts = self._counts if minute == self._minute + 1 else {}
            self._counts = {}
            self._minute = minute


def _fades_to(last_count: int, remainder: int) -> float:
    """The part of a minute after which no more than `remainder` of the last minute's count is in sight."""
    return max(0.0, 1 - remainder / last_count)
