"""Keeps a socket open beyond its access token: shows the server a newer one in time (frame `auth`, docs/protocol.md).

Used by `sockets` for both kinds of sockets. Servers of version 0.1 say no `token_expires_in`, and are sent nothing.
"""

import asyncio

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from secureconnect.clock import Clock
from secureconnect.robot.client import Client
from secureconnect.robot.problems import ProblemError, UnreachableError

log = structlog.get_logger(__name__)

RENEW_AFTER = 0.7
"""The part of a token's remaining life after which it is renewed, and after which that is tried again."""
SHORTEST_SECONDS = 1.0
REF = "auth"
"""Tells the answer to an `auth` frame from others."""


class TokenRenewal:
    """The renewals of one socket, one connection after the other."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def plan(self, connection: ClientConnection, seconds: int | None) -> None:
        """The token of this connection expires in `seconds`; None: the server does not say."""
        self.stop()
        if seconds is not None:
            self._task = asyncio.ensure_future(self._renew(connection, float(seconds)))

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _renew(self, connection: ClientConnection, left: float) -> None:
        # Its answer plans anew and ends this loop. Without one it is tried again while there is time.
        while left > SHORTEST_SECONDS:
            await self._clock.sleep(left * RENEW_AFTER)
            left *= 1 - RENEW_AFTER
            try:
                token = await self._client.access_token(at_least=left + 1)
                await connection.send(msgspec.json.encode({"type": "auth", "token": token, "ref": REF}).decode())
            except ConnectionClosed:
                return
            except (ProblemError, UnreachableError) as failure:
                log.debug("token not renewed", reason=str(failure))
