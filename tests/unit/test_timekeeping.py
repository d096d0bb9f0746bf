"""The clock of a node is corrected by the database's, by the answer that came fastest, and stays as it was while there is none."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from secureconnect.clock import CorrectedClock
from secureconnect.errors import Unavailable
from secureconnect.ops.timekeeping import Timekeeper
from tests.fakes.clock import ManualClock

pytestmark = pytest.mark.anyio
AHEAD = timedelta(seconds=7)


class Database:
    """Whose clock is ahead of ours. Each answer takes the next pair of seconds: there and back."""

    def __init__(self, machine: ManualClock, ways: list[tuple[float, float]]) -> None:
        self._machine = machine
        self._ways: Iterator[tuple[float, float]] = iter(ways)
        self.away = False

    async def ask(self) -> datetime:
        if self.away:
            raise Unavailable
        there, back = next(self._ways)
        self._machine.advance(there)
        moment = self._machine.now() + AHEAD
        self._machine.advance(back)
        return moment


async def test_the_fastest_answer_counts() -> None:
    machine = ManualClock()
    clock = CorrectedClock(machine)
    database = Database(machine, [(0.0, 4.0), (0.01, 0.03), (3.0, 0.0)])
    await Timekeeper(clock, database.ask).measure()
    assert abs(clock.now() - machine.now() - AHEAD) <= timedelta(seconds=0.01)
    assert clock.unix_time() == clock.now().timestamp()
    assert clock.monotonic() == machine.monotonic()


async def test_without_an_answer_the_clock_stays_as_it_was() -> None:
    machine = ManualClock()
    clock = CorrectedClock(machine)
    database = Database(machine, [(0.0, 0.0)] * 3)
    keeper = Timekeeper(clock, database.ask)
    await keeper.measure()
    database.away = True
    with pytest.raises(Unavailable):
        await keeper.measure()
    assert clock.now() - machine.now() == AHEAD
