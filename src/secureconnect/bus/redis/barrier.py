"""Many at work, or one alone: how the lanes to Redis stand still while topics move from one server to another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Barrier:
    """Workers pass in while nobody wants to be alone; whoever does waits until the last of them is out."""

    def __init__(self) -> None:
        self._workers = 0
        self._open = asyncio.Event()
        self._open.set()
        self._empty = asyncio.Event()
        self._empty.set()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        while not self._open.is_set():
            await self._open.wait()
        self._workers += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._workers -= 1
            if not self._workers:
                self._empty.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """One at a time: its only caller is one task."""
        self._open.clear()
        try:
            await self._empty.wait()
            yield
        finally:
            self._open.set()
