"""Rate limits: counted by name and key, given back as time passes, exact about how long to wait. In one process, and for all nodes
on a real Redis; and what becomes of them while that is away.
"""

import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secureconnect.bus import open_counts
from secureconnect.bus.redis import RedisCounts
from secureconnect.errors import RateLimited
from secureconnect.ops.ratelimit import Limit, RateLimiter, Use
from tests.fakes.clock import START, ManualClock
from tests.fakes.redis import RedisServer

pytestmark = pytest.mark.anyio
TWO = {
    "login": Limit(2, shared=True),
    "message": Limit(2, shared=True),
    "slow": Limit(3, 600.0, shared=True),
    "read": Limit(2),
}


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.stop()


class TimeOfDay(ManualClock):
    """One whose seconds begin with the day, so that both kinds of counters begin their periods at the same moment."""

    def monotonic(self) -> float:
        return self.now().timestamp()


@pytest.fixture
def clock() -> ManualClock:
    return TimeOfDay(START.replace(minute=0, second=0, microsecond=0))


@pytest.fixture(params=["in process", "on redis"])
async def counts(request: pytest.FixtureRequest) -> AsyncIterator[RedisCounts | None]:
    """Who counts for all nodes, empty; None in a process that is alone."""
    if request.param == "in process":
        yield None
        return
    server: RedisServer = request.getfixturevalue("redis")
    server.command("FLUSHALL")
    counts = open_counts(server.url)
    assert counts is not None
    yield counts
    await counts.close()


@pytest.fixture
def limiter(counts: RedisCounts | None, clock: ManualClock) -> RateLimiter:
    return RateLimiter(clock=clock, limits=TWO, shared=counts)


async def retry_after(limiter: RateLimiter, name: str = "login", key: str = "ada") -> int:
    """Seconds to wait, 0 when the hit was counted."""
    try:
        await limiter.hit(name, key)
    except RateLimited as refused:
        return refused.retry_after or 0
    return 0


async def test_each_name_and_key_has_its_own_count(limiter: RateLimiter) -> None:
    for name, key in [("login", "ada"), ("login", "ada"), ("login", "grace"), ("message", "ada")]:
        await limiter.hit(name, key)
    with pytest.raises(RateLimited, match="at most 2 a minute"):
        await limiter.hit("login", "ada")
    await limiter.hit("login", "grace")


async def test_waiting_as_long_as_told_is_enough_and_no_shorter(limiter: RateLimiter, clock: ManualClock) -> None:
    clock.advance(45)
    assert [await retry_after(limiter) for _ in range(3)] == [0, 0, 45]
    clock.advance(44)
    assert await retry_after(limiter) == 1
    clock.advance(1)
    assert [await retry_after(limiter) for _ in range(2)] == [0, 30], "one has faded; the other is half in sight"
    clock.advance(30)
    assert await retry_after(limiter) == 0


async def test_two_quiet_periods_forget_everything(limiter: RateLimiter, clock: ManualClock) -> None:
    for name, period in (("login", 60), ("slow", 600)):
        assert [await retry_after(limiter, name) for _ in range(2)] == [0, 0]
        clock.advance(2 * period)
        assert [await retry_after(limiter, name) for _ in range(2)] == [0, 0]


async def test_a_longer_period_is_told_in_minutes(limiter: RateLimiter) -> None:
    for _ in range(3):
        await limiter.hit("slow", "ada")
    with pytest.raises(RateLimited, match="at most 3 in 10 minutes"):
        await limiter.hit("slow", "ada")


async def test_of_several_uses_all_are_counted_or_none(limiter: RateLimiter) -> None:
    await limiter.hit_all([Use("login", "ada"), Use("slow", "ada:grace"), Use("slow", "ada:grace")])
    for _ in range(2):
        await limiter.hit("slow", "ada:grace")
    for _ in range(5):
        with pytest.raises(RateLimited, match="10 minutes"):
            await limiter.hit_all([Use("login", "ada"), Use("slow", "ada:grace")])
    assert [await retry_after(limiter) for _ in range(2)] == [0, 90], "a refused request counted nothing"


async def test_the_first_that_is_one_too_many_is_named(limiter: RateLimiter) -> None:
    for _ in range(2):
        await limiter.hit("login", "ada")
    for _ in range(3):
        await limiter.hit("slow", "ada")
    with pytest.raises(RateLimited, match="a minute"):
        await limiter.hit_all([Use("login", "ada"), Use("slow", "ada")])


async def test_a_wider_network_may_use_a_multiple(limiter: RateLimiter) -> None:
    for number in range(8):
        await limiter.hit_all([Use("login", f"2001:db8:0:{number}::/64"), Use("login", "2001:db8::/56", 4)])
    with pytest.raises(RateLimited):
        await limiter.hit_all([Use("login", "2001:db8:0:99::/64"), Use("login", "2001:db8::/56", 4)])


async def test_what_is_taken_back_was_not_counted(limiter: RateLimiter) -> None:
    for _ in range(20):
        await limiter.hit("login", "ada")
        await limiter.take_back([Use("login", "ada")])
    assert [await retry_after(limiter) for _ in range(3)] == [0, 0, 90]
    await limiter.take_back([Use("login", "ada"), Use("login", "ben")])
    assert [await retry_after(limiter) > 0 for _ in range(2)] == [False, True]


