"""Time: the system's clock keeps its promises, and microseconds are exact."""

from datetime import UTC, datetime, timedelta, timezone

import anyio
import pytest

from secureconnect.clock import EPOCH, SystemClock, unix_microseconds


def test_now_is_in_utc() -> None:
    before = datetime.now(UTC)
    assert before <= SystemClock().now() <= datetime.now(UTC)
    assert SystemClock().now().utcoffset() == timedelta(0)


def test_monotonic_never_goes_back() -> None:
    clock = SystemClock()
    readings = [clock.monotonic() for _ in range(1000)]
    assert readings == sorted(readings)


@pytest.mark.anyio
async def test_sleep_returns_after_the_time_and_not_before() -> None:
    clock = SystemClock()
    began = clock.monotonic()
    with anyio.fail_after(10):
        await clock.sleep(0.01)
    assert clock.monotonic() - began >= 0.01


@pytest.mark.parametrize(
    ("moment", "microseconds"),
    [
        (EPOCH, 0),
        (datetime(1970, 1, 1, 0, 0, 1, 1, UTC), 1_000_001),
        (datetime(2255, 6, 5, 23, 47, 34, 740_991, UTC), 2**53 - 1),
        (datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), 0),
    ],
)
def test_microseconds_are_exact(moment: datetime, microseconds: int) -> None:
    assert unix_microseconds(moment) == microseconds
