"""How often somebody may do something: one limit a name, counted by key. Called by the route handlers in api.

Counts in this process, or with all nodes when the bus is shared. Knows no requests and no Redis: the caller says what the key is,
app hands in who counts for all.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog
from msgspec import Struct

from secureconnect.clock import Clock, unix_microseconds
from secureconnect.errors import RateLimited, Unavailable

log = structlog.get_logger(__name__)

ROUNDING = 1e-6
"""Who waits exactly as long as told must not be refused for the last digit of a float."""
PAUSE_SECONDS = 1.0
"""How long shared counts that did not answer are left alone: a request should not wait for what the one before waited for."""


class Limit(Struct, frozen=True):
    """At most `count` uses in `seconds`.

    `fails_open`: when the counts of all nodes are out of reach nobody is refused; else this node counts by itself.
    """

    count: int
    seconds: float = 60.0
    fails_open: bool = False


LIMITS: Mapping[str, Limit] = {
    "login": Limit(10),  # by email: guessing one person's password
    "login_address": Limit(60),  # by address: trying one password on many people
    "register": Limit(60),  # by address: each costs a slow hash
    "message": Limit(120, fails_open=True),  # by user: two a second is faster than anybody types
    "ring": Limit(10, fails_open=True),  # by user: calls begun, and invitations
    "recording": Limit(10, fails_open=True),  # by user: each takes a folder, and a film that somebody has to make
    "ring_one": Limit(20, 600.0, fails_open=True),  # by caller and callee: a phone that somebody will not leave alone
}


class Use(NamedTuple):
    """One use of a limit, to be counted: by `key` at most `limit` in `seconds`."""

    key: str
    limit: int
    seconds: float


class SharedCounts(Protocol):
    """Who counts for all nodes."""

    async def hit(self, uses: Sequence[Use], now: float) -> list[float]:
        """Count each use at `now` (Unix time, seconds): 0 for what was counted, for others the seconds to wait.

        Raises Unavailable, soon.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


OnRefusal = Callable[[str], None]
OnUnshared = Callable[[], None]


class RateLimiter:
    """At most so many of each name and key, `enabled` unless a load test says otherwise.

    `on_refusal` hears the name of each limit that refused, `on_unshared` of each use that could not be counted with the others.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        limits: Mapping[str, Limit] = LIMITS,
        enabled: bool = True,
        shared: SharedCounts | None = None,
        on_refusal: OnRefusal = lambda _: None,
        on_unshared: OnUnshared = lambda: None,
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._windows = {name: SlidingWindow(limit.count, limit.seconds) for name, limit in limits.items()}
        self._enabled = enabled
        self._shared = shared
        self._on_refusal = on_refusal
        self._on_unshared = on_unshared
        self._away_until = -math.inf

    async def hit(self, name: str, key: str) -> None:
        """Count one use of the limit `name` by `key`. Raises RateLimited, with the seconds to wait, when it is one too many."""
        await self.hit_all([(name, key)])

    async def hit_all(self, uses: Iterable[tuple[str, str]]) -> None:
        """Count several at once, each (name, key) of them. Raises RateLimited for the one with the longest wait."""
        if not self._enabled:
            return
        hits = list(dict.fromkeys(uses))
        waits = await self._count(hits)
        for (name, _), wait in zip(hits, waits, strict=True):
            if wait > 0:
                self._on_refusal(name)
        longest = max(range(len(waits)), key=waits.__getitem__, default=None)
        if longest is not None and waits[longest] > 0:
            limit = self._limits[hits[longest][0]]
            seconds = max(1, math.ceil(waits[longest] - ROUNDING))
            raise RateLimited(f"Too many requests of this kind: at most {limit.count} {_period(limit)}.", retry_after=seconds)

    async def close(self) -> None:
        """Let go of who counts for all."""
        if self._shared is not None:
            await self._shared.close()

    async def _count(self, hits: Sequence[tuple[str, str]]) -> list[float]:
        monotonic = self._clock.monotonic()
        if self._shared is None:
            return [self._windows[name].hit(key, monotonic) for name, key in hits]
        if monotonic >= self._away_until:
            uses = [Use(f"{name}:{key}", self._limits[name].count, self._limits[name].seconds) for name, key in hits]
            try:
                return await self._shared.hit(uses, unix_microseconds(self._clock.now()) / 1_000_000)
            except Unavailable as failure:
                self._away_until = self._clock.monotonic() + PAUSE_SECONDS
                log.warning("limits are not shared", reason=failure.detail)
        for _ in hits:
            self._on_unshared()
        return [0.0 if self._limits[name].fails_open else self._windows[name].hit(key, monotonic) for name, key in hits]


class SlidingWindow:
    """Counts of this period and of the last, of which the part still in sight counts.

    Two dictionaries that change places each period: whoever stays away is forgotten without anybody looking for them, which is why
    this is not a library's store (that of `limits` walks all keys after each hit: half a millisecond at 5000).
    """

    def __init__(self, limit: int, seconds: float = 60.0) -> None:
        self.limit = limit
        self._seconds = seconds
        self._period = 0
        self._counts: dict[str, int] = {}
        self._last_counts: dict[str, int] = {}

    def hit(self, key: str, now: float) -> float:
        """Count one at `now`, in seconds, and return 0; when it is one too many, do not and return the seconds to wait."""
        period, passed = divmod(now / self._seconds, 1)
        self._turn_to(int(period))
        count, last_count = self._counts.get(key, 0), self._last_counts.get(key, 0)
        if last_count * (1 - passed) + count + 1 <= self.limit + ROUNDING:
            self._counts[key] = count + 1
            return 0.0
        if count < self.limit:
            return (_fades_to(last_count, self.limit - 1 - count) - passed) * self._seconds
        return (1 - passed + _fades_to(count, self.limit - 1)) * self._seconds

    def _turn_to(self, period: int) -> None:
        if period != self._period:
            self._last_counts = self._counts if period == self._period + 1 else {}
            self._counts = {}
            self._period = period


def _fades_to(last_count: int, remainder: int) -> float:
    """The part of a period after which no more than `remainder` of the last period's count is in sight."""
    return max(0.0, 1 - remainder / last_count)


def _period(limit: Limit) -> str:
    minutes = limit.seconds / 60
    return "a minute" if minutes == 1 else f"in {minutes:g} minutes"
