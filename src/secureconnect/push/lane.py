"""One claim, send and record loop: so many at a time of what waits in the database. Run by push.outbox and webhooks.delivery.

Knows neither pushes nor webhooks: a desk says what is due, takes it by lease, sends it and writes down the answer.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

import structlog

from secureconnect.clock import Clock
from secureconnect.errors import ServiceError
from secureconnect.push import Retry, Verdict

T = TypeVar("T")
log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
"""How often to look when nobody rings the bell: what another node left behind is seen at most this late."""


class Desk(Protocol[T]):
    """What is sent by one lane: where it waits, how it goes, what is noted of it. What the database refuses is a ServiceError."""

    name: str

    async def next_due(self) -> datetime | None:
        """When there may next be something to send."""
        ...

    async def claim(self, now: datetime, until: datetime, limit: int) -> tuple[Sequence[T], int]:
        """Take up to `limit` of what is due, until then: those to send, and how many there were with those that need not be."""
        ...

    async def send(self, item: T) -> Verdict:
        """Hand it over. May be cancelled when it takes too long; what it raises counts as Retry."""
        ...

    async def record(self, item: T, verdict: Verdict, sent_at: datetime) -> None:
        """Close it, or give it back. Must not raise: what could not be written down is sent again when the lease has run out."""
        ...


class Lane(Generic[T]):
    """One desk's work, `concurrency` at a time, each given up after `send_seconds`."""

    def __init__(self, desk: Desk[T], clock: Clock, *, lease: timedelta, send_seconds: float, concurrency: int) -> None:
        self._desk = desk
        self._clock = clock
        self._lease = lease
        self._send_seconds = send_seconds
        self._concurrency = concurrency
        self._bell = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        self._hungry = False

    def wake(self) -> None:
        """There may be something to send: look now."""
        self._bell.set()

    async def run(self) -> None:
        """Until cancelled. A database that is away is waited for."""
        try:
            while True:
                self._bell.clear()
                try:
                    pause = await self._start_due()
                except ServiceError as failure:
                    log.warning("pushes wait", provider=self._desk.name, reason=failure.detail)
                    pause = POLL_SECONDS
                await self._wait(pause)
        finally:
            for task in self._sending:
                task.cancel()
            await asyncio.gather(*self._sending, return_exceptions=True)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._bell.wait()
        except TimeoutError:
            return

    async def _start_due(self) -> float:
        """Begin to send what is due and has room; the seconds after which to look again."""
        room = self._concurrency - len(self._sending)
        self._hungry = room == 0  # the next that is done rings the bell
        if room == 0:
            return POLL_SECONDS
        now = self._clock.now()
        due = await self._desk.next_due()
        if due is None or due > now:
            return POLL_SECONDS if due is None else min(POLL_SECONDS, (due - now).total_seconds())
        items, taken = await self._desk.claim(now, now + self._lease, room)
        for item in items:
            task = asyncio.ensure_future(self._send(item))
            self._sending.add(task)
            task.add_done_callback(self._done)
        # Due and not to be had: it waits for another that must go before it, which may be one of ours.
        self._hungry = taken == 0
        return POLL_SECONDS if taken == 0 else 0.0

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._sending.discard(task)
        if self._hungry:
            self.wake()

    async def _send(self, item: T) -> None:
        verdict: Verdict
        sent_at = self._clock.now()
        try:
            async with asyncio.timeout(self._send_seconds):
                verdict = await self._desk.send(item)
        except TimeoutError:
            verdict = Retry(f"no answer within {self._send_seconds:g} s")
        except Exception:  # one that cannot be made must not end the lane
            log.exception("push failed", provider=self._desk.name)
            verdict = Retry("a fault of ours, see the log")
        await self._desk.record(item, verdict, sent_at)
