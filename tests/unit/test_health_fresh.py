"""A flood of health checks asks each dependency once a second."""

import asyncio

import pytest

from secureconnect.ops.health import Health
from tests.fakes.clock import ManualClock

pytestmark = pytest.mark.anyio


async def test_answers_of_the_last_second_are_given_again_and_asked_for_once() -> None:
    clock, asked, well = ManualClock(), 0, True

    async def probe() -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        if not well:
            raise OSError("gone")

    health = Health(service="all", version="1", clock=clock, probes={"database": probe})
    reports = await asyncio.gather(*(health.report(ready=number % 2 == 0) for number in range(50)))
    assert all(report.is_good for report in reports)
    assert asked == 1
    well = False
    clock.advance(0.9)
    assert (await health.report()).is_good
    clock.advance(0.1)
    assert not (await health.report()).is_good
    health.draining = True
    assert (await health.report(ready=True)).status == "draining", "what this process knows itself is never old"
    assert asked == 2


async def test_a_client_that_goes_away_does_not_take_the_answer_from_others() -> None:
    begun, end = asyncio.Event(), asyncio.Event()

    async def probe() -> None:
        begun.set()
        await end.wait()

    health = Health(service="all", version="1", clock=ManualClock(), probes={"database": probe})
    first = asyncio.create_task(health.report())
    await begun.wait()
    second = asyncio.create_task(health.report())
    await asyncio.sleep(0)
    first.cancel()
    end.set()
    assert (await second).is_good
