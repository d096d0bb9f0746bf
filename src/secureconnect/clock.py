"""Time as a dependency: services receive a Clock, tests bring their own.

The pure files never see a Clock; they are handed `now`.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> datetime:
        """The time of day, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class CorrectedClock:
    """A clock with `correction` added to its time of day, so that nodes agree on it; see ops.timekeeping."""

    def __init__(self, clock: Clock) -> None:
        self.correction = timedelta(0)
        self._clock = clock

    def now(self) -> datetime:
        return self._clock.now() + self.correction

    def uncorrected(self) -> datetime:
        """What the machine itself thinks."""
        return self._clock.now()

    def unix_time(self) -> float:
        """The same as `now`, in seconds since 1970."""
        return self.now().timestamp()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def unix_microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970, exactly (floating seconds would lose the last digit)."""
    return (moment - EPOCH) // MICROSECOND
