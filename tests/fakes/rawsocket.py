"""A WebSocket whose client side is the test's own: it reads, or does not, as told. For what a well-behaved library never does."""

import asyncio
import base64
import os
import socket

from tests.fakes.people import PATIENCE_SECONDS

RECEIVE_BUFFER_BYTES = 4096
SEGMENT_BYTES = 536
"""Both small, for the kernel sizes its send buffer by the segment: what is not read soon waits in the server."""


def upgrade_request(port: int, token: str, path: str) -> bytes:
    """What opens a socket (RFC 6455, section 4.1)."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()


class RawSocket:
    """Open until its test ends it with `close`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, token: str, path: str) -> "RawSocket":
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
        raw = cls(*await asyncio.open_connection(sock=plain, limit=RECEIVE_BUFFER_BYTES))
        try:
            raw.writer.write(upgrade_request(port, token, path))
            head = await raw.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 "), head
        except BaseException:
            raw.close()  # a refused socket has no one else to close it
            raise
        return raw

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload (RFC 6455, section 5.2)."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            first, length = await self.reader.readexactly(2)
            if length >= 126:
                length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8), "big")
            return first & 0x0F, await self.reader.readexactly(length)

    async def to_the_end(self) -> tuple[list[bytes], int]:
        """Read until the server says goodbye: the text frames, and the close code."""
        texts = []
        while True:
            opcode, payload = await self.frame()
            if opcode == 1:
                texts.append(payload)
            elif opcode == 8:
                return texts, int.from_bytes(payload[:2], "big")

    def close(self) -> None:
        self.writer.transport.abort()
