"""The bus of one process. Same promises as between nodes, with nothing installed."""

import asyncio
from collections import OrderedDict, deque

from secureconnect.bus import Acknowledge, Backlog, BusFigures, Deliver, Entry
from secureconnect.bus.bounds import LOG_ENTRIES, bytes_of_log
from secureconnect.clock import Clock, unix_microseconds

ENTRY_BYTES = 100
"""What an entry takes besides its body."""
IDLE_SECONDS = 600.0
"""How long a topic without subscribers keeps its log. Longer than any grace, short enough that ended calls do not pile up."""


class _Topic:
    __slots__ = ("deliver", "entries", "idle_since", "limit", "oldest", "retained", "seq", "size")

    def __init__(self, start: int, limit: int) -> None:
        self.limit = limit
        self.seq = start
        self.oldest = start  # entries after this seq are all here
        self.entries: deque[Entry] = deque()
        self.size = 0
        self.retained: dict[str, bytes] = {}
        self.deliver: Deliver | None = None
        self.idle_since = 0.0

    def append(self, entry: Entry) -> int:
        """Keep an entry, drop the oldest beyond the limits; by how many bytes the log has grown."""
        before = self.size
        self.entries.append(entry)
        self.size += len(entry.body) + ENTRY_BYTES
        while len(self.entries) > LOG_ENTRIES or self.size > self.limit:
            self._drop()
        return self.size - before

    def shrink(self, size: int) -> int:
        """Drop the oldest entries until no more than `size` bytes are left; how many bytes that freed."""
        before = self.size
        while self.size > size:
            self._drop()
        return before - self.size

    def _drop(self) -> None:
        dropped = self.entries.popleft()
        self.size -= len(dropped.body) + ENTRY_BYTES
        self.oldest = dropped.seq


class MemoryBus:
    """Topics in a dictionary; publishing delivers before it returns.

    Args:
        clock: says how long a topic has had no subscriber.
        log_bytes: what all logs together may keep.
    """

    def __init__(self, clock: Clock, log_bytes: int = 32 * 1024 * 1024) -> None:
        self._clock = clock
        self._log_bytes = log_bytes
        self._held = 0
        self._dropped = 0
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
        self._held += log.append(entry)
        if self._held > self._log_bytes:
            self._make_room()
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

    def position(self, topic: str) -> int:
        return self._topics[topic].seq

    async def read(self, topic: str, after: int | None = None) -> Backlog:
        log = self._topics.get(topic) or self._create(topic)
        kept = [entry for entry in log.entries if entry.seq > after] if after is not None else []
        complete = after is not None and log.oldest <= after <= log.seq
        return Backlog(log.seq, kept if complete else None, dict(log.retained), kept)

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
        self._held = 0

    def figures(self) -> BusFigures:
        """Nothing waits and nothing is lost."""
        return BusFigures(
            published=self._published,
            topics=len(self._topics),
            log_bytes=self._held,
            log_max_bytes=self._log_bytes,
            cut=self._dropped,
        )

    def _create(self, topic: str) -> _Topic:
        """Start a topic at the present time in microseconds: a log that is made again, after a restart or a rest, goes on above the
        seqs it gave before, and 2^53 (what JavaScript counts exactly) is not reached before the year 2255.
        """
        self._forget_the_rested()
        log = self._topics[topic] = _Topic(unix_microseconds(self._clock.now()), bytes_of_log(topic))
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
            self._held -= self._topics[topic].size
            del self._idle[topic], self._topics[topic]

    def _make_room(self) -> None:
        """Drop what is kept of topics without subscribers, the longest without first; then half of the largest logs.

        An eighth more than needed: the next entries fit without another look. Seqs and retained state stay.
        """
        wanted = self._log_bytes * 7 // 8
        active = [log for topic, log in self._topics.items() if topic not in self._idle]
        active.sort(key=lambda log: log.size, reverse=True)
        cuts = [(self._topics[topic], 0) for topic in self._idle] + [(log, log.size // 2) for log in active]
        for log, size in cuts:
            if self._held <= wanted:
                return
            if log.size > size:
                self._dropped += 1
                self._held -= log.shrink(size)
