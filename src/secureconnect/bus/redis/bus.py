"""The bus of a node on one Redis: one writer that sends what is published, one listener, and reads where something is missing."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Coroutine, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar, cast

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from secureconnect.bus import Acknowledge, Backlog, BusFigures, Deliver
from secureconnect.bus.redis.doorbell import Doorbell
from secureconnect.bus.redis.scripts import APPEND, CALL_SECONDS, LOG_ENTRIES, LOG_SECONDS, READ
from secureconnect.bus.redis.subscription import Subscription
from secureconnect.bus.redis.topics import Stored, channel_of, entry_from_channel, keys_of, stored_from, topic_of
from secureconnect.clock import Clock
from secureconnect.errors import Unavailable

T = TypeVar("T")
log = structlog.get_logger(__name__)

QUEUE_ENTRIES = 20_000
"""Entries that may wait while Redis is away: 60 s of 300 a second, some 20 MB. More are refused, which their senders are told."""
BATCH = 128
"""Publishes sent as one pipeline. One by one each costs 51 µs of our CPU, in batches of a hundred 10."""
COMMAND_SECONDS = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between attempts to reach a Redis that is away."""


class Pending(NamedTuple):
    number: int
    topic: str
    body: bytes
    sender: str
    target: str
    retain: tuple[str, bytes | None] | None
    acknowledge: Acknowledge | None


class RedisBus:
    """Topics on one Redis. `publisher` names this node to the script; it must be unique."""

    def __init__(self, url: str, clock: Clock, publisher: str) -> None:
        self._clock = clock
        self._publisher = publisher
        retry = Retry(NoBackoff(), 0)
        self._commands: Redis = Redis.from_url(url, socket_timeout=COMMAND_SECONDS, retry=retry, protocol=3)
        # A reader that waits for hours must not be cut by the time a command may take.
        self._listener: Redis = Redis.from_url(url, socket_timeout=None, health_check_interval=15, retry=retry, protocol=3)
        self._pubsub = Doorbell(self._listener.connection_pool)
        self._subscriptions: dict[str, Subscription] = {}
        self._queue: deque[Pending] = deque()
        self._queued = asyncio.Event()
        self._sent = asyncio.Event()
        self._sent.set()
        self._listening = asyncio.Event()
        self._number = 0
        self._waiting_since = 0.0
        self._refused = self._failed = self._lost = self._gaps = 0
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
            self._refused += 1
            return False
        if not self._queue:
            self._waiting_since = self._clock.monotonic()
        self._number += 1
        self._queue.append(Pending(self._number, topic, body, sender, target, retain, acknowledge))
        self._queued.set()
        self._sent.clear()
        return True

    async def subscribe(self, topic: str, deliver: Deliver) -> None:
        subscription = Subscription(deliver)
        self._subscriptions[topic] = subscription
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                await self._listening.wait()
                await _within(self._pubsub.ssubscribe(channel_of(topic)))
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
                await _within(self._pubsub.sunsubscribe(channel_of(topic)))

    async def read(self, topic: str, after: int | None = None) -> Backlog:
        stored = await self._read(topic, after)
        complete = after is not None and stored.head > 0 and stored.oldest <= after <= stored.head
        return Backlog(stored.head, stored.entries if complete else None, stored.retained)

    async def _read(self, topic: str, after: int | None) -> Stored:
        head_key, log_key, state_key, _ = keys_of(topic)
        asked = "" if after is None else str(after)
        answer: Any = await _within(self._commands.eval(READ, 3, head_key, log_key, state_key, asked))
        return stored_from(answer)

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

    def figures(self) -> BusFigures:
        lag = self._clock.monotonic() - self._waiting_since if self._queue else 0.0
        return BusFigures(len(self._queue), lag, self._number, self._refused, self._failed, self._lost, self._gaps)

    async def _write(self) -> None:
        """One writer, so what one caller publishes keeps its order. A batch is sent until it is known to have arrived."""
        pause = FIRST_PAUSE
        while True:
            await self._queued.wait()
            batch = list(islice(self._queue, BATCH))
            try:
                seqs = await self._append(batch)
            except (RedisError, OSError, TimeoutError) as failure:
                self._failed += 1
                log.warning("bus waits for redis", error=type(failure).__name__, waiting=len(self._queue))
                await self._clock.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
                continue
            pause = FIRST_PAUSE
            self._waiting_since = self._clock.monotonic()
            for pending, seq in zip(batch, seqs, strict=True):
                self._queue.popleft()
                if pending.acknowledge is not None:
                    pending.acknowledge(int(seq))
            if not self._queue:
                self._queued.clear()
                self._sent.set()

    async def _append(self, batch: Sequence[Pending]) -> list[bytes]:
        if not self._sha:
            self._sha = await self._commands.script_load(APPEND)
        # All or none: of a batch that was carried out in part, what failed would be taken for repeated when it is sent again.
        pipeline = self._commands.pipeline(transaction=True)
        for one in batch:
            kept = ("", "", "") if one.retain is None else _retain(*one.retain)
            keys = keys_of(one.topic)
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
                        await self._pubsub.ssubscribe(channel_of(f"node:{self._publisher}"))
                    self._listening.set()
                message = await self._pubsub.get_message(timeout=None)
                pause = FIRST_PAUSE
            except (RedisError, OSError) as failure:
                self._listening.clear()
                self._lost += 1
                log.warning("bus listens again soon", error=type(failure).__name__)
                await self._clock.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
                continue
            if message is not None:
                self._on_message(message)

    def _on_message(self, message: dict[str, Any]) -> None:
        topic = topic_of(message["channel"])
        subscription = self._subscriptions.get(topic)
        if subscription is None:
            return
        if message["type"] == "ssubscribe":
            # The first confirmation, or a new one after a reconnect: what was published in between is in the stream.
            subscription.confirmed.set()
            if subscription.begun:
                subscription.held = subscription.held if subscription.held is not None else []
                self._spawn(self._catch_up(topic, subscription))
        elif message["type"] == "smessage" and not subscription.hear(entry_from_channel(message["data"])):
            self._gaps += 1
            self._spawn(self._catch_up(topic, subscription))

    async def _catch_up(self, topic: str, subscription: Subscription) -> None:
        """Read from the stream what a subscription has not heard, until nothing is missing or it is no longer the topic's own."""
        while self._subscriptions.get(topic) is subscription:
            try:
                stored = await self._read(topic, subscription.last)
            except Unavailable:
                await self._clock.sleep(FIRST_PAUSE)
                continue
            if stored.oldest > subscription.last > 0:
                kind, _, name = topic.partition(":")
                log.warning("the log does not reach back", after=subscription.last, oldest=stored.oldest, **{kind: name[-8:]})
            if subscription.catch_up(stored.entries):
                return

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _retain(key: str, value: bytes | None) -> tuple[str, str, bytes]:
    return ("remove", key, b"") if value is None else ("set", key, value)


async def _within(work: Awaitable[T]) -> T:
    """`work`, or Unavailable when Redis does not do it."""
    try:
        return await work
    except (RedisError, OSError, TimeoutError) as failure:
        raise Unavailable("Redis does not answer.") from failure
