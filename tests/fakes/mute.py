"""A way to a server on which packets can begin to vanish: open connections stay open and carry nothing more, new ones are good."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class MutedWay:
    """A port of its own that leads to another."""

    def __init__(self) -> None:
        self.port = 0
        self._muted = asyncio.Event()

    def mute(self) -> None:
        """From now on nothing passes on the connections there are."""
        self._muted.set()
        self._muted = asyncio.Event()

    async def carry(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, both ways, until it ends or is muted; muted ones hang until they are closed by the client."""
        muted = self._muted
        there, back = await asyncio.open_connection("127.0.0.1", port)
        pumps = [asyncio.create_task(_pump(reader, back, muted)), asyncio.create_task(_pump(there, writer, muted))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for one in (back, writer):
                one.close()
                with suppress(OSError):
                    await one.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, muted: asyncio.Event) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            if not muted.is_set():
                writer.write(data)


@asynccontextmanager
async def muted_way_to(port: int) -> AsyncIterator[MutedWay]:
    """A way to the server on this loopback port."""
    way = MutedWay()
    carrying: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        carrying.add(task)
        try:
            await way.carry(port, reader, writer)
        finally:
            carrying.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    way.port = server.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        server.close()
        for task in carrying.copy():
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)
