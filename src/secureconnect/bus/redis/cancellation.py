"""Work of the client library that ends when we are told to end. Everything here that awaits the library goes through it."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def heeding(work: Awaitable[T]) -> T:
    """`work`, cancelled when we are.

    The library writes and connects below `asyncio.wait_for`, which in Python 3.11 forgets a cancellation that comes just as what it
    waits for is done; a loop around it would go on for ever.
    """
    try:
        return await work
    finally:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
