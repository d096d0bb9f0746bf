"""Rate limits: counted by name and key, given back as time passes, exact about how long to wait, and switched off."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secureconnect.errors import RateLimited
from secureconnect.ops.ratelimit import LIMITS_PER_MINUTE, RateLimiter
from tests.fakes.clock import ManualClock

pytestmark = pytest.mark.anyio
TWO = {"login": 2, "message": 2}


async def retry_after(limiter: RateLimiter, name: str = "login", key: str = "ada") -> int:
    """Seconds to wait, 0 when the hit was counted."""
    try:
        await limiter.hit(name, key)
    except RateLimited as refused:
        return refused.retry_after or 0
    return 0


async def test_the_documented_defaults() -> None:
    assert LIMITS_PER_MINUTE == {"login": 10, "login_address": 60, "register": 60, "message": 120}


async def test_each_name_and_key_has_its_own_count(clock: ManualClock) -> None:
    limiter = RateLimiter(clock=clock, limits=TWO)
    for name, key in [("login", "ada"), ("login", "ada"), ("login", "grace"), ("message", "ada")]:
        await limiter.hit(name, key)
    with pytest.raises(RateLimited, match="at most 2 a minute"):
        await limiter.hit("login", "ada")
    await limiter.hit("login", "grace")


async def test_waiting_as_long_as_told_is_enough_and_no_shorter(clock: ManualClock) -> None:
    limiter = RateLimiter(clock=clock, limits=TWO)
    clock.advance(45)
    assert [await retry_after(limiter) for _ in range(3)] == [0, 0, 45]
    clock.advance(44)
    assert await retry_after(limiter) == 1
    clock.advance(1)
    assert [await retry_after(limiter) for _ in range(2)] == [0, 30], "one has faded; the other is half in sight"
    clock.advance(30)
    assert await retry_after(limiter) == 0


async def test_two_quiet_minutes_forget_everything(clock: ManualClock) -> None:
    limiter = RateLimiter(clock=clock, limits=TWO)
    assert [await retry_after(limiter) for _ in range(2)] == [0, 0]
    clock.advance(120)
    assert [await retry_after(limiter) for _ in range(2)] == [0, 0]


async def test_off_means_off(clock: ManualClock) -> None:
    limiter = RateLimiter(clock=clock, limits=TWO, enabled=False)
    assert [await retry_after(limiter) for _ in range(100)] == [0] * 100


@given(st.integers(1, 20), st.lists(st.floats(0, 90), max_size=60))
async def test_whoever_waits_as_told_gets_in_and_nobody_gets_twice_the_limit(limit: int, pauses: list[float]) -> None:
    clock = ManualClock()
    limiter = RateLimiter(clock=clock, limits={"login": limit})
    passed: list[float] = []
    for pause in pauses:
        clock.advance(pause)
        wait = await retry_after(limiter)
        if wait:
            clock.advance(wait)
            assert await retry_after(limiter) == 0
        passed.append(clock.monotonic())
    for moment in passed:
        assert sum(moment <= other < moment + 60 for other in passed) <= 2 * limit
