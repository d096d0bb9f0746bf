"""Who is here: the topics that somebody at this node listens to, each subscribed at the bus from the first to the last listener.

Used by `signaling.call_room` and `signaling.inbox`. Plain calls on the hot path; knows neither calls nor sockets.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

from secureconnect.bus import Bus, Entry


class Channel(Protocol):
    """A socket, as far as the rest of signaling knows one."""

    def send(self, frame: bytes) -> None:
        """Send one text frame, now or when the client reads again. Never waits."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Say goodbye and close."""
        ...


class Room(Protocol):
    """What listens to a topic."""

    def deliver(self, entry: Entry) -> None:
        """The next entry. Must not raise."""
        ...


R = TypeVar("R", bound=Room)


class Hub(Generic[R]):
    """Rooms by topic, made for the first who enters and forgotten with the last who leaves."""

    def __init__(self, bus: Bus, make_room: Callable[[str], R]) -> None:
        self._bus = bus
        self._make_room = make_room
        self._rooms: dict[str, tuple[R, int]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def __len__(self) -> int:
        """How many topics somebody here listens to."""
        return len(self._rooms)

    @property
    def rooms(self) -> list[R]:
        """Those in which somebody is."""
        return [room for room, _ in self._rooms.values()]

    async def enter(self, topic: str) -> R:
        """The topic's room, subscribed. Every enter needs one leave."""
        async with self._turn(topic):
            if topic in self._rooms:
                room, holders = self._rooms[topic]
            else:
                room, holders = self._make_room(topic), 0
                await self._bus.subscribe(topic, room.deliver)
            self._rooms[topic] = (room, holders + 1)
            return room

    async def leave(self, topic: str) -> None:
        """One of those who entered goes."""
        async with self._turn(topic):
            room, holders = self._rooms[topic]
            if holders > 1:
                self._rooms[topic] = (room, holders - 1)
                return
            del self._rooms[topic]
            await self._bus.unsubscribe(topic)

    def _turn(self, topic: str) -> asyncio.Lock:
        """Subscribing and unsubscribing take turns: a topic must not be let go while somebody is entering."""
        return self._turns.setdefault(topic, asyncio.Lock())
