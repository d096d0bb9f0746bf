"""Two hundred calls at once on one process, and networks that break: what is said arrives, once, in order.

Each side says its numbers while connections are cut at random, and comes back by the rules of docs/protocol.md: resume from the
last seq heard, say again what no ack confirmed. So a number may be heard twice, but only where its speaker could not know whether
it had been heard, and said it twice.
"""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain, pairwise

import pytest
from websockets.exceptions import ConnectionClosed

from tests.fakes.people import Json, Person, Socket, World

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

CALLS = 200
PORTIONS = (10, 15, 15)
"""How many numbers a side says: some at once, and more each time that the other is cut off, so that there is something to miss."""
MESSAGES = sum(PORTIONS)
CUTS = len(PORTIONS) - 1
AT_ONCE = 16
"""How many are set up, and how many are cut off, at the same moment: an outage for all would only measure the database."""
OUTAGE_SECONDS = 0.2
PLAY_SECONDS = 120.0
"""How long all of it may take: a side whose partner waits for its turn to be cut off hears nothing for a while."""


class Side:
    """One side of a call: says its numbers, hears those of the other, and is cut off again and again."""

    def __init__(self, person: Person, call: Json, socket: Socket, outages: asyncio.Semaphore, seed: str) -> None:
        self.heard: list[int] = []
        self.seqs: list[int] = []
        self.said: list[int] = []
        self.resumed = 0
        self.replayed = 0
        self.other = self
        self._person = person
        self._call = call
        self._socket = socket
        self._outages = outages
        self._random = random.Random(seed)
        self._may_say = asyncio.Semaphore(PORTIONS[0])
        self._confirmed = 0
        # Each cut lies in what may be said by then, whatever becomes of the other side.
        self._cuts = [self._random.randrange(sum(PORTIONS[:cut]), sum(PORTIONS[: cut + 1])) for cut in range(CUTS)]

    async def play(self) -> None:
        """Until all is said and confirmed, and all of the other's is heard."""
        socket = self._socket
        first = socket.welcome
        back_since = ""
        while True:
            talking = asyncio.create_task(self._talk(socket))
            try:
                await self._listen(socket, back_since)
            except ConnectionClosed:
                self.other.say_more(PORTIONS[self.resumed + 1])
                await asyncio.sleep(self._random.random() * OUTAGE_SECONDS)
                back_since = datetime.now(UTC).isoformat()
                seq = self.seqs[-1] if self.seqs else first["seq"]
                socket = await self._person.signaling(self._call, resume=first["resume"], seq=seq)
                assert socket.welcome["resumed"] is True
                assert socket.welcome["session_id"] == first["session_id"]
                self.resumed += 1
                self._outages.release()
            else:
                return
            finally:
                talking.cancel()
                await asyncio.gather(talking, return_exceptions=True)

    def say_more(self, numbers: int) -> None:
        for _ in range(numbers):
            self._may_say.release()

    async def _talk(self, socket: Socket) -> None:
        """Say what no ack has confirmed. Now and then the network breaks in the middle of it."""
        with suppress(ConnectionClosed):
            for number in range(self._confirmed, MESSAGES):
                if number not in self.said:
                    await self._may_say.acquire()
                self.said.append(number)
                await socket.say("offer", sdp=f"{number} " + "x" * 300, ref=str(number))
                if self._cuts and number == self._cuts[0]:
                    await self._outages.acquire()
                    # Some cuts come before the server has read anything of this, some after it has answered.
                    await asyncio.sleep(self._random.random() / 20)
                    del self._cuts[0]
                    socket.abort()

    async def _listen(self, socket: Socket, back_since: str) -> None:
        while self._confirmed < MESSAGES or len(set(self.heard)) < MESSAGES or self._cuts:
            frame = await socket.read(PLAY_SECONDS)
            if frame["type"] == "ack":
                assert int(frame["ref"]) == self._confirmed, "acks come in the order of what they confirm"
                self._confirmed += 1
            elif frame["type"] != "welcome":
                self.seqs.append(frame["seq"])
            if frame["type"] == "offer":
                self.heard.append(int(frame["sdp"].partition(" ")[0]))
                self.replayed += frame["timestamp"] < back_since


def check(speaker: Side, listener: Side) -> None:
    """Exactly what was said is what was heard, but for what was lost on the way to the server: that was said again."""
    assert all(earlier < later for earlier, later in pairwise(listener.seqs)), "every seq once, in order"
    first_heard = list(dict.fromkeys(listener.heard))
    assert first_heard == list(range(MESSAGES)), "everything, in the order said"
    said, heard = Counter(speaker.said), Counter(listener.heard)
    assert all(heard[number] <= said[number] for number in range(MESSAGES)), "nothing more often than it was said"
    assert listener.resumed == CUTS


async def conversation(world: World, number: int, room: asyncio.Semaphore, outages: asyncio.Semaphore) -> tuple[Side, Side]:
    """The two sides of a call, both there before the first word."""
    async with room:
        call, people, sockets = await world.call_of(f"Ada {number}", f"Ben {number}")
    names = [person.user["display_name"] for person in people]
    ada, ben = (Side(people[at], call, sockets[at], outages, names[at]) for at in (0, 1))
    ada.other, ben.other = ben, ada
    return ada, ben


async def test_everything_arrives_once_and_in_order(world: World) -> None:
    room, outages = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_ONCE)
    calls = await asyncio.gather(*(conversation(world, number, room, outages) for number in range(CALLS)))
    async with asyncio.TaskGroup() as group:
        for side in chain(*calls):
            group.create_task(side.play())
    for ada, ben in calls:
        check(ada, ben)
        check(ben, ada)
    assert sum(side.replayed for side in chain(*calls)) > CALLS, "there was enough to miss"
