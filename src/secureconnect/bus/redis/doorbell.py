"""The connection to Redis on which a node hears that something was published. Used by the bus alone."""

import asyncio
from typing import Any

from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError


class Doorbell(PubSub):
    """The connection that hears. Only its listener makes it anew.

    The library lets whoever finds it broken do so, and two who do it at once read each other's answers. Here everybody else is told
    that it is broken.
    """

    listener: "asyncio.Task[Any] | None" = None

    async def connect(self) -> None:
        connection: Any = self.connection
        broken = connection is None or not connection.is_connected
        if broken and asyncio.current_task() is not self.listener:
            raise RedisConnectionError("The listener is about to connect.")
        await super().connect()  # type: ignore[no-untyped-call]

    async def _reconnect(self, conn: Any, *_: Any) -> None:
        await conn.disconnect()
