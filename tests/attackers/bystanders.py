"""The other users: calls whose participants talk, and people who ring, write and sign in. Each operation is measured."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import cycle, pairwise
from uuid import uuid4

from websockets.exceptions import ConnectionClosed

from tests.attackers.verdict import Latencies
from tests.fakes.people import Json, Person, Refused, Socket, World

TALK_SECONDS = 1.0
OPERATION_SECONDS = 0.5
PAIRS = 24
"""People who ring each other, so many that none reaches a limit on rings."""
CROWD = 255
"""As many as fit into a conversation with its owner."""
ACCOUNTS = 16
"""The same of limits on sign-ins."""


class Bystanders:
    """Everyone but the attacker. `latencies` is where they note what they measure now."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.latencies = Latencies()
        self.crowd: list[str] = []
        """Ids of users who are members of what the attacker begins."""
        self._tasks: list[asyncio.Task[None]] = []
        self._number = 0

    async def arrive(self, calls: int) -> None:
        """Make the crowd, open the calls, and let everyone begin."""
        while len(self.crowd) < CROWD:
            some = await self.world.people(*("Staff member of the hospital".ljust(78, ".") for _ in range(15)))
            self.crowd += [person.user_id for person in some]
        for _ in range(calls):
            _, _, (caller, callee) = await self.world.call_of("Ada", "Ben")
            self._tasks += [asyncio.create_task(self._talk(caller)), asyncio.create_task(self._listen(callee))]
        ringers = list(await self.world.people(*(f"Ringer {number}" for number in range(2 * PAIRS))))
        pairs = [(a, b, await a.converse(b), await b.events()) for a, b in list(pairwise(ringers))[::2]]
        accounts = [{"email": f"{uuid4().hex}@example.com", "password": uuid4().hex} for _ in range(ACCOUNTS)]
        for account in accounts:
            await self.world.ask("POST", "/v1/auth/register", account | {"display_name": "Cyn"}, self._from_elsewhere())
        turns, owners = cycle(pairs), cycle(accounts)
        self._tasks += [
            asyncio.create_task(self._repeat("ring", lambda: self._ring(*next(turns)))),
            asyncio.create_task(self._repeat("message", lambda: self._write(pairs[0][0], pairs[0][2]))),
            asyncio.create_task(self._repeat("sign-in", lambda: self._sign_in(next(owners)))),
        ]

    async def leave(self) -> None:
        """Stop everyone. Raises what one of them ended with."""
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        faults = [one for one in ended if isinstance(one, Exception)]
        if faults:
            raise ExceptionGroup("bystanders", faults)

    async def _repeat(self, kind: str, operation: Callable[[], Awaitable[None]]) -> None:
        while True:
            begun = time.perf_counter()
            latencies = self.latencies
            try:
                await operation()
            except Refused as refusal:
                latencies.refused.append(f"{kind} {refusal.status} {refusal.code}")
            else:
                latencies.note(kind, time.perf_counter() - begun)
            await asyncio.sleep(OPERATION_SECONDS)

    async def _ring(self, caller: Person, callee: Person, conversation_id: str, inbox: Socket) -> None:
        """From the request to the ring at the other's socket. The call ends at once."""
        call = await caller.initiate(conversation_id, callee)
        await inbox.expect("call.incoming", call_id=call["call_id"])
        inbox.frames.clear()
        await caller.end(call)

    async def _write(self, person: Person, conversation_id: str) -> None:
        await person.write(conversation_id, "hello")

    async def _sign_in(self, account: Json) -> None:
        await self.world.ask("POST", "/v1/auth/login", account, self._from_elsewhere())

    def _from_elsewhere(self) -> dict[str, str]:
        """Each sign-in comes from another address, as those of other users do."""
        self._number += 1
        return {"x-forwarded-for": f"198.51.{self._number // 250 % 250}.{1 + self._number % 250}"}

    async def _talk(self, socket: Socket) -> None:
        """A signal a second; the ack is the other end's to hear, too."""
        while True:
            begun = time.perf_counter()
            latencies = self.latencies
            await socket.tell("reaction", emoji="👍")
            latencies.note("signal", time.perf_counter() - begun)
            socket.frames.clear()
            await asyncio.sleep(TALK_SECONDS)

    async def _listen(self, socket: Socket) -> None:
        with suppress(ConnectionClosed):
            async for frame in socket.connection:
                json.loads(frame)
