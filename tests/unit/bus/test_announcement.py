"""An answer waits until what it is about has been told, and not for ever."""

import asyncio

import pytest

from secureconnect.bus import Acknowledge
from secureconnect.bus.announcement import PATIENCE_SECONDS, Announcement
from secureconnect.bus.memory import MemoryBus
from tests.fakes.clock import ManualClock

pytestmark = pytest.mark.anyio


class SlowBus(MemoryBus):
    """Takes everything, and has it there when told to; takes nothing when it is full."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.under_way: list[Acknowledge] = []
        self.is_full = False

    def publish(
        self,
        topic: str,
        body: bytes,
        *,
        sender: str = "",
        target: str = "",
        retain: tuple[str, bytes | None] | None = None,
        acknowledge: Acknowledge | None = None,
    ) -> bool:
        assert acknowledge is not None
        if not self.is_full:
            self.under_way.append(acknowledge)
        return not self.is_full

    def arrive(self) -> None:
        self.under_way.pop(0)(1)


async def test_it_is_told_once_all_of_it_has_arrived() -> None:
    bus = SlowBus()
    words = Announcement(bus)
    words.publish("user:a", b"{}")
    words.publish("user:b", b"{}")
    told = asyncio.ensure_future(words.told())
    await asyncio.sleep(0)
    bus.arrive()
    await asyncio.sleep(0)
    assert not told.done()
    bus.arrive()
    await told


async def test_what_is_there_at_once_is_not_waited_for() -> None:
    words = Announcement(MemoryBus(ManualClock()))
    words.publish("user:a", b"{}")
    async with asyncio.timeout(PATIENCE_SECONDS / 2):
        await words.told()
        await Announcement(SlowBus()).told()


async def test_nobody_waits_for_what_does_not_arrive_or_was_refused() -> None:
    bus = SlowBus()
    words = Announcement(bus)
    words.publish("user:a", b"{}")
    await words.told()
    bus.arrive()  # late, and to nobody
    bus.is_full = True
    words.publish("user:a", b"{}")
    async with asyncio.timeout(PATIENCE_SECONDS / 2):
        await words.told()
