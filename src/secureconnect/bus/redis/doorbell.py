"""The connection on which a node hears from one server that something was published. One a server; used by the bus alone.

It subscribes to each channel with a command of its own, because a cluster refuses two slots in one, and tells the bus of every
confirmation: what was published before it is in the stream. Only `run` connects; everybody else finds it broken and waits.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable

import structlog
from redis.asyncio.connection import Connection
from redis.exceptions import MovedError, RedisError

from secureconnect.bus.redis.cancellation import heeding
from secureconnect.bus.redis.lane import FIRST_PAUSE, LONGEST_PAUSE
from secureconnect.bus.redis.places import COMMAND_SECONDS, connect
from secureconnect.bus.redis.tally import Tally
from secureconnect.clock import Clock

log = structlog.get_logger(__name__)

PULSE_SECONDS = 2.0
"""A server that says nothing is asked; one that does not answer until the next time has gone without a word."""


class Doorbell:
    """`heard` gets channel and message, `confirmed` the channel; `uneasy` is told that topics may have moved."""

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        tally: Tally,
        *,
        heard: Callable[[bytes, bytes], None],
        confirmed: Callable[[bytes], None],
        uneasy: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._tally = tally
        self._heard = heard
        self._confirmed = confirmed
        self._uneasy = uneasy
        self._channels: dict[bytes, bool] = {}  # whether the server has confirmed it
        self._leaving: Counter[bytes] = Counter()
        self._connected = False
        self._silent = False
        self.server = ""
        """The run id of the server that it hears, empty while there is none."""

    async def add(self, channel: bytes) -> None:
        """Listen, now or when the server is there."""
        self._channels[channel] = False
        await self._say("SSUBSCRIBE", channel)

    async def remove(self, channel: bytes) -> None:
        if self._channels.pop(channel, None) is not None and self._connected:
            self._leaving[channel] += 1
            await self._say("SUNSUBSCRIBE", channel)

    async def repeat(self) -> None:
        """Ask again for what the server has not confirmed."""
        for channel in [channel for channel, confirmed in self._channels.items() if not confirmed]:
            await self._say("SSUBSCRIBE", channel)

    @property
    def is_waiting(self) -> bool:
        return not all(self._channels.values())

    async def run(self) -> None:
        """Until cancelled. A connection that breaks is made anew, and everything subscribed again."""
        await heeding(self.close())  # one that an earlier run has left
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pulse())
            pause = FIRST_PAUSE
            while True:
                try:
                    await heeding(self._connect())
                    pause = FIRST_PAUSE
                    await self._listen()
                except (RedisError, OSError, TimeoutError) as failure:
                    self._tally.lost += 1
                    log.warning("bus listens again soon", error=type(failure).__name__)
                await heeding(self.close())
                self._uneasy()
                await self._clock.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)

    async def close(self) -> None:
        self._connected, self.server = False, ""
        await self._connection.disconnect(nowait=True)

    async def _connect(self) -> None:
        async with asyncio.timeout(COMMAND_SECONDS):
            self.server = await connect(self._connection)
        self._leaving.clear()
        self._connected, self._silent = True, False
        self._channels = dict.fromkeys(self._channels, False)
        await self.repeat()

    async def _listen(self) -> None:
        """Until the connection breaks."""
        while True:
            try:
                # A message, a confirmation (kind, channel, number of channels), or the answer to a PING.
                answer = await self._connection.read_response(timeout=math.inf)
            except MovedError:
                self._uneasy()
                continue
            self._silent = False
            if answer[0] == b"smessage":
                self._heard(answer[1], answer[2])
            elif answer[0] == b"ssubscribe":
                self._on_subscribed(answer[1])
            elif answer[0] == b"sunsubscribe":
                self._on_unsubscribed(answer[1])

    def _on_subscribed(self, channel: bytes) -> None:
        if channel in self._channels:
            self._channels[channel] = True
            self._confirmed(channel)

    def _on_unsubscribed(self, channel: bytes) -> None:
        if self._leaving[channel]:
            self._leaving[channel] -= 1
        elif channel in self._channels:  # its slot is another server's now
            self._channels[channel] = False
            self._uneasy()

    async def _pulse(self) -> None:
        while True:
            await self._clock.sleep(PULSE_SECONDS)
            if self._connected and self._silent:
                await self.close()
            self._silent = True
            await self._say("PING")

    async def _say(self, *words: str | bytes) -> None:
        """Nothing when there is no connection: `run` makes it and subscribes to everything."""
        if self._connected and self._connection.is_connected:
            try:
                await heeding(self._connection.send_command(*words, check_health=False))
            except (RedisError, OSError):
                self._connected = False  # the listener finds it broken too