async def test_off_means_off(clock: ManualClock, counts: RedisCounts | None) -> None:
    limiter = RateLimiter(clock=clock, limits=TWO, enabled=False, shared=counts)
    assert [await retry_after(limiter) for _ in range(100)] == [0] * 100


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 20), pauses=st.lists(st.floats(0, 90), max_size=40))
async def test_whoever_waits_as_told_gets_in_and_nobody_gets_twice_the_limit(
    counts: RedisCounts | None, limit: int, pauses: list[float]
) -> None:
    clock, key = ManualClock(), uuid4().hex
    limiter = RateLimiter(clock=clock, limits={"login": Limit(limit, shared=True)}, shared=counts)
    passed: list[float] = []
    for pause in pauses:
        clock.advance(pause)
        wait = await retry_after(limiter, key=key)
        if wait:
            clock.advance(wait)
            assert await retry_after(limiter, key=key) == 0
        passed.append(clock.monotonic())
    for moment in passed:
        assert sum(moment <= other < moment + 60 for other in passed) <= 2 * limit


def calls_of_eval(redis: RedisServer) -> int:
    """How many scripts Redis has run."""
    found = re.search(r"cmdstat_eval:calls=(\d+)", redis.command("INFO", "commandstats"))
    return int(found[1]) if found else 0


class TestNodes:
    @pytest.fixture
    async def nodes(self, redis: RedisServer, clock: ManualClock) -> AsyncIterator[list[RateLimiter]]:
        """Three that share a Redis. `self.refused` and `self.unshared` are what their metrics would say."""
        redis.command("FLUSHALL")
        self.refused: list[str] = []
        self.unshared = 0

        def on_unshared() -> None:
            self.unshared += 1

        nodes = [
            RateLimiter(
                clock=clock, limits=TWO, shared=open_counts(redis.url), on_refusal=self.refused.append, on_unshared=on_unshared
            )
            for _ in range(3)
        ]
        yield nodes
        for node in nodes:
            await node.close()

    async def test_a_limit_holds_across_nodes(self, nodes: list[RateLimiter]) -> None:
        answers = [await retry_after(node) for node in nodes]
        assert answers[:2] == [0, 0]
        assert answers[2] > 0
        assert self.refused == ["login"]
        assert self.unshared == 0

    async def test_a_node_whose_clock_is_behind_opens_no_second_account(
        self, nodes: list[RateLimiter], redis: RedisServer, clock: ManualClock
    ) -> None:
        late = RateLimiter(clock=clock, limits=TWO, shared=open_counts(redis.url))
        early_clock = TimeOfDay(clock.now() + timedelta(seconds=90))
        early = RateLimiter(clock=early_clock, limits=TWO, shared=open_counts(redis.url))
        assert [await retry_after(early) for _ in range(2)] == [0, 0]
        assert await retry_after(late) > 0
        await late.close()
        await early.close()

    async def test_while_redis_is_away_each_node_counts_with_the_same_limits(
        self, nodes: list[RateLimiter], redis: RedisServer, clock: ManualClock
    ) -> None:
        redis.stop()
        try:
            for name in ("message", "login"):
                assert [await retry_after(nodes[0], name) > 0 for _ in range(5)] == [False, False, True, True, True]
            assert self.unshared == 4, "what this node refuses by itself is not asked for"
        finally:
            redis.start()
        clock.advance(1)
        answers = [await retry_after(node, "slow", "ben") for node in [*nodes, nodes[0]]]
        assert answers[:3] == [0, 0, 0]
        assert answers[3] > 0, "a Redis that is back counts again"

    async def test_what_was_counted_before_redis_went_away_still_counts(self, nodes: list[RateLimiter], redis: RedisServer) -> None:
        await nodes[0].hit("message", "ada")
        redis.pause()
        try:
            assert [await retry_after(nodes[0], "message") > 0 for _ in range(20)] == [False] + [True] * 19
        finally:
            redis.resume()
        assert self.unshared == 1, "a Redis that hangs is not waited for twice"

    async def test_a_refused_request_writes_nothing_and_is_asked_once(self, nodes: list[RateLimiter], redis: RedisServer) -> None:
        for node in nodes[:2]:
            await node.hit("login", "ada")
        keys, asked = redis.command("DBSIZE"), calls_of_eval(redis)
        uses = [Use("login", "ada"), *(Use("slow", f"ada:{number}") for number in range(200))]
        for _ in range(50):
            with pytest.raises(RateLimited):
                await nodes[2].hit_all(uses)
        assert redis.command("DBSIZE") == keys
        assert calls_of_eval(redis) == asked + 1

    async def test_a_request_is_one_script_whatever_it_counts(self, nodes: list[RateLimiter], redis: RedisServer) -> None:
        asked = calls_of_eval(redis)
        await nodes[0].hit_all([Use("login", "ada"), *(Use("slow", f"ada:{number}") for number in range(200))])
        assert calls_of_eval(redis) == asked + 1
        await nodes[0].hit("read", "ada")
        assert calls_of_eval(redis) == asked + 1, "what each node counts for itself is not shared"

    async def test_redis_keeps_no_email(self, nodes: list[RateLimiter], redis: RedisServer) -> None:
        await nodes[0].hit("login", "ada@example.com")
        assert "ada" not in redis.command("KEYS", "*")
        assert int(redis.command("TTL", redis.command("KEYS", "{limits}:*").split()[0])) > 0
