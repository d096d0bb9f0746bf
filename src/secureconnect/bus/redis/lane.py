"""What waits to be published at one server, and the connection that carries it there. One a server; the bus fills and empties it.

One batch is under way at a time, and what failed goes to the front again, so what one caller publishes on a topic keeps its order.
A batch is one call of the script a topic: a topic's entries are appended all or none, and topics do not depend on each other.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Any

import structlog
from hiredis import pack_command
from redis.asyncio.connection import Connection
from redis.exceptions import AskError, NoScriptError, OutOfMemoryError, RedisError, ResponseError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError

from secureconnect.bus.redis.barrier import Barrier
from secureconnect.bus.redis.cancellation import heeding
from secureconnect.bus.redis.places import COMMAND_SECONDS, connect
from secureconnect.bus.redis.scripts import APPEND
from secureconnect.bus.redis.tally import Tally
from secureconnect.bus.redis.topics import Pending, append_arguments
from secureconnect.clock import Clock

log = structlog.get_logger(__name__)

BATCH = 128
"""Entries under way at once: enough to share a round trip, few enough to repeat."""
RECENT_SECONDS = 5.0
"""What arrived this recently is sent again to a server that takes the place of another."""
RECENT_BYTES = 4 * 1024 * 1024
"""The bytes of that which are kept, the newest."""
STAYS = (AskError, TryAgainError, OutOfMemoryError)
"""Refusals of the right server. All others (READONLY, LOADING, MASTERDOWN, MISCONF, NOREPLICAS, CLUSTERDOWN, NOAUTH, …) may come
from one that another has replaced: the address is asked again."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5
"""Seconds between attempts to reach a server that is away."""

Elsewhere = Callable[..., Awaitable[Any]]
"""Runs a script where its keys are by now, as `Places.eval` does."""


