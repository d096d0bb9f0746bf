"""A clock that stands still until a test moves it. Every test whose subject knows the time uses this one."""

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


class ManualClock:
    """A `Clock` whose time passes only in `advance`."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def now_ms(self) -> int:
        """Unix time in milliseconds, for an IdFactory."""
        return int(self.now().timestamp() * 1000)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Return once the test has moved the clock by `seconds`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (self._elapsed + seconds, woken)
        self._sleepers.append(entry)
        try:
            await woken
        finally:
            if entry in self._sleepers:
                self._sleepers.remove(entry)

    @property
    def sleeping(self) -> int:
        """How many wait for the time to pass: lets a test wait until its subject does."""
        return len(self._sleepers)

    def advance(self, seconds: float) -> None:
        """Move time on and wake whoever has slept long enough, the earliest first."""
        self._elapsed += seconds
        for entry in sorted(self._sleepers, key=lambda sleeper: sleeper[0]):
            due, woken = entry
            if due <= self._elapsed:
                self._sleepers.remove(entry)
                if not woken.done():
                    woken.set_result(None)
