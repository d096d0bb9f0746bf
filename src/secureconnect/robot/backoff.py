"""How long to wait before trying again: exponential, with full jitter, so that a thousand clients do not come back as one.

Pure; used by `sockets` and `peer`. See AWS Architecture Blog, "Exponential Backoff And Jitter" (2015).
"""

from collections.abc import Callable

FIRST_SECONDS = 0.25
"""The longest first wait: below what a person notices, long enough to spread a herd."""
LONGEST_SECONDS = 8.0
"""The longest wait: a quarter of the 30 s in which a participant may come back."""


class Backoff:
    """Counts failures in a row. `random` gives floats in [0, 1)."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._failures = 0

    def failed(self) -> float:
        """Note one more failure; the seconds to wait before the next attempt."""
        longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0**self._failures)
        self._failures += 1
        return longest * self._random()

    def succeeded(self) -> None:
        """The next failure is a first one again."""
        self._failures = 0
