"""One thing after the other: what is done about a seat at an SFU, in the order in which it was asked for.

Made by `calls.sfu_seat`, which knows what the steps are.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from secureconnect.clock import Clock
from secureconnect.media import SfuError, SfuLost

Step = Callable[[], Awaitable[None]]

log = structlog.get_logger(__name__)


class Steps:
    """Those of one seat, of the session that logs know by this name.

    `on_lost` is told why, when a step finds that the SFU is gone; what else goes wrong is logged.
    """

    def __init__(self, session: str, clock: Clock, *, on_lost: Callable[[str], None]) -> None:
        self._session = session
        self._clock = clock
        self._on_lost = on_lost
        self._waiting: list[Step] = []
        self._worker: asyncio.Task[None] | None = None
        self._later: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """How many have not begun."""
        return len(self._waiting)

    @property
    def is_under_way(self) -> bool:
        return self._worker is not None

    def do(self, step: Step) -> None:
        """After all that was asked for before."""
        self._waiting.append(step)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name=f"sfu seat {self._session}")

    def do_once(self, step: Step) -> None:
        """The same, unless this very step waits already: it does what is wanted by then."""
        if step not in self._waiting:
            self.do(step)

    def do_later(self, step: Step, seconds: float) -> None:
        """The same, in a while."""

        async def wait() -> None:
            await self._clock.sleep(seconds)
            self.do(step)

        task = asyncio.create_task(wait())
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    def cancel(self) -> None:
        """Do nothing more."""
        self._waiting.clear()
        for task in (*self._later, *([self._worker] if self._worker else [])):
            task.cancel()

    async def _work(self) -> None:
        """Until nothing is left to do: a call without an SFU keeps no task."""
        try:
            while self._waiting:
                step = self._waiting.pop(0)
                try:
                    await step()
                except SfuLost as lost:
                    self._on_lost(str(lost))
                except SfuError as refusal:
                    log.warning("SFU refuses", session=self._session, reason=str(refusal))
                except Exception:
                    log.exception("SFU seat failed", session=self._session)
        finally:
            self._worker = None
