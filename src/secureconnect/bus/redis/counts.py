"""Counts that all nodes share, for rate limits: the sliding window of ops.window as one script. Made by `bus.open_counts`.

One script counts all uses of a request, or none of them. It keeps one short string a key and forgets it after two periods; what is
refused writes nothing. All keys have one hash tag: a script of a cluster sees one slot, and a request counts for its caller and for
those it reaches. A Redis that is slow or away is given up soon, because a request waits for it.
"""

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from redis.exceptions import RedisError

from secureconnect.bus.redis.places import places_of
from secureconnect.errors import Unavailable

ANSWER_SECONDS = 0.25
MAX_COUNTS = 256
"""Uses of one request: a ring of 100 people counts two for each of them. Bounds what one script costs."""

_READ = """
local now = tonumber(ARGV[1])
local kept = redis.call('MGET', unpack(KEYS))
local function read(at)
    local seconds = tonumber(ARGV[2 * at + 1])
    local period = math.floor(now / seconds)
    local passed = now / seconds - period
    local known, count, last = string.match(kept[at] or '', '^(%d+) (%d+) (%d+)$')
    known, count, last = tonumber(known or -1), tonumber(count or 0), tonumber(last or 0)
    if known > period then
        period, passed = known, 0
    elseif known < period then
        last = known == period - 1 and count or 0
        count = 0
    end
    return period, passed, count, last, seconds
end
local function write(at, period, count, last, seconds)
    local value = string.format('%.0f %.0f %.0f', period, count, last)
    redis.call('SET', KEYS[at], value, 'EX', math.ceil(seconds * 2))
end
"""
"""A node whose clock is behind counts into the period that another has begun."""

HIT = (
    _READ
    + """
local found = {}
for at = 1, #KEYS do
    local limit = tonumber(ARGV[2 * at])
    local period, passed, count, last, seconds = read(at)
    if last * (1 - passed) + count + 1 > limit + 1e-6 then
        local wait
        if count < limit then
            wait = math.max(0, 1 - (limit - 1 - count) / last) - passed
        else
            wait = 1 - passed + math.max(0, 1 - (limit - 1) / count)
        end
        return {at, string.format('%.6f', wait * seconds)}
    end
    found[at] = {period, count + 1, last, seconds}
end
for at, one in ipairs(found) do write(at, unpack(one)) end
return {0, '0'}
"""
)

TAKE_BACK = (
    _READ
    + """
for at = 1, #KEYS do
    local period, passed, count, last, seconds = read(at)
    if kept[at] and count > 0 then write(at, period, count - 1, last, seconds) end
end
return 0
"""
)

Counted = Sequence[tuple[str, int, float]]
"""Each use as (key, limit, seconds)."""


class RedisCounts:
    """Uses counted on the servers of a bus."""

    def __init__(self, url: str) -> None:
        self._places = places_of(url, ANSWER_SECONDS)

    async def hit(self, counts: Counted, now: float) -> tuple[int, float] | None:
        """Count all at `now` (Unix time, seconds) and return None; or count nothing.

        Then returns the index of the first that is one too many, and the seconds to wait. Raises Unavailable.
        """
        at, wait = await self._run(HIT, counts, now)
        return (int(at) - 1, float(wait)) if int(at) else None

    async def take_back(self, counts: Counted, now: float) -> None:
        """Count one less for each. Raises Unavailable."""
        if counts:
            await self._run(TAKE_BACK, counts, now)

    async def close(self) -> None:
        await self._places.aclose()

    async def _run(self, script: str, counts: Counted, now: float) -> Any:
        if len(counts) > MAX_COUNTS:
            raise ValueError(f"a request counts for at most {MAX_COUNTS}")
        keys = [_name_of(key) for key, _, _ in counts]
        numbers = [word for _, limit, seconds in counts for word in (limit, repr(seconds))]
        try:
            async with asyncio.timeout(2 * ANSWER_SECONDS):
                return await self._places.eval(script, len(keys), *keys, f"{now:.6f}", *numbers)
        except (RedisError, OSError, TimeoutError) as failure:
            raise Unavailable("Redis does not answer.") from failure


def _name_of(key: str) -> str:
    """Keys hold emails and addresses of any length; what Redis keeps is their hash."""
    return f"{{limits}}:{sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
