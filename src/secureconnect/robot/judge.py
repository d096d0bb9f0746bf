"""When a call counts as good: everybody sees and hears everybody for long enough. Pure; `headless` asks ten times a second."""

from collections.abc import Sequence
from dataclasses import dataclass

GOOD_SECONDS = 10.0
"""Media must flow this long without a stop: enough for the second and third report of every statistic."""
DEADLINE_SECONDS = 30.0
"""From the first observation on; a call that is not good by then is not going to be."""
FRESH_SECONDS = 2.0
"""Pictures or sound older than this have stopped: four beeps' worth, so that no pause between two counts."""


@dataclass(frozen=True)
class Reading:
    """What one side has received so far."""

    frames: int = 0
    audible_seconds: float = 0.0


@dataclass
class _Side:
    last: Reading = Reading()
    saw_at: float | None = None
    heard_at: float | None = None

    def note(self, reading: Reading, now: float) -> None:
        if reading.frames > self.last.frames:
            self.saw_at = now
        if reading.audible_seconds > self.last.audible_seconds:
            self.heard_at = now
        self.last = reading

    def good(self, now: float) -> bool:
        return all(at is not None and now - at <= FRESH_SECONDS for at in (self.saw_at, self.heard_at))


class Judge:
    """Watches `sides` receivers. Times are in seconds of any steady clock."""

    def __init__(self, sides: int) -> None:
        self._sides = [_Side() for _ in range(sides)]
        self._began: float | None = None
        self._good_since: float | None = None

    @property
    def good_since(self) -> float | None:
        """Since when everything has flowed without a stop."""
        return self._good_since

    def observe(self, readings: Sequence[Reading], now: float) -> bool | None:
        """True: it is good. False: it is too late. None: watch on."""
        if self._began is None:
            self._began = now
        for side, reading in zip(self._sides, readings, strict=True):
            side.note(reading, now)
        if not all(side.good(now) for side in self._sides):
            self._good_since = None
        elif self._good_since is None:
            self._good_since = now
        if self._good_since is not None and now - self._good_since >= GOOD_SECONDS:
            return True
        return False if now - self._began >= DEADLINE_SECONDS else None
