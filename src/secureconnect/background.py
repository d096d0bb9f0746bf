"""What runs beside the requests, from the start of a process to its end. Called by app."""

import asyncio
import os
from collections.abc import Awaitable

import structlog

log = structlog.get_logger(__name__)


def begin(loop: Awaitable[None]) -> "asyncio.Task[None]":
    """Run a loop that never ends by itself: should it, the process does, with status 70."""
    task = asyncio.ensure_future(loop)
    task.add_done_callback(_die_loudly)
    return task


async def end(loops: list["asyncio.Task[None]"]) -> None:
    """Cancel these and wait for them."""
    for task in loops:
        task.remove_done_callback(_die_loudly)
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


def _die_loudly(task: "asyncio.Task[None]") -> None:
    """A loop that ends is a node that no longer does its work: better none than one that only looks alive."""
    if not task.cancelled():
        log.critical("a background loop ended", exc_info=task.exception())
        os._exit(70)
