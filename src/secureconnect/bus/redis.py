"""The bus between nodes, on Redis 7: one atomic script a publish, sharded pub/sub as the doorbell, the stream as the truth.

A topic is four keys that share a hash tag, so Redis Cluster keeps them together: `{topic}:head` (the last seq, and the last number
of each publisher), `{topic}:log` (a capped stream whose ids are the seqs), `{topic}:state` (retained), and the channel `{topic}`.
Seqs are consecutive, so a subscriber knows what it has not heard and reads it from the stream: after a gap, after any reconnect.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Coroutine, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar, cast

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError

from secureconnect.bus import Acknowledge, Backlog, Deliver, Entry
from secureconnect.clock import Clock
from secureconnect.errors import Unavailable

T = TypeVar("T")
log = structlog.get_logger(__name__)

LOG_ENTRIES = 1024
LOG_SECONDS = 900
"""How long a log outlives its last entry: longer than any grace, short enough that ended calls do not pile up."""
CALL_SECONDS = 90_000
"""The same for the head and the retained state of a call: a call may be silent for all its life of a day (`calls.call.LIFE`), and
whoever comes back must find what was said of it. A call that is over has no state, and its head is small.
"""
QUEUE_ENTRIES = 20_000
"""Entries that may wait while Redis is away: 60 s of 300 a second, some 20 MB. More are refused, which their senders are told."""
BATCH = 128
"""Publishes sent as one pipeline. One by one each costs 51 µs of our CPU, in batches of a hundred 10."""
COMMAND_SECONDS = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between attempts to reach a Redis that is away."""

APPEND = """
local head, log, state, channel = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local publisher, number, sender, target, body = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local mark = redis.call('HGET', head, publisher)
if mark then
    local last, seq = string.match(mark, '(%d+) (%d+)')
    if tonumber(number) <= tonumber(last) then return seq end
end
local seq
if redis.call('HEXISTS', head, 'seq') == 1 then
    seq = string.format('%.0f', redis.call('HINCRBY', head, 'seq', 1))
else
    local now = redis.call('TIME')
    seq = string.format('%.0f', now[1] * 1000000 + now[2])
    redis.call('HSET', head, 'seq', seq)
end
redis.call('HSET', head, publisher, number .. ' ' .. seq)
redis.call('XADD', log, 'MAXLEN', '~', ARGV[6], seq .. '-0', 's', sender, 't', target, 'b', body)
if ARGV[8] == 'set' then redis.call('HSET', state, ARGV[9], ARGV[10])
elseif ARGV[8] == 'remove' then redis.call('HDEL', state, ARGV[9]) end
redis.call('EXPIRE', log, ARGV[7])
for _, key in ipairs({head, state}) do redis.call('EXPIRE', key, ARGV[11]) end
redis.call('SPUBLISH', channel, seq .. ' ' .. sender .. ' ' .. target .. ' ' .. body)
return seq
"""
"""A publisher that does not know whether its last batch arrived sends it again; its numbers tell the script what it has seen."""

READ = """
local seq = redis.call('HGET', KEYS[1], 'seq')
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)
local entries = {}
if ARGV[1] ~= '' then entries = redis.call('XRANGE', KEYS[2], '(' .. ARGV[1] .. '-0', '+') end
return {seq or '0', first[1] and first[1][1] or '', entries, redis.call('HGETALL', KEYS[3])}
"""


class _Pending(NamedTuple):
    number: int
    topic: str
    body: bytes
    sender: str
    target: str
    retain: tuple[str, bytes | None] | None
    acknowledge: Acknowledge | None


class _Stored(NamedTuple):
    """What Redis has of a topic: the last seq, the seq before the oldest entry, the entries asked for, the retained state."""

    head: int
    oldest: int
    entries: list[Entry]
    retained: dict[str, bytes]


class _Subscription:
    """One topic that somebody here listens to, heard up to `last`. While it begins or catches up, what arrives waits in `held`."""

    def __init__(self, deliver: Deliver) -> None:
        self.deliver = deliver
        self.last = 0
        self.begun = False
        self.held: list[Entry] | None = []
        self.confirmed = asyncio.Event()

    def hear(self, entry: Entry) -> bool:
        """Take the next entry; False when those before it are missing."""
        if self.held is not None:
            self.held.append(entry)
        elif entry.seq == self.last + 1 or self.last == 0:
            self.last = entry.seq
            self.deliver(entry)
        elif entry.seq > self.last:
            self.held = [entry]
            return False
        return True

    def catch_up(self, missed: Sequence[Entry]) -> bool:
        """Deliver what was missed, then what was held; False when something is missing even so."""
        held, self.held = self.held or [], None
        for entry in missed:
            if entry.seq > self.last:
                self.last = entry.seq
                self.deliver(entry)
        complete = True
        for entry in held:
            complete = self.hear(entry) and complete
        return complete


