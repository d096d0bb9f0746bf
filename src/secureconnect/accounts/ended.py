"""Sign-ins that have ended while access tokens of theirs still live: asked at each request, so kept in memory, by every node.

The truth is in the database; the bus tells the other nodes at once, and each reads again now and then for what it did not hear.
"""

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

import structlog
from msgspec import json

from secureconnect.bus import Bus, Entry
from secureconnect.clock import Clock
from secureconnect.errors import ServiceError
from secureconnect.store import Database
from secureconnect.store.accounts import ended_since

log = structlog.get_logger(__name__)

TOPIC = "sign-ins:ended"
READ_AGAIN_SECONDS = 30.0
RETRY_SECONDS = 1.0
MARGIN = timedelta(minutes=1)
"""A token lives a little longer than it says: clocks differ, and so much is forgiven."""
_encode, _decoder = json.encode, json.Decoder(list[UUID])


class EndedSignIns:
    """Families of refresh tokens that were ended less than the life of an access token ago (`lifetime`)."""

    def __init__(self, *, database: Database, bus: Bus, clock: Clock, lifetime: timedelta) -> None:
        self._database = database
        self._bus = bus
        self._clock = clock
        self._remembered = lifetime + MARGIN
        self._ended: frozenset[UUID] = frozenset()

    def __contains__(self, sign_in: UUID | None) -> bool:
        return sign_in in self._ended

    def add(self, families: Iterable[UUID]) -> None:
        """These have just ended, here; all nodes hear of it."""
        families = list(families)
        if families:
            self._ended |= set(families)
            self._bus.publish(TOPIC, _encode(families))

    async def load(self) -> None:
        """Read what has ended lately; what has been so for long is forgotten. Raises Unavailable."""
        since, before = self._clock.now() - self._remembered, self._ended
        found = await self._database.read(lambda connection: ended_since(connection, since))
        self._ended = frozenset(found) | (self._ended - before)  # what was heard meanwhile may not have been there to read

    async def run(self) -> None:
        """Until cancelled: hear what ends at other nodes, and read again."""
        is_listening = False
        while True:
            try:
                if not is_listening:
                    await self._bus.subscribe(TOPIC, self._hear)
                    is_listening = True
                await self.load()
                pause = READ_AGAIN_SECONDS
            except ServiceError as failure:
                log.warning("ended sign-ins not read", reason=failure.detail)
                pause = RETRY_SECONDS
            await self._clock.sleep(pause)

    def _hear(self, entry: Entry) -> None:
        self._ended |= set(_decoder.decode(entry.body))
