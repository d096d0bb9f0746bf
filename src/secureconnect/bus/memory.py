"""The bus of one process. Same promises as between nodes, with nothing installed."""

import asyncio
from collections import OrderedDict, deque

from secureconnect.bus import Acknowledge, Backlog, BusFigures, Deliver, Entry
from secureconnect.clock import Clock, unix_microseconds

LOG_ENTRIES = 1024
"""Entries kept for those who come back. The busiest 30 s of a normal call (four people renegotiate, 200 frames) fit five times."""
LOG_BYTES = 4 * 1024 * 1024
IDLE_SECONDS = 600.0
"""How long a topic without subscribers keeps its log. Longer than any grace, short enough that ended calls do not pile up."""


class _Topic:
    __slots__ = ("deliver", "entries", "idle_since", "oldest", "retained", "seq", "size")

    def __init__(self, start: int) -> None:
        self.seq = start
        self.oldest = start  # entries after this seq are all here
        self.entries: deque[Entry] = deque()
        self.size = 0
        self.retained: dict[str, bytes] = {}
        self.deliver: Deliver | None = None
        self.idle_since = 0.0

    def append(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.size += len(entry.body)
        while len(self.entries) > LOG_ENTRIES or self.size > LOG_BYTES:
            dropped = self.entries.popleft()
            self.size -= len(dropped.body)
            self.oldest = dropped.seq


class MemoryBus:
    """Topics in a dictionary; publishing delivers before it returns."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._topics: dict[str, _Topic] = {}
        self._idle: OrderedDict[str, None] = OrderedDict()
        self._published = 0

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
        log = self._topics.get(topic) or self._create(topic)
        log.seq += 1
        self._published += 1
        entry = Entry(log.seq, sender, target, body)
        log.append(entry)
        if retain is not None:
            key, value = retain
            if value is None:
                log.retained.pop(key, None)
            else:
                log.retained[key] = value
        if acknowledge is not None:
            acknowledge(entry.seq)
        if log.deliver is not None:
            log.deliver(entry)
        return True

    async def subscribe(self, topic: str, deliver: Deliver) -> None:
        log = self._topics.get(topic) or self._create(topic)
        log.deliver = deliver
        self._idle.pop(topic, None)

    async def unsubscribe(self, topic: str) -> None:
        log = self._topics.get(topic)
        if log is not None:
            log.deliver = None
            self._rest(topic, log)

    async def read(self, topic: str, after: int | None = None) -> Backlog:
        log = self._topics.get(topic) or self._create(topic)
        entries = None
        if after is not None and log.oldest <= after <= log.seq:
            entries = [entry for entry in log.entries if entry.seq > after]
        return Backlog(log.seq, entries, dict(log.retained))

    async def run(self) -> None:
        """Nothing to do: publishing delivers."""
        await asyncio.Event().wait()

    async def ping(self) -> None:
        return

    async def flush(self) -> None:
        """Nothing waits: publishing appends."""

    async def close(self) -> None:
        self._topics.clear()
        self._idle.clear()

    def figures(self) -> BusFigures:
        """Nothing waits and nothing is lost."""
        return BusFigures(published=self._published)

    def _create(self, topic: str) -> _Topic:
        """Start a topic at the present time in microseconds: a log that is made again, after a restart or a rest, goes on above the
        seqs it gave before, and 2^53 (what JavaScript counts exactly) is not reached before the year 2255.
        """
        self._forget_the_rested()
        log = self._topics[topic] = _Topic(unix_microseconds(self._clock.now()))
        self._rest(topic, log)
        return log

    def _rest(self, topic: str, log: _Topic) -> None:
        log.idle_since = self._clock.monotonic()
        self._idle[topic] = None
        self._idle.move_to_end(topic)

    def _forget_the_rested(self) -> None:
        """Forget up to two topics for each new one: the work is spread and the number stays bounded."""
        limit = self._clock.monotonic() - IDLE_SECONDS
        for _ in range(2):
            topic = next(iter(self._idle), None)
            if topic is None or self._topics[topic].idle_since > limit:
                return
            del self._idle[topic], self._topics[topic]
