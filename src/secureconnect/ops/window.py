"""Counts of one limit in this process: a sliding window over two periods, with bounded entries. Used by ops.ratelimit."""

MAX_WINDOW_KEYS = 32_768
"""Keys that one limit counts in one period: about 4 MB of counters."""
SHARED_COUNTERS = 4096
"""Keys beyond that share these counters: a full table still limits, and a newcomer shares with few others."""
ROUNDING = 1e-6
"""A client that waits exactly as long as it was told must not be refused for the last digit of a float."""


class SlidingWindow:
    """Counts of this period and of the last, of which the part still in sight counts.

    Two dictionaries change places each period: idle keys are forgotten without a search. (The library `limits` walks all its keys
    after each hit: half a millisecond at 5000.) Keys are kept as hashes that the process salts, so a client cannot choose
    which counter it shares.
    """

    def __init__(self, limit: int, seconds: float = 60.0, *, max_keys: int = MAX_WINDOW_KEYS) -> None:
        self.limit = limit
        self.max_keys = max_keys
        self._seconds = seconds
        self._period = 0
        self._counts: dict[int, int] = {}
        self._last_counts: dict[int, int] = {}

    @property
    def keys(self) -> int:
        """How many keys are counted in this period."""
        return len(self._counts)

    def hit(self, key: str, now: float, scale: int = 1) -> float:
        """Count one at `now` (seconds) and return 0; when it is one too many, count nothing and return the seconds to wait."""
        wait = self.wait(key, now, scale)
        if not wait:
            self.add(key, now)
        return wait

    def wait(self, key: str, now: float, scale: int = 1) -> float:
        """Return the seconds until one more is allowed, 0 when it is allowed now. Counts nothing."""
        passed = self._turn_to(now)
        slot = self._slot(key)
        limit = self.limit * scale
        count, last_count = self._counts.get(slot, 0), self._last_counts.get(slot, 0)
        if last_count * (1 - passed) + count + 1 <= limit + ROUNDING:
            return 0.0
        if count < limit:
            return max(ROUNDING, (_fades_to(last_count, limit - 1 - count) - passed) * self._seconds)
        return max(ROUNDING, (1 - passed + _fades_to(count, limit - 1)) * self._seconds)

    def used(self, key: str, now: float) -> float:
        """Return the share of the limit that is used, 0 to 1 (more when another counter allowed it)."""
        passed = self._turn_to(now)
        slot = self._slot(key)
        return (self._last_counts.get(slot, 0) * (1 - passed) + self._counts.get(slot, 0)) / self.limit

    def add(self, key: str, now: float) -> None:
        """Count one at `now`, whatever the limit says: another counter has allowed it."""
        self._turn_to(now)
        slot = self._slot(key)
        self._counts[slot] = self._counts.get(slot, 0) + 1

    def take_back(self, key: str, now: float) -> None:
        """Count one less: it turned out not to be what the limit is for."""
        self._turn_to(now)
        slot = self._slot(key)
        count = self._counts.get(slot, 0)
        if count > 1:
            self._counts[slot] = count - 1
        else:
            self._counts.pop(slot, None)

    def _slot(self, key: str) -> int:
        slot = hash(key)
        if len(self._counts) < self.max_keys or slot in self._counts:
            return slot
        return slot % SHARED_COUNTERS

    def _turn_to(self, now: float) -> float:
        """Begin the period of `now` if it is a new one; return the part of the period that has passed."""
        at, passed = divmod(now / self._seconds, 1)
        period = int(at)
        if period < self._period:  # the clock was set back: stay at the beginning of the later period
            return 0.0
        if period != self._period:
            self._last_counts = self._counts if period == self._period + 1 else {}
            self._counts = {}
            self._period = period
        return passed


def _fades_to(last_count: int, remainder: int) -> float:
    """The part of a period after which no more than `remainder` of the last period's count is in sight."""
    return max(0.0, 1 - remainder / last_count) if last_count else 0.0