class _Doorbell(PubSub):
    """The connection that hears. Only its listener makes it anew.

    The library lets whoever finds it broken do so, and two who do it at once read each other's answers. Here everybody else is told
    that it is broken.
    """

    listener: "asyncio.Task[Any] | None" = None

    async def connect(self) -> None:
        connection: Any = self.connection
        broken = connection is None or not connection.is_connected
        if broken and asyncio.current_task() is not self.listener:
            raise RedisConnectionError("The listener is about to connect.")
        await super().connect()  # type: ignore[no-untyped-call]

    async def _reconnect(self, conn: Any, *_: Any) -> None:
        await conn.disconnect()


class RedisBus:
    """Topics on one Redis. `publisher` names this node to the script; it must be unique."""

    def __init__(self, url: str, clock: Clock, publisher: str) -> None:
        self._clock = clock
        self._publisher = publisher
        retry = Retry(NoBackoff(), 0)
        self._commands: Redis = Redis.from_url(url, socket_timeout=COMMAND_SECONDS, retry=retry, protocol=3)
        # A reader that waits for hours must not be cut by the time a command may take.
        self._listener: Redis = Redis.from_url(url, socket_timeout=None, health_check_interval=15, retry=retry, protocol=3)
        self._pubsub = _Doorbell(self._listener.connection_pool)
        self._subscriptions: dict[str, _Subscription] = {}
        self._queue: deque[_Pending] = deque()
        self._queued = asyncio.Event()
        self._sent = asyncio.Event()
        self._sent.set()
        self._listening = asyncio.Event()
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._sha = ""

    def publish(
        self,
        topic: str,
        body: bytes,
        *,
        sender: str = "",
        target: str = "",
        retain: tuple[str, bytes | None] | None = None,
        acknowledge: Acknowledge | None = None,
    ) -> bool:
        if len(self._queue) >= QUEUE_ENTRIES:
            return False
        self._number += 1
        self._queue.append(_Pending(self._number, topic, body, sender, target, retain, acknowledge))
        self._queued.set()
        self._sent.clear()
        return True

    async def subscribe(self, topic: str, deliver: Deliver) -> None:
        subscription = _Subscription(deliver)
        self._subscriptions[topic] = subscription
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                await self._listening.wait()
                await _within(self._pubsub.ssubscribe(_channel(topic)))
                await subscription.confirmed.wait()
            subscription.last = (await self.read(topic)).head
            subscription.begun = True
            await self._catch_up(topic, subscription)
        except BaseException as failure:
            # Nobody will unsubscribe what was never subscribed.
            await asyncio.shield(self._spawn(self.unsubscribe(topic)))
            if isinstance(failure, TimeoutError):
                raise Unavailable("Redis does not answer.") from None
            raise

    async def unsubscribe(self, topic: str) -> None:
        if self._subscriptions.pop(topic, None) is not None:
            with contextlib.suppress(Unavailable):  # a connection that is gone listens to nothing
                await _within(self._pubsub.sunsubscribe(_channel(topic)))

    async def read(self, topic: str, after: int | None = None) -> Backlog:
        stored = await self._read(topic, after)
        complete = after is not None and stored.head > 0 and stored.oldest <= after <= stored.head
        return Backlog(stored.head, stored.entries if complete else None, stored.retained)

    async def _read(self, topic: str, after: int | None) -> _Stored:
        head_key, log_key, state_key, _ = _keys(topic)
        asked = "" if after is None else str(after)
        answer: Any = await _within(self._commands.eval(READ, 3, head_key, log_key, state_key, asked))
        seq, first, raw_entries, raw_state = answer
        head = int(seq)
        oldest = int(first.partition(b"-")[0]) - 1 if first else head
        entries = [_from_stream(one) for one in raw_entries]
        keys = iter(raw_state if isinstance(raw_state, list) else [item for pair in raw_state.items() for item in pair])
        return _Stored(head, oldest, entries, {key.decode(): value for key, value in zip(keys, keys, strict=True)})

    async def ping(self) -> None:
        await _within(cast("Awaitable[Any]", self._commands.ping()))

    async def run(self) -> None:
        """Until cancelled: send what is published, hear what others publish."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write())
            group.create_task(self._listen())

    async def flush(self) -> None:
        await self._sent.wait()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]
        await self._listener.aclose()
        await self._commands.aclose()

    async def _write(self) -> None:
        """One writer, so what one caller publishes keeps its order. A batch is sent until it is known to have arrived."""
        pause = FIRST_PAUSE
        while True:
            await self._queued.wait()
            batch = list(islice(self._queue, BATCH))
            try:
                seqs = await self._append(batch)
            except (RedisError, OSError, TimeoutError) as failure:
                log.warning("bus waits for redis", error=type(failure).__name__, waiting=len(self._queue))
                await self._clock.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
                continue
            pause = FIRST_PAUSE
            for pending, seq in zip(batch, seqs, strict=True):
                self._queue.popleft()
                if pending.acknowledge is not None:
                    pending.acknowledge(int(seq))
            if not self._queue:
                self._queued.clear()
                self._sent.set()

    async def _append(self, batch: Sequence[_Pending]) -> list[bytes]:
        if not self._sha:
            self._sha = await self._commands.script_load(APPEND)
        # All or none: of a batch that was carried out in part, what failed would be taken for repeated when it is sent again.
        pipeline = self._commands.pipeline(transaction=True)
        for one in batch:
            kept = ("", "", "") if one.retain is None else _retain(*one.retain)
            keys = _keys(one.topic)
            keep = CALL_SECONDS if one.topic.startswith("call:") else LOG_SECONDS
            values = (self._publisher, one.number, one.sender, one.target, one.body, LOG_ENTRIES, LOG_SECONDS, *kept, keep)
            pipeline.evalsha(self._sha, len(keys), *keys, *values)
        try:
            seqs: list[bytes] = await pipeline.execute()
        except NoScriptError:
            self._sha = ""  # a Redis that has restarted knows no scripts
            raise
        return seqs

    async def _listen(self) -> None:
        pause = FIRST_PAUSE
        self._pubsub.listener = asyncio.current_task()
        while True:
            try:
                if not self._listening.is_set():
                    await self._pubsub.connect()
                    if not self._pubsub.subscribed:
                        # Its own channel keeps the connection in subscriber mode when nobody here listens to anything.
                        await self._pubsub.ssubscribe(_channel(f"node:{self._publisher}"))
                    self._listening.set()
                message = await self._pubsub.get_message(timeout=None)
                pause = FIRST_PAUSE
            except (RedisError, OSError) as failure:
                self._listening.clear()
                log.warning("bus listens again soon", error=type(failure).__name__)
                await self._clock.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
                continue
            if message is not None:
                self._on_message(message)

    def _on_message(self, message: dict[str, Any]) -> None:
        topic = _topic(message["channel"])
        subscription = self._subscriptions.get(topic)
        if subscription is None:
            return
        if message["type"] == "ssubscribe":
            # The first confirmation, or a new one after a reconnect: what was published in between is in the stream.
            subscription.confirmed.set()
            if subscription.begun:
                subscription.held = subscription.held if subscription.held is not None else []
                self._spawn(self._catch_up(topic, subscription))
        elif message["type"] == "smessage" and not subscription.hear(_from_channel(message["data"])):
            self._spawn(self._catch_up(topic, subscription))

    async def _catch_up(self, topic: str, subscription: _Subscription) -> None:
        """Read from the stream what a subscription has not heard, until nothing is missing or it is no longer the topic's own."""
        while self._subscriptions.get(topic) is subscription:
            try:
                stored = await self._read(topic, subscription.last)
            except Unavailable:
                await self._clock.sleep(FIRST_PAUSE)
                continue
            if stored.oldest > subscription.last > 0:
                log.warning("the log does not reach back", topic=topic, after=subscription.last, oldest=stored.oldest)
            if subscription.catch_up(stored.entries):
                return

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _channel(topic: str) -> str:
    return "{" + topic + "}"


def _topic(channel: bytes) -> str:
    return channel.decode()[1:-1]


def _keys(topic: str) -> tuple[str, str, str, str]:
    tag = _channel(topic)
    return f"{tag}:head", f"{tag}:log", f"{tag}:state", tag


def _retain(key: str, value: bytes | None) -> tuple[str, str, bytes]:
    return ("remove", key, b"") if value is None else ("set", key, value)


def _from_stream(raw: Any) -> Entry:
    identifier, fields = raw
    _, sender, _, target, _, body = fields
    return Entry(int(identifier.partition(b"-")[0]), sender.decode(), target.decode(), body)


def _from_channel(data: bytes) -> Entry:
    seq, sender, target, body = data.split(b" ", 3)
    return Entry(int(seq), sender.decode(), target.decode(), body)


async def _within(work: Awaitable[T]) -> T:
    """`work`, or Unavailable when Redis does not do it."""
    try:
        return await work
    except (RedisError, OSError, TimeoutError) as failure:
        raise Unavailable("Redis does not answer.") from failure
