"""What one change is told as, and whether it has been told: for services, which answer whoever made the change only then."""

import asyncio
from collections.abc import Iterable

from secureconnect.bus import Bus

PATIENCE_SECONDS = 0.5
"""How long an answer waits for it. Longer, and Redis is away: it is told when that is back, if this process lives so long."""


class Announcement:
    """Publishes on several topics, and knows when all of it is in their logs.

    What a process has not handed to Redis dies with it. Were the answer sent before, somebody would know of a change that nobody is
    told of: a message that no socket brings, a ring that no socket hears.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._under_way = 0
        self._all_there: asyncio.Future[None] | None = None

    def publish(self, topic: str, body: bytes, *, sender: str = "", retain: tuple[str, bytes | None] | None = None) -> None:
        """Never waits. What is refused because too much waits already is counted by the bus."""
        self._under_way += 1
        if not self._bus.publish(topic, body, sender=sender, retain=retain, acknowledge=self._arrived):
            self._under_way -= 1

    async def told(self) -> None:
        """Return when all of it has arrived, or after a while without that."""
        if self._under_way == 0:
            return
        self._all_there = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._all_there], timeout=PATIENCE_SECONDS)

    def _arrived(self, _seq: int) -> None:
        self._under_way -= 1
        if self._under_way == 0 and self._all_there is not None and not self._all_there.done():
            self._all_there.set_result(None)


async def all_told(several: Iterable[Announcement]) -> None:
    """Each, one after the other: they are under way together."""
    for one in several:
        await one.told()
