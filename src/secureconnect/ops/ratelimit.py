"""How often somebody may do something: one limit a name, counted per key. Called by the route handlers in api.

Counts in this process; a flood across nodes is the gateway's work. Knows no requests: the caller says what the key is.
"""

import math
import time
from collections.abc import Mapping

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from secureconnect.errors import RateLimited

log = structlog.get_logger(__name__)

DEFAULT_LIMITS: Mapping[str, RateLimitItem] = {
    "login": RateLimitItemPerMinute(10),  # per email: guessing one person's password
    "login_address": RateLimitItemPerMinute(60),  # per address: trying one password on many people
    "register": RateLimitItemPerMinute(60),  # per address: each costs a slow hash
    "message": RateLimitItemPerMinute(120),  # per user: two a second is faster than anybody types
}


class RateLimiter:
    """Sliding windows over a storage of `limits`. If the storage fails the request passes: a limit is no reason for an outage."""

    def __init__(
        self, limits: Mapping[str, RateLimitItem] = DEFAULT_LIMITS, *, storage: Storage | None = None, enabled: bool = True
    ) -> None:
        self._limits = limits
        self._windows = SlidingWindowCounterRateLimiter(storage or MemoryStorage())
        self._enabled = enabled

    async def hit(self, name: str, key: str) -> None:
        """Count one use of the limit `name` by `key`. Raises RateLimited, with seconds to wait, when there were too many."""
        if not self._enabled:
            return
        limit = self._limits[name]
        try:
            if await self._windows.hit(limit, name, key):
                return
            reset_at = (await self._windows.get_window_stats(limit, name, key)).reset_time
        except Exception as failure:  # whatever the storage's driver raises
            log.warning("rate limit not counted", limit=name, error=type(failure).__name__)
            return
        raise RateLimited(
            f"Too many requests of this kind: at most {limit.amount} a minute.",
            retry_after=max(1, math.ceil(reset_at - time.time())),
        )
