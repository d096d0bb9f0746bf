"""What runs beside the requests, from the start of a process to its end. Called by app."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from secureconnect.ops.loops import keep_running

log = structlog.get_logger(__name__)


def begin(loop: str, run: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
    """Run the loop of this name until it is ended, whatever happens in it."""
    return asyncio.create_task(keep_running(loop, run), name=loop)


async def end(loops: list["asyncio.Task[None]"]) -> None:
    """Cancel these and wait for them."""
    for task in loops:
        task.cancel()
    await asyncio.gather(*loops, return_exceptions=True)


async def within(seconds: float, *deeds: Awaitable[None]) -> None:
    """Do what can be done in this time, all at once; give the rest up."""
    try:
        async with asyncio.timeout(seconds):
            outcomes = await asyncio.gather(*deeds, return_exceptions=True)
    except TimeoutError:
        log.warning("stopped in the middle", reason="a dependency does not answer")
    else:
        for failure in outcomes:
            if isinstance(failure, Exception):
                log.warning("stopped in the middle", reason=str(failure))
