"""The bus of a node on Redis: a lane that sends and a doorbell that hears at each server, the stream for what was not heard."""

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, TypeVar

import structlog
from redis.exceptions import RedisError, ResponseError

from secureconnect.bus import Acknowledge, Backlog, BusFigures, Deliver
from secureconnect.bus.redis.barrier import Barrier
from secureconnect.bus.redis.doorbell import Doorbell
from secureconnect.bus.redis.lane import FIRST_PAUSE, LONGEST_PAUSE, Lane
from secureconnect.bus.redis.places import COMMAND_SECONDS, places_of
from secureconnect.bus.redis.scripts import READ
from secureconnect.bus.redis.subscription import Subscription
from secureconnect.bus.redis.tally import Tally
from secureconnect.bus.redis.topics import Pending, Stored, channel_of, entries_from_channel, keys_of, stored_from
from secureconnect.clock import Clock
from secureconnect.errors import Unavailable
from secureconnect.ops.loops import keep_running, note_failure

T = TypeVar("T")
log = structlog.get_logger(__name__)

QUEUE_ENTRIES = 20_000
"""Entries that may wait while Redis is away: 60 s of 300 a second, some 20 MB. More are refused, which their senders are told."""
QUEUE_BYTES = 64 * 1024 * 1024
"""The bytes of their bodies."""
TOPIC_QUEUE_BYTES = 4 * 1024 * 1024
"""The same of one topic: a call whose participants send all they may does not use up what others need."""
WATCH_SECONDS = 2.0
READS = 32
"""Logs read at once: after a reconnect every topic is, and each read takes a connection."""


