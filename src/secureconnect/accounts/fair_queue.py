"""Slow work in a bounded number of threads, shared fairly between clients. Used by accounts.credentials.

One network with many connections must not delay others: networks take turns, none has all threads, and none has all places in the
queue. Devices that have signed in before have places of their own, and every second turn.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

from secureconnect.errors import Unavailable

T = TypeVar("T")
WAITING_PER_CLIENT = 20
"""Places in the queue that one network may take; the same number again is another second of work."""

_Waiter = asyncio.Future[None]


class FairQueue:
    """Runs work in at most `at_once` threads; at most `waiting` callers queue, and as many known ones beside them."""

    def __init__(self, at_once: int, waiting: int, *, waiting_per_client: int = WAITING_PER_CLIENT) -> None:
        self._at_once = at_once
        self._threads = anyio.CapacityLimiter(at_once)
        self._running: Counter[str] = Counter()
        self._lanes = (_Lane(waiting, min(waiting, waiting_per_client)), _Lane(waiting, min(waiting, waiting_per_client)))
        self._known_next = True

    @property
    def waiting(self) -> int:
        """How many callers queue."""
        return sum(lane.size for lane in self._lanes)

    async def run(self, work: Callable[[], T], *, client: str = "", is_known: bool = False) -> T:
        """Run `work` in a thread when it is the turn of `client`. Raises Unavailable when its share of the queue is full."""
        if self._may_begin(client):
            self._running[client] += 1
        else:
            await self._wait(client, self._lanes[is_known])
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._threads)
        finally:
            self._end(client)

    def _may_begin(self, client: str) -> bool:
        """A thread stays free for the next network, so that it need not wait for this one."""
        return self._running.total() < self._at_once and self._running[client] < max(1, self._at_once - 1)

    async def _wait(self, client: str, lane: "_Lane") -> None:
        waiter = lane.add(client)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # its turn came at the same moment
                self._end(client)
            else:
                lane.remove(client, waiter)
            raise

    def _end(self, client: str) -> None:
        self._running[client] -= 1
        if not self._running[client]:
            del self._running[client]
        while self._begin_next():
            pass

    def _begin_next(self) -> bool:
        first, second = (self._lanes[self._known_next], self._lanes[not self._known_next])
        for lane in (first, second):
            client = lane.next(self._may_begin)
            if client is not None:
                self._running[client] += 1
                self._known_next = lane is not self._lanes[True]
                return True
        return False


class _Lane:
    """Callers that wait, by client; clients take turns."""

    def __init__(self, places: int, places_per_client: int) -> None:
        self._places = places
        self._places_per_client = places_per_client
        self._waiters: OrderedDict[str, deque[_Waiter]] = OrderedDict()
        self.size = 0

    def add(self, client: str) -> _Waiter:
        """Queue for `client`. A full lane gives up a place of the client that has most. Raises Unavailable."""
        own = len(self._waiters.get(client, ()))
        if own >= self._places_per_client or (self.size >= self._places and not self._give_up_place(own)):
            raise Unavailable("Too many sign-ins at this moment. Try again in a few seconds.")
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(client, deque()).append(waiter)
        self.size += 1
        return waiter

    def remove(self, client: str, waiter: _Waiter) -> None:
        """Forget a caller that has gone; one that was given up is forgotten already."""
        waiters = self._waiters.get(client)
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            self._taken(client, waiters)

    def next(self, may_begin: Callable[[str], bool]) -> str | None:
        """Let the first caller of the next client begin that may; return its client."""
        for client in list(self._waiters):
            if may_begin(client):
                waiters = self._waiters[client]
                self._waiters.move_to_end(client)
                waiter = waiters.popleft()
                self._taken(client, waiters)
                if not waiter.done():
                    waiter.set_result(None)
                    return client
        return None

    def _give_up_place(self, own: int) -> bool:
        """Refuse the last caller of the client with the most places, when that leaves it more than the newcomer has."""
        client = max(self._waiters, key=lambda name: len(self._waiters[name]))
        waiters = self._waiters[client]
        if len(waiters) <= own + 1:
            return False
        waiter = waiters.pop()
        self._taken(client, waiters)
        if not waiter.done():
            waiter.set_exception(Unavailable("Too many sign-ins from your network. Try again in a few seconds."))
        return True

    def _taken(self, client: str, waiters: deque[_Waiter]) -> None:
        self.size -= 1
        if not waiters:
            del self._waiters[client]
