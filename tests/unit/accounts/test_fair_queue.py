"""Slow work is shared fairly between networks: turns, places, and a thread left for the next one."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from secureconnect.accounts.fair_queue import FairQueue
from secureconnect.errors import Unavailable

pytestmark = pytest.mark.anyio


class Work:
    """Work that ends when the test says so, and remembers who has begun."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._ends: dict[str, threading.Event] = {}

    def of(self, name: str) -> Callable[[], str]:
        self._ends.setdefault(name, threading.Event())

        def work() -> str:
            self.begun.append(name)
            assert self._ends[name].wait(10)
            return name

        return work

    def end(self, name: str) -> None:
        self._ends[name].set()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # threads say nothing to the event loop


async def test_one_network_never_has_all_threads() -> None:
    work, queue = Work(), FairQueue(2, 200)
    flood = [asyncio.create_task(queue.run(work.of(f"eve {number}"), client="eve")) for number in range(10)]
    await until(lambda: bool(work.begun))
    ada = asyncio.create_task(queue.run(work.of("ada"), client="ada"))
    await until(lambda: "ada" in work.begun)
    assert work.begun == ["eve 0", "ada"]
    work.end("ada")
    assert await ada == "ada"
    for number in range(10):
        work.end(f"eve {number}")
    assert await asyncio.gather(*flood) == [f"eve {number}" for number in range(10)]


async def test_networks_take_turns() -> None:
    work, queue = Work(), FairQueue(1, 200)
    tasks: list[asyncio.Task[str]] = []
    for client in ("eve", "eve", "eve", "ada", "ben"):
        name = f"{client} {len(tasks)}"
        tasks.append(asyncio.create_task(queue.run(work.of(name), client=client)))
        await asyncio.sleep(0)
    for number in range(5):
        begun = number + 1
        await until(lambda: len(work.begun) == begun)  # noqa: B023  (it is awaited within this turn)
        work.end(work.begun[number])
    await asyncio.gather(*tasks)
    assert work.begun == ["eve 0", "eve 1", "ada 3", "ben 4", "eve 2"]


async def test_a_network_has_a_bounded_number_of_places() -> None:
    work, queue = Work(), FairQueue(1, 200, waiting_per_client=3)
    tasks = [asyncio.create_task(queue.run(work.of("eve"), client="eve")) for _ in range(10)]
    await until(lambda: sum(task.done() for task in tasks) == 6)
    assert queue.waiting == 3
    with pytest.raises(Unavailable):
        await queue.run(work.of("eve"), client="eve")
    ada = asyncio.create_task(queue.run(work.of("ada"), client="ada"))
    work.end("eve")
    work.end("ada")
    assert await ada == "ada"
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(answer == "eve" for answer in answers) == 4


async def test_a_full_queue_gives_up_a_place_of_the_largest_network() -> None:
    work, queue = Work(), FairQueue(1, 10)
    flood = [asyncio.create_task(queue.run(work.of("eve"), client="eve")) for _ in range(11)]
    await until(lambda: queue.waiting == 10)
    others = [asyncio.create_task(queue.run(work.of("other"), client=f"other {number}")) for number in range(5)]
    await asyncio.sleep(0)
    assert queue.waiting == 10
    work.end("eve")
    work.end("other")
    assert await asyncio.gather(*others) == ["other"] * 5
    answers = await asyncio.gather(*flood, return_exceptions=True)
    assert sum(isinstance(answer, Unavailable) for answer in answers) == 5


async def test_known_devices_have_places_and_turns_of_their_own() -> None:
    work, queue = Work(), FairQueue(1, 4)
    strangers = [asyncio.create_task(queue.run(work.of("stranger"), client=f"{number}")) for number in range(5)]
    await until(lambda: queue.waiting == 4)
    known = asyncio.create_task(queue.run(work.of("known"), client="ada", is_known=True))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await queue.run(work.of("late"), client="late")
    work.end("stranger")
    work.end("known")
    assert await known == "known"
    await asyncio.gather(*strangers)
    assert work.begun.index("known") == 1


async def test_a_caller_that_goes_away_leaves_its_place() -> None:
    work, queue = Work(), FairQueue(1, 4)
    first = asyncio.create_task(queue.run(work.of("first"), client="a"))
    await until(lambda: bool(work.begun))
    gone = asyncio.create_task(queue.run(work.of("gone"), client="b"))
    await asyncio.sleep(0)
    assert queue.waiting == 1
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert queue.waiting == 0
    last = asyncio.create_task(queue.run(work.of("last"), client="c"))
    for name in ("first", "last"):
        work.end(name)
    assert [*await asyncio.gather(first, last)] == ["first", "last"]
    assert work.begun == ["first", "last"]
