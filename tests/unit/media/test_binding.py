"""A TURN server is asked whether it is there, and only STUN counts as an answer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from secureconnect.media.binding import ask

pytestmark = pytest.mark.anyio

Answer = Callable[[bytes], bytes | None]


def right(request: bytes) -> bytes:
    """A Binding success: the type, no attributes, and the transaction as it came (RFC 8489, section 5)."""
    return b"\x01\x01\0\0" + request[4:20]


@asynccontextmanager
async def listening(answer: Answer) -> AsyncIterator[tuple[str, str]]:
    """The URLs of a server that says this to whatever it is asked: over UDP, over TCP."""

    class Datagrams(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.DatagramTransport", transport)

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            said = answer(data)
            if said is not None:
                self.transport.sendto(said, addr)

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(await reader.readexactly(20)) or b"")
        writer.close()

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
    server = await asyncio.start_server(stream, "127.0.0.1", 0)
    udp, tcp = transport.get_extra_info("sockname")[1], server.sockets[0].getsockname()[1]
    try:
        yield f"turn:127.0.0.1:{udp}?transport=udp", f"turn:127.0.0.1:{tcp}?transport=tcp"
    finally:
        transport.close()
        server.close()
        await server.wait_closed()


async def test_a_server_that_answers_is_there() -> None:
    async with listening(right) as urls, asyncio.timeout(10):
        for url in urls:
            await ask(url)


async def test_a_datagram_that_was_lost_is_sent_again() -> None:
    asked: list[bytes] = []

    def second_time(request: bytes) -> bytes | None:
        asked.append(request)
        return right(request) if len(asked) > 1 else None

    async with listening(second_time) as (udp, _), asyncio.timeout(10):
        await ask(udp)
    assert asked[0] == asked[1], "the same transaction (RFC 8489, section 6.2.1)"


@pytest.mark.parametrize(
    "answer",
    [lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n", lambda request: right(request)[:8] + b"\0" * 12, lambda _: None],
    ids=["another protocol", "another transaction", "nothing"],
)
async def test_anything_else_is_no_answer(answer: Answer) -> None:
    async with listening(answer) as (udp, tcp), asyncio.timeout(10):
        with pytest.raises(OSError, match=r"STUN|closed"):
            await ask(tcp)
        with pytest.raises((OSError, TimeoutError)):
            await asyncio.wait_for(ask(udp), 0.2)


async def test_nobody_there_is_an_error_in_words() -> None:
    async with listening(right) as (_, tcp):
        pass
    with pytest.raises(OSError, match=r"[Cc]onnect"):
        await asyncio.wait_for(ask(tcp), 10)
