"""Work of the client library that ends when we are told to, and fails in its own words. All that awaits it goes through here."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError

T = TypeVar("T")


async def heeding(work: Awaitable[T]) -> T:
    """`work`, cancelled when we are. Raises what the library raises, and RedisConnectionError for a transport that has closed.

    The library writes and connects below `asyncio.wait_for`, which in Python 3.11 forgets a cancellation that comes just as what it
    waits for is done; a loop around it would go on for ever.

    When packets vanish, the kernel gives up idle connections (tcp(7), keepalive). The library notices it no sooner than it writes,
    and uvloop calls that a RuntimeError, for which nobody waits: what reads a log would end, and leave its topic unheard.
    """
    try:
        return await work
    except RuntimeError as failure:
        raise RedisConnectionError(str(failure)) from failure
    finally:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
