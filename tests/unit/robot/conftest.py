"""What the robot's tests share: time that a test moves."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest


class FakeClock:
    """Time stands still; `sleep` moves it and yields once, so that others run."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 11, 24, 9, 41, 7, tzinfo=UTC) + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return self.elapsed

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.elapsed += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
