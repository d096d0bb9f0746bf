"""One claim, send and record loop: so many at a time of what waits in the database. Run by push.outbox and webhooks.delivery.

Knows neither pushes nor webhooks: a desk says what is due, takes it by lease, sends it, says what the answer means and writes that
down. The loop goes in turns, and a turn writes down and takes what came since the last one in one transaction each: one by one they
would cost more than to send does.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

import structlog

from secureconnect.clock import Clock
from secureconnect.errors import ServiceError
from secureconnect.ops.loops import note_failure
from secureconnect.push import Retry, Verdict

T = TypeVar("T")
A = TypeVar("A")
log = structlog.get_logger(__name__)

TURN_SECONDS = 0.02
"""A turn begins no sooner after the one before: at 200 pushes a second it has four to take. After a pause it begins at once."""
POLL_SECONDS = 1.0
"""How often to look when nobody rings the bell: what another node left behind is seen at most this late."""
LAST_WORDS_SECONDS = 1.0
"""How long the end of a lane may take to write down what was answered."""
ALL_SERVICES = 8
"""So many times what one service may have is under way in all: that many can hang before one that does not has to wait."""


@dataclass(frozen=True)
class Backoff:
    """Seconds until the second attempt, doubled each time and spread by a quarter, up to `last`."""

    first: float
    last: float

    def again(self, verdict: Verdict, attempts: int, now: datetime, expires_at: datetime) -> datetime | None:
        """When a Retry after so many attempts is tried again: in a growing while, or later when that was asked for.

        None when it is over, or would be too late.
        """
        if not isinstance(verdict, Retry):
            return None
        pause = min(self.last, self.first * 2 ** min(attempts - 1, 20)) * random.uniform(0.75, 1.25)  # noqa: S311  (jitter, not a secret)
        moment = now + timedelta(seconds=max(verdict.after or 0.0, pause))
        return moment if moment < expires_at else None


class Desk(Protocol[T, A]):
    """What is sent by one lane: where it waits, how it goes, what is noted of it. What the database refuses is a ServiceError.

    Things go to services: whoever answers for them, by name. One that hangs holds up what goes to it, and nothing else.
    """

    name: str

    async def next_due(self) -> Mapping[str, datetime]:
        """When there may next be something to send, by service."""
        ...

    async def claim(self, now: datetime, until: datetime, room: Mapping[str, int], limit: int) -> tuple[Sequence[T], int]:
        """Take, until then, what is due and has room with its service, `limit` at most.

        Those to send, and how many there were with those that need not be.
        """
        ...

    async def renew(self, items: Sequence[T], until: datetime) -> None:
        """They are still under way: keep them until then."""
        ...

    def service_of(self, item: T) -> str:
        """To whom it goes."""
        ...

    async def send(self, item: T) -> Verdict:
        """Hand it over. May be cancelled when it takes too long; what it raises counts as Retry."""
        ...

    def judge(self, item: T, verdict: Verdict, sent_at: datetime) -> A:
        """What the verdict comes to, told to whoever counts: to be written down."""
        ...

    async def record(self, answers: Sequence[A]) -> None:
        """Close what was answered, or give it back. What could not be written down is handed in again."""
        ...


class Lane(Generic[T, A]):
    """One desk's work, `concurrency` at a time of each service, each given up after `send_seconds`.

    What takes long is leased again meanwhile, so the lease is as short as a death may cost, and not as long as a send may take.
    """

    def __init__(self, desk: Desk[T, A], clock: Clock, *, lease: timedelta, send_seconds: float, concurrency: int) -> None:
        self._desk = desk
        self._clock = clock
        self._lease = lease
        self._send_seconds = send_seconds
        self._concurrency = concurrency
        self._poll_seconds = min(POLL_SECONDS, lease.total_seconds() / 4)
        self._bell = asyncio.Event()
        self._sending: dict[asyncio.Task[None], T] = {}
        self._leased_until: dict[asyncio.Task[None], datetime] = {}
        self._under_way: Counter[str] = Counter()
        self._answers: list[A] = []

    def wake(self) -> None:
        """There may be something to send: look now."""
        self._bell.set()

    async def run(self) -> None:
        """Until cancelled. A database that is away is waited for."""
        time = asyncio.get_running_loop().time
        try:
            while True:
                self._bell.clear()
                begun = time()
                try:
                    pause = await self._turn()
                except ServiceError as failure:
                    log.warning("pushes wait", provider=self._desk.name, reason=failure.detail)
                    pause = self._poll_seconds
                except Exception as failure:  # what is being sent goes on
                    note_failure(self._desk.name, failure)
                    pause = self._poll_seconds
                await self._wait(pause)
                await asyncio.sleep(begun + TURN_SECONDS - time())
        finally:
            for task in self._sending:
                task.cancel()
            await asyncio.gather(*self._sending, return_exceptions=True)
            await self._say_last_words()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._bell.wait()
        except TimeoutError:
            return

    async def _turn(self) -> float:
        """Write down what was answered, begin to send what is due and has room; the seconds after which to look again."""
        await self._write_down()
        await self._renew()
        now = self._clock.now()
        due = await self._desk.next_due()
        room = {service: self._concurrency - self._under_way[service] for service, moment in due.items() if moment <= now}
        room = {service: places for service, places in room.items() if places > 0}
        limit = self._concurrency * ALL_SERVICES - len(self._sending)
        if room and limit > 0:
            until = now + self._lease
            items, taken = await self._desk.claim(now, until, room, limit)
            for item in items:
                self._begin(item, until)
            if taken:
                return 0.0
        # What is due and not to be had waits for room, or for another that must go before it: the next that is done rings the bell.
        later = [(moment - now).total_seconds() for moment in due.values() if moment > now]
        return min([self._poll_seconds, *later])

    async def _write_down(self) -> None:
        """What fails for now goes on waiting; at the worst its lease runs out, and it is sent again."""
        answers = list(self._answers)
        if not answers:
            return
        try:
            await self._desk.record(answers)
        except ServiceError:
            raise
        except Exception:  # what the database will not take now it will not take later either
            log.exception("pushes not written down", provider=self._desk.name, pushes=len(answers))
        del self._answers[: len(answers)]

    async def _say_last_words(self) -> None:
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self._write_down()
        except (ServiceError, TimeoutError):
            log.warning("pushes not written down", provider=self._desk.name, pushes=len(self._answers))

    async def _renew(self) -> None:
        """Once half a lease is over."""
        now = self._clock.now()
        until, soon = now + self._lease, now + self._lease / 2
        aging = [task for task, end in self._leased_until.items() if end < soon]
        if aging:
            await self._desk.renew([self._sending[task] for task in aging], until)
            self._leased_until |= {task: until for task in aging if task in self._sending}

    def _begin(self, item: T, until: datetime) -> None:
        task = asyncio.ensure_future(self._send(item))
        self._sending[task] = item
        self._leased_until[task] = until
        self._under_way[self._desk.service_of(item)] += 1
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        del self._leased_until[task]
        service = self._desk.service_of(self._sending.pop(task))
        self._under_way[service] -= 1
        if not self._under_way[service]:
            del self._under_way[service]
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
        self._answers.append(self._desk.judge(item, verdict, sent_at))
