"""How late the event loop wakes who has slept: the one figure that shows work which keeps everybody else waiting. Run by app."""

from collections.abc import Callable

from secureconnect.clock import Clock

INTERVAL_SECONDS = 0.25
"""Four looks a second find every stall that a person could notice, and cost nothing."""


async def watch_lag(clock: Clock, observe: Callable[[float], None]) -> None:
    """Until cancelled: sleep, and tell `observe` by how many seconds the waking was late."""
    while True:
        asleep = clock.monotonic()
        await clock.sleep(INTERVAL_SECONDS)
        observe(max(0.0, clock.monotonic() - asleep - INTERVAL_SECONDS))