class RedisBus:
    """Topics on one Redis, on a cluster's masters, or on the master that sentinels name.

    `publisher` names this node to the script; it must be unique. Raises ValueError for a URL that says no such thing.
    """

    def __init__(self, url: str, clock: Clock, publisher: str) -> None:
        self._clock = clock
        self._publisher = publisher
        self._places = places_of(url)
        self._barrier = Barrier()
        self._tally = Tally()
        self._lanes: dict[str, Lane] = {}
        self._doorbells: dict[str, Doorbell] = {}
        self._loops: dict[str, list[asyncio.Task[None]]] = {}
        self._homeless: list[Pending] = []
        self._homeless_since = 0.0
        self._subscriptions: dict[bytes, Subscription] = {}
        self._uneasy = asyncio.Event()
        self._reads = asyncio.Semaphore(READS)
        self._waiting = 0
        self._waiting_bytes = 0
        self._waiting_of: dict[str, int] = {}
        self._sent = asyncio.Event()
        self._sent.set()
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()

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
        size = len(body)
        of_topic = self._waiting_of.get(topic, 0) + size
        if self._waiting >= QUEUE_ENTRIES or of_topic > TOPIC_QUEUE_BYTES or self._waiting_bytes + size > QUEUE_BYTES:
            self._tally.refused += 1
            return False
        self._number += 1
        entry = Pending(self._number, topic, body, sender, target, retain, acknowledge)
        self._await(entry)
        self._put(entry)
        return True

    def _await(self, entry: Pending) -> None:
        """Count an entry that is to arrive."""
        size = len(entry.body)
        self._waiting += 1
        self._waiting_bytes += size
        self._waiting_of[entry.topic] = self._waiting_of.get(entry.topic, 0) + size
        self._sent.clear()

    async def subscribe(self, topic: str, deliver: Deliver) -> None:
        channel = channel_of(topic)
        subscription = self._subscriptions[channel] = Subscription(topic, deliver)
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                await self._listen(channel, subscription)
                await subscription.confirmed.wait()
            subscription.last = (await self.read(topic)).head
            subscription.begun = True
            await self._catch_up(channel, subscription)
        except BaseException as failure:
            # Nobody will unsubscribe what was never subscribed.
            await asyncio.shield(self._spawn(self.unsubscribe(topic)))
            if isinstance(failure, TimeoutError):
                raise Unavailable("Redis does not answer.") from None
            raise

    async def unsubscribe(self, topic: str) -> None:
        channel = channel_of(topic)
        subscription = self._subscriptions.pop(channel, None)
        if subscription is not None and subscription.place in self._doorbells:
            await self._doorbells[subscription.place].remove(channel)

    def position(self, topic: str) -> int:
        return self._subscriptions[channel_of(topic)].last

    async def read(self, topic: str, after: int | None = None) -> Backlog:
        stored = await self._read(topic, after)
        complete = after is not None and stored.head > 0 and stored.oldest <= after <= stored.head
        return Backlog(stored.head, stored.entries if complete else None, stored.retained, stored.entries)

    async def ping(self) -> None:
        await _within(self._places.ping(self._publisher))

    async def run(self) -> None:
        """Until cancelled: send what is published, hear what others publish, go along when topics move to other servers."""
        async with asyncio.TaskGroup() as group:
            self._loops = {name: self._begin(group, name) for name in self._lanes}
            group.create_task(keep_running("bus_watch", self._watch, self._clock.sleep))
            pause = FIRST_PAUSE
            self._uneasy.set()
            while True:
                await self._uneasy.wait()
                self._uneasy.clear()
                settled = await self._go_along(group)
                pause = FIRST_PAUSE if settled else min(LONGEST_PAUSE, pause * 2)
                await self._clock.sleep(pause)
                if not settled or any(one.is_waiting for one in self._doorbells.values()):
                    self._uneasy.set()

    async def flush(self) -> None:
        await self._sent.wait()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for name in self._lanes:
            await self._lanes[name].close()
            await self._doorbells[name].close()
        await self._places.aclose()

    def figures(self) -> BusFigures:
        homeless = self._clock.monotonic() - self._homeless_since if self._homeless else 0.0
        lag = max([lane.lag for lane in self._lanes.values()], default=homeless)
        tally = self._tally
        return BusFigures(
            *(self._waiting, max(lag, homeless), self._number, tally.refused, tally.failed, tally.lost, tally.gaps),
            waiting_bytes=self._waiting_bytes,
            waiting_max_bytes=QUEUE_BYTES,
        )

    def _put(self, one: Pending) -> None:
        lane = self._lanes.get(self._places.of(one.topic))
        if lane is None:
            self._homeless_since = self._homeless_since if self._homeless else self._clock.monotonic()
            self._homeless.append(one)
        else:
            lane.put(one)

    def _settled(self, arrived: Sequence[Pending]) -> None:
        self._waiting -= len(arrived)
        for entry in arrived:
            self._waiting_bytes -= len(entry.body)
            left = self._waiting_of.get(entry.topic, 0) - len(entry.body)
            if left > 0:
                self._waiting_of[entry.topic] = left
            else:
                self._waiting_of.pop(entry.topic, None)
        if not self._waiting:
            self._sent.set()

    async def _go_along(self, group: asyncio.TaskGroup) -> bool:
        """Look where topics live; where that has changed, move what waits and what listens. False when nobody knows."""
        try:
            moved = await self._places.refresh()
        except (RedisError, OSError, TimeoutError) as failure:
            log.warning("bus looks for redis again soon", error=type(failure).__name__)
            return False
        if moved or not self._lanes:
            async with self._barrier.alone():
                self._places.adopt()
                self._open(group)
                self._deal()
            await self._move_subscriptions()
            await self._abandon()
        for doorbell in self._doorbells.values():
            await doorbell.repeat()
        return True

    async def _watch(self) -> None:
        """Until cancelled: replace connections to a server that is not the master at its address any more.

        A master that becomes a replica keeps its connections. Who only listens there hears no more, and nothing fails.
        """
        while True:
            await self._clock.sleep(WATCH_SECONDS)
            for name in list(self._lanes):
                try:
                    server = await _within(self._places.identify(name))
                except Unavailable:
                    continue
                lane, doorbell = self._lanes.get(name), self._doorbells.get(name)
                if lane is None or doorbell is None:
                    continue
                if server.is_master and {lane.server, doorbell.server} <= {"", server.run_id}:
                    continue
                log.warning("redis has another master, connecting again")
                await self._places.reset()
                await doorbell.close()
                await lane.close()

    def _open(self, group: asyncio.TaskGroup) -> None:
        """A lane and a doorbell for every place that has none."""
        for name in self._places.names():
            if name in self._lanes:
                continue
            self._lanes[name] = Lane(
                self._places.connection(name),
                self._publisher,
                self._clock,
                self._barrier,
                self._tally,
                settled=self._settled,
                uneasy=self._uneasy.set,
                elsewhere=self._places.eval,
            )
            self._doorbells[name] = Doorbell(
                self._places.connection(name),
                self._clock,
                self._tally,
                heard=self._heard,
                confirmed=self._confirmed,
                uneasy=self._uneasy.set,
            )
            self._loops[name] = self._begin(group, name)

    def _begin(self, group: asyncio.TaskGroup, name: str) -> list[asyncio.Task[None]]:
        """Send to a place, and hear from it."""
        runs = {"bus_sender": self._lanes[name].run, "bus_listener": self._doorbells[name].run}
        return [group.create_task(keep_running(loop, run, self._clock.sleep)) for loop, run in runs.items()]

    def _deal(self) -> None:
        """Everything that waits goes to the lane of its topic, in the order in which it was published."""
        waiting, self._homeless = self._homeless, []
        names = self._places.names()
        for name, lane in self._lanes.items():
            if name not in names:
                recent = lane.take_recent()
                for entry in recent:
                    self._await(entry)
                waiting += recent
            waiting += lane.take_all()
        for one in sorted(waiting, key=lambda pending: pending.number):
            self._put(one)

    async def _move_subscriptions(self) -> None:
        for channel, subscription in list(self._subscriptions.items()):
            if self._places.of(subscription.topic) == subscription.place:
                continue
            if subscription.place in self._doorbells:
                await self._doorbells[subscription.place].remove(channel)
            if self._subscriptions.get(channel) is subscription:
                await self._listen(channel, subscription)

    async def _abandon(self) -> None:
        """Let go of the places where nothing lives any more."""
        for name in self._lanes.keys() - set(self._places.names()):
            for loop in self._loops.pop(name):
                loop.cancel()
            await self._lanes.pop(name).close()
            await self._doorbells.pop(name).close()

    async def _listen(self, channel: bytes, subscription: Subscription) -> None:
        subscription.place = self._places.of(subscription.topic)
        doorbell = self._doorbells.get(subscription.place)
        if doorbell is None:
            subscription.place = ""  # the next look at the places finds it one
        else:
            await doorbell.add(channel)

    def _confirmed(self, channel: bytes) -> None:
        """The first confirmation, or a new one after a reconnect: what was published in between is in the stream."""
        subscription = self._subscriptions.get(channel)
        if subscription is None:
            return
        subscription.confirmed.set()
        if subscription.begun:
            subscription.hold()
            self._spawn(self._catch_up(channel, subscription))

    def _heard(self, channel: bytes, message: bytes) -> None:
        subscription = self._subscriptions.get(channel)
        if subscription is None:
            return
        complete = True
        for entry in entries_from_channel(message):
            complete = subscription.hear(entry) and complete
        if not complete:
            self._tally.gaps += 1
            self._spawn(self._catch_up(channel, subscription))

    async def _catch_up(self, channel: bytes, subscription: Subscription) -> None:
        """Read from the stream what a subscription has not heard, until nothing is missing or it is no longer the topic's own."""
        while self._subscriptions.get(channel) is subscription:
            try:
                stored = await self._read(subscription.topic, subscription.last)
            except Unavailable:
                await self._clock.sleep(FIRST_PAUSE)
                continue
            except Exception as failure:  # whatever it is, a topic must not stay unheard
                note_failure("bus_reader", failure)
                await self._clock.sleep(LONGEST_PAUSE)
                continue
            if stored.oldest > subscription.last > 0:
                kind, _, name = subscription.topic.partition(":")
                log.warning("the log does not reach back", after=subscription.last, oldest=stored.oldest, **{kind: name[-8:]})
            if subscription.catch_up(stored.entries):
                return
            if not stored.entries:  # Redis has forgotten what it just told; the next entry goes on
                await self._clock.sleep(FIRST_PAUSE)

    async def _read(self, topic: str, after: int | None) -> Stored:
        asked = "" if after is None else str(after)
        async with self._reads:
            answer: Any = await _within(self._places.eval(READ, 3, *keys_of(topic)[:3], asked))
        return stored_from(answer)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _within(work: Awaitable[T]) -> T:
    """`work`, or Unavailable when Redis does not do it."""
    try:
        return await work
    except (RedisError, OSError, TimeoutError) as failure:
        if isinstance(failure, ResponseError):
            raise Unavailable(f"Redis refuses: {str(failure)[:100]}") from failure
        raise Unavailable("Redis does not answer.") from failure