class Lane:
    """`settled` is told what is done, `uneasy` that topics may have moved. `publisher` names this node to the script."""

    def __init__(
        self,
        connection: Connection,
        publisher: str,
        clock: Clock,
        barrier: Barrier,
        tally: Tally,
        *,
        settled: Callable[[Sequence[Pending]], None],
        uneasy: Callable[[], None],
        elsewhere: Elsewhere,
    ) -> None:
        self._connection = connection
        self._publisher = publisher
        self._clock = clock
        self._barrier = barrier
        self._tally = tally
        self._settled = settled
        self._uneasy = uneasy
        self._elsewhere = elsewhere
        self._queue: deque[Pending] = deque()
        self._queued = asyncio.Event()
        self._waiting_since = 0.0
        self._recent: deque[tuple[float, Pending]] = deque()
        self._recent_bytes = 0
        self._repeats = False
        self.server = ""
        """The run id of the server that it writes to, empty before the first."""
        self._sha = ""

    @property
    def lag(self) -> float:
        """Seconds since the last arrival while something waits."""
        return self._clock.monotonic() - self._waiting_since if self._queue else 0.0

    def put(self, one: Pending) -> None:
        if not self._queue:
            self._waiting_since = self._clock.monotonic()
        self._queue.append(one)
        self._queued.set()

    def take_all(self) -> list[Pending]:
        """Everything that waits, for another lane. Only behind the barrier: nothing may be under way."""
        taken = list(self._queue)
        self._queue.clear()
        self._queued.clear()
        return taken

    def take_recent(self) -> list[Pending]:
        """What arrived lately at a server that is gone: the one in its place may not have it."""
        recent = [entry._replace(acknowledge=None) for _, entry in self._recent]
        self._recent.clear()
        self._recent_bytes = 0
        return recent

    async def run(self) -> None:
        """Until cancelled. An entry is sent until it is known to have arrived."""
        pause = FIRST_PAUSE
        while True:
            await self._queued.wait()
            async with self._barrier.working():
                try:
                    failure = await self._send(list(islice(self._queue, BATCH)))
                except BaseException:
                    await self.close()  # what is still to be read there would be taken for the next answer
                    raise
                if not self._queue:
                    self._queued.clear()
            if failure is None:
                pause = FIRST_PAUSE
                continue
            self._tally.failed += 1
            reason = str(failure)[:200]
            log.warning("bus waits for redis", error=type(failure).__name__, reason=reason, waiting=len(self._queue))
            self._uneasy()
            await self._clock.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)

    async def _send(self, batch: Sequence[Pending]) -> Exception | None:
        """Send a batch; what arrived leaves the queue, what did not stays in front. Returns why something did not."""
        topics: dict[str, list[Pending]] = {}
        for one in batch:
            topics.setdefault(one.topic, []).append(one)
        try:
            answers = await heeding(self._append(topics))
        except (RedisError, OSError, TimeoutError) as broken:
            await self.close()  # an answer that comes late would be taken for the next one's
            return broken
        refusal: Exception | None = None
        arrived: dict[int, int] = {}
        for (topic, entries), first in zip(topics.items(), answers, strict=True):
            answer = await self._follow(topic, entries) if isinstance(first, (AskError, TryAgainError)) else first
            if isinstance(answer, Exception):
                refusal = answer
            else:
                arrived.update((one.number, int(seq)) for one, seq in zip(entries, answer, strict=True))
        if isinstance(refusal, NoScriptError):
            self._sha = ""  # somebody has flushed its scripts
        elif isinstance(refusal, ResponseError | RedisConnectionError) and not isinstance(refusal, STAYS):
            await self.close()  # the server may be the wrong one by now, as a master that has become a replica
        self._take_out(batch, arrived)
        return refusal

    def _take_out(self, batch: Sequence[Pending], arrived: dict[int, int]) -> None:
        now = self._clock.monotonic()
        for _ in batch:
            self._queue.popleft()
        self._queue.extendleft(one for one in reversed(batch) if one.number not in arrived)
        for one in batch:
            if one.number in arrived:
                if one.acknowledge is not None:
                    one.acknowledge(arrived[one.number])
                self._recent.append((now, one))
                self._recent_bytes += len(one.body)
        if arrived:
            self._waiting_since = now
            self._forget_older(now - RECENT_SECONDS)
        self._settled([one for one in batch if one.number in arrived])

    def _forget_older(self, moment: float) -> None:
        while self._recent and (self._recent[0][0] < moment or self._recent_bytes > RECENT_BYTES):
            self._recent_bytes -= len(self._recent.popleft()[1].body)

    async def _append(self, topics: dict[str, list[Pending]]) -> list[Any]:
        """One answer a topic: the seqs, or why there are none."""
        async with asyncio.timeout(COMMAND_SECONDS):
            await self._prepare()
            if self._repeats:
                await self._repeat()
            return await self._call(topics)

    async def _call(self, topics: dict[str, list[Pending]]) -> list[Any]:
        words = [
            pack_command(("EVALSHA", self._sha, *append_arguments(self._publisher, self.server, topic, entries)))  # type: ignore[arg-type]
            for topic, entries in topics.items()
        ]
        await self._connection.send_packed_command(words, check_health=False)
        return [await self._answer() for _ in topics]

    async def _repeat(self) -> None:
        """Send again what another server has acknowledged lately: this one may lack the end of it, and skips what it has.

        Redis replicates after it has answered. Without this, what it did not pass on would be gone.
        """
        topics: dict[str, list[Pending]] = {}
        for _, entry in self._recent:
            topics.setdefault(entry.topic, []).append(entry)
        answers = await self._call(topics) if topics else []
        for answer in answers:
            if isinstance(answer, Exception) and not isinstance(answer, AskError):
                raise answer
        self._repeats = False

    async def _prepare(self) -> None:
        """Connect, ask the server who it is, teach it the script."""
        connection = self._connection
        if not connection.is_connected:
            self._sha = ""
            server = await connect(connection)
            self._repeats = self._repeats or self.server not in ("", server)
            self.server = server
        if not self._sha:
            await connection.send_command("SCRIPT", "LOAD", APPEND)
            sha: bytes = await connection.read_response()
            self._sha = sha.decode()

    async def _answer(self) -> Any:
        try:
            return await self._connection.read_response()
        except ResponseError as refusal:
            return refusal

    async def _follow(self, topic: str, entries: Sequence[Pending]) -> Any:
        """The slot has moved, or moves just now and each of two servers has some of its keys. (MovedError is an AskError.)"""
        self._uneasy()
        try:
            return await self._elsewhere(APPEND, *append_arguments(self._publisher, "", topic, entries))
        except (RedisError, OSError, TimeoutError) as failure:
            return failure
