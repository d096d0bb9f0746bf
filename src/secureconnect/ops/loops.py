"""Background loops: each runs until cancelled, and again after a pause when it fails.

A fault in one loop, of a dependency or of our own code, ends neither the process nor its calls. It is logged with the name of the
loop and counted in `failures`, which /metrics shows.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog

from secureconnect.errors import ServiceError

log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a loop that failed is started again; doubled each time it fails within `LONGEST_PAUSE`."""

failures: Counter[str] = Counter()
"""Times that a loop failed in this process, by its name."""


def note_failure(loop: str, failure: Exception) -> None:
    """Log and count the failure of a loop that goes on."""
    failures[loop] += 1
    if isinstance(failure, ServiceError):
        log.warning("background loop waits", loop=loop, reason=failure.detail)
    else:
        log.error("background loop failed", loop=loop, exc_info=failure)


async def keep_running(
    loop: str, run: Callable[[], Awaitable[None]], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Run a loop until cancelled.

    Args:
        loop: Its name in the log and in the metrics.
        run: Starts it. It is called again after each failure, and must be fit for that.
        sleep: Waits for so many seconds.
    """
    failures[loop] += 0  # a figure that is not there cannot be compared with a later one
    time = asyncio.get_running_loop().time
    pause = FIRST_PAUSE
    while True:
        begun = time()
        try:
            await run()
        except Exception as failure:
            note_failure(loop, failure)
        else:
            note_failure(loop, RuntimeError("the loop returned"))
        if time() - begun > LONGEST_PAUSE:
            pause = FIRST_PAUSE
        await sleep(pause)
        pause = min(LONGEST_PAUSE, 2 * pause)
