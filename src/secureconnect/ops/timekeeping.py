"""One time for all nodes: that of the database they share. Keeps a node's clock corrected; started by app.

Deadlines are set by one node and fired by another. Where their clocks differ by seconds, a phone would ring by seconds too short or
too long; so each node asks the database what time it has, and adds the difference to its own.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from secureconnect.clock import CorrectedClock
from secureconnect.errors import ServiceError

log = structlog.get_logger(__name__)

MEASURE_SECONDS = 15.0
SAMPLES = 3
"""The answer that came fastest says most: it is off by half of its way at most."""
WORTH_A_WORD = timedelta(seconds=1)
"""A correction that has changed by so much is told: somebody's clock is not kept."""


class Timekeeper:
    """Corrects `clock` by what `ask` says; it raises a ServiceError while there is no answer."""

    def __init__(self, clock: CorrectedClock, ask: Callable[[], Awaitable[datetime]]) -> None:
        self._clock = clock
        self._ask = ask

    async def measure(self) -> None:
        """Ask, and correct the clock. Raises what `ask` does; the clock stays as it was then."""
        samples = [await self._sample() for _ in range(SAMPLES)]
        _, correction = min(samples)
        if abs(correction - self._clock.correction) >= WORTH_A_WORD:
            log.warning("clock corrected", seconds=round(correction.total_seconds(), 3))
        self._clock.correction = correction

    async def run(self) -> None:
        """Until cancelled: measure again and again, since clocks drift and are set."""
        while True:
            await self._clock.sleep(MEASURE_SECONDS)
            try:
                await self.measure()
            except ServiceError as failure:
                log.warning("time not compared", reason=failure.detail)

    async def _sample(self) -> tuple[float, timedelta]:
        """How long the answer took, in seconds, and by how much our own clock is behind it."""
        begun, own = self._clock.monotonic(), self._clock.uncorrected()
        theirs = await self._ask()
        took = self._clock.monotonic() - begun
        return took, theirs - own - timedelta(seconds=took / 2)
