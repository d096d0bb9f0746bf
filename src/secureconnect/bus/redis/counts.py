"""Counts that all nodes share, for rate limits: the sliding window of ops.ratelimit as one script. Made by `bus.open_counts`.

It keeps two numbers a key and forgets both after two periods. A Redis that is slow or away is given up soon: a request waits.
"""

import asyncio
from collections.abc import Sequence
from hashlib import sha256

from redis.exceptions import RedisError

from secureconnect.bus.redis.places import places_of
from secureconnect.errors import Unavailable

ANSWER_SECONDS = 0.25

HIT = """
local kept = redis.call('HMGET', KEYS[1], 'period', 'count', 'last')
local limit, seconds, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local period = math.floor(now / seconds)
local passed = now / seconds - period
local known, count, last = tonumber(kept[1] or -1), tonumber(kept[2] or 0), tonumber(kept[3] or 0)
if known > period then
    period, passed = known, 0
elseif known < period then
    last = known == period - 1 and count or 0
    count = 0
end
if last * (1 - passed) + count + 1 <= limit + 1e-6 then
    redis.call('HSET', KEYS[1], 'period', string.format('%.0f', period), 'count', count + 1, 'last', last)
    redis.call('EXPIRE', KEYS[1], math.ceil(seconds * 2))
    return '0'
end
local wait
if count < limit then
    wait = math.max(0, 1 - (limit - 1 - count) / last) - passed
else
    wait = 1 - passed + math.max(0, 1 - (limit - 1) / count)
end
return string.format('%.6f', wait * seconds)
"""
"""A node whose clock is behind counts into the period that another has begun."""


class RedisCounts:
    """Uses counted on the servers of a bus, each (key, limit, seconds)."""

    def __init__(self, url: str) -> None:
        self._places = places_of(url, ANSWER_SECONDS)

    async def hit(self, uses: Sequence[tuple[str, int, float]], now: float) -> list[float]:
        """0 for each use that was counted, the seconds to wait for each that was one too many. Raises Unavailable."""
        asked = [self._places.eval(HIT, 1, _name_of(key), limit, repr(seconds), f"{now:.6f}") for key, limit, seconds in uses]
        try:
            async with asyncio.timeout(2 * ANSWER_SECONDS):
                return [float(answer) for answer in await asyncio.gather(*asked)]
        except (RedisError, OSError, TimeoutError) as failure:
            raise Unavailable("Redis does not answer.") from failure

    async def close(self) -> None:
        await self._places.aclose()


def _name_of(key: str) -> str:
    """Keys hold emails and addresses of any length; what Redis keeps is their hash."""
    return f"limit:{sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
