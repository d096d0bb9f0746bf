"""Rate limits: counted by name and key, refilled with time, switched off, and never the cause of an outage."""

import time
from types import SimpleNamespace

import pytest
import structlog
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage

from secureconnect.errors import RateLimited
from secureconnect.ops.ratelimit import DEFAULT_LIMITS, RateLimiter

pytestmark = pytest.mark.anyio
TWO = {"login": RateLimitItemPerMinute(2), "message": RateLimitItemPerMinute(2)}


async def test_the_documented_defaults() -> None:
    amounts = {name: (limit.amount, limit.get_expiry()) for name, limit in DEFAULT_LIMITS.items()}
    assert amounts == {"login": (10, 60), "login_address": (60, 60), "register": (60, 60), "message": (120, 60)}


async def test_each_name_and_key_has_its_own_count() -> None:
    limiter = RateLimiter(TWO)
    for name, key in [("login", "ada"), ("login", "ada"), ("login", "grace"), ("message", "ada")]:
        await limiter.hit(name, key)
    with pytest.raises(RateLimited) as refused:
        await limiter.hit("login", "ada")
    assert refused.value.retry_after is not None
    assert 1 <= refused.value.retry_after <= 60
    await limiter.hit("login", "grace")


async def test_time_gives_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    for module in ("limits.aio.storage.memory", "limits.aio.strategies", "secureconnect.ops.ratelimit"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(time=lambda: now))
    limiter = RateLimiter(TWO)
    await limiter.hit("login", "ada")
    await limiter.hit("login", "ada")
    with pytest.raises(RateLimited):
        await limiter.hit("login", "ada")
    now += 120
    await limiter.hit("login", "ada")


async def test_off_means_off() -> None:
    limiter = RateLimiter(TWO, enabled=False)
    for _ in range(100):
        await limiter.hit("login", "ada")


async def test_a_storage_that_fails_lets_everybody_pass_and_says_so() -> None:
    class Broken(MemoryStorage):
        async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
            raise ConnectionError("redis is gone")

    limiter = RateLimiter(TWO, storage=Broken())
    with structlog.testing.capture_logs() as logs:
        await limiter.hit("login", "ada")
    assert logs == [{"log_level": "warning", "event": "rate limit not counted", "limit": "login", "error": "ConnectionError"}]
