"""The lane by itself: what it does with a database that comes and goes, with services that hang, and with its leases."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from secureconnect.clock import SystemClock
from secureconnect.errors import Unavailable
from secureconnect.push import Delivered, Verdict
from secureconnect.push.lane import ALL_SERVICES, Lane

pytestmark = pytest.mark.anyio
PATIENCE = 10.0
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class Shelf:
    """A desk in memory. Things are named `service/number`; what is not answered waits for `may_answer`."""

    name = "shelf"

    def __init__(self, *things: str, is_slow: bool = False) -> None:
        self.waiting = list(things)
        self.sent: list[str] = []
        self.recorded: list[list[str]] = []
        self.renewed: Counter[str] = Counter()
        self.claims = 0
        self.refusals = 0
        self.is_away = False
        self.is_broken = False
        self.may_answer = asyncio.Event()
        if not is_slow:
            self.may_answer.set()
        self._happened = asyncio.Event()

    async def next_due(self) -> Mapping[str, datetime]:
        return {self.service_of(thing): LONG_AGO for thing in self.waiting}

    async def claim(self, now: datetime, until: datetime, room: Mapping[str, int], limit: int) -> tuple[Sequence[str], int]:
        self.claims += 1
        taken: list[str] = []
        for service, places in room.items():
            theirs = [thing for thing in self.waiting if self.service_of(thing) == service]
            taken += theirs[: min(places, limit - len(taken))]
        self.waiting = [thing for thing in self.waiting if thing not in taken]
        return taken, len(taken)

    async def renew(self, items: Sequence[str], until: datetime) -> None:
        self.renewed.update(items)
        self._happened.set()

    def service_of(self, item: str) -> str:
        return item.partition("/")[0]

    async def send(self, item: str) -> Verdict:
        self.sent.append(item)
        self._happened.set()
        await self.may_answer.wait()
        return Delivered()

    def judge(self, item: str, verdict: Verdict, sent_at: datetime) -> str:
        self._happened.set()
        return item

    async def record(self, answers: Sequence[str]) -> None:
        self._happened.set()
        if self.is_away:
            self.refusals += 1
            raise Unavailable("It is away.")
        if self.is_broken:
            self.is_broken = False
            raise ValueError(answers)
        self.recorded.append(list(answers))

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until it is so."""
        async with asyncio.timeout(PATIENCE):
            while not is_so():
                self._happened.clear()
                await self._happened.wait()

    @property
    def written(self) -> list[str]:
        return [thing for batch in self.recorded for thing in batch]


@asynccontextmanager
async def running(shelf: Shelf, *, lease: float = 4.0, concurrency: int = 4) -> AsyncIterator[Lane[str, str]]:
    lane = Lane(shelf, SystemClock(), lease=timedelta(seconds=lease), send_seconds=PATIENCE, concurrency=concurrency)
    task = asyncio.ensure_future(lane.run())
    try:
        yield lane
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_answered_in_one_turn_is_written_down_together() -> None:
    shelf = Shelf("a/1", "a/2", "a/3")
    async with running(shelf):
        await shelf.until(lambda: len(shelf.written) == 3)
    assert shelf.claims == len(shelf.recorded) == 1


async def test_what_could_not_be_written_down_is_written_down_later_and_not_sent_again() -> None:
    shelf = Shelf("a/1")
    shelf.is_away = True
    async with running(shelf) as lane:
        await shelf.until(lambda: shelf.sent == ["a/1"])
        await shelf.until(lambda: shelf.refusals == 1)
        lane.wake()
        await shelf.until(lambda: shelf.refusals == 2)
        assert shelf.written == []
        shelf.is_away = False
        lane.wake()
        await shelf.until(lambda: shelf.written == ["a/1"])
    assert shelf.sent == ["a/1"]


async def test_what_the_database_will_not_take_does_not_hold_up_the_rest() -> None:
    shelf = Shelf("a/1")
    shelf.is_broken = True
    async with running(shelf) as lane:
        await shelf.until(lambda: shelf.sent == ["a/1"] and not shelf.is_broken)
        shelf.waiting.append("a/2")
        lane.wake()
        await shelf.until(lambda: shelf.written == ["a/2"])


async def test_an_answer_that_came_just_before_the_end_is_written_down() -> None:
    shelf = Shelf("a/1")
    shelf.is_away = True
    async with running(shelf):
        await shelf.until(lambda: shelf.sent == ["a/1"])
        await asyncio.sleep(0)
        shelf.is_away = False
    assert shelf.written == ["a/1"]


async def test_each_service_has_its_own_places_and_nobody_turns_in_circles_for_one_that_is_full() -> None:
    shelf = Shelf(*(f"a/{number}" for number in range(9)), "b/1", is_slow=True)
    async with running(shelf, concurrency=4):
        await shelf.until(lambda: len(shelf.sent) == 5)
        assert sorted(shelf.sent) == ["a/0", "a/1", "a/2", "a/3", "b/1"]
        await asyncio.sleep(0.2)
        assert shelf.claims == 1
        shelf.may_answer.set()
        await shelf.until(lambda: len(shelf.written) == 10)


async def test_there_is_an_end_to_what_all_services_have_together() -> None:
    shelf = Shelf(*(f"{service}/{number}" for service in range(ALL_SERVICES + 2) for number in range(2)), is_slow=True)
    async with running(shelf, concurrency=2):
        await shelf.until(lambda: len(shelf.sent) == 2 * ALL_SERVICES)
        await asyncio.sleep(0.1)
        assert len(shelf.sent) == 2 * ALL_SERVICES
        shelf.may_answer.set()
        await shelf.until(lambda: len(shelf.written) == 2 * ALL_SERVICES + 4)


async def test_what_is_under_way_for_long_is_leased_again_and_what_is_done_is_not() -> None:
    shelf = Shelf("a/1", is_slow=True)
    async with running(shelf, lease=0.4):
        await shelf.until(lambda: shelf.renewed["a/1"] >= 2)
        shelf.may_answer.set()
        await shelf.until(lambda: shelf.written == ["a/1"])
        renewed = shelf.renewed["a/1"]
        await asyncio.sleep(0.5)
        assert shelf.renewed["a/1"] == renewed
