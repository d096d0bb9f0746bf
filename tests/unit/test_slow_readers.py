"""Clients that ask and do not read the answer: how long it waits for them, and how much of it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from secureconnect import http_protocol
from secureconnect.http_protocol import PatientProtocol, SlowReaders

pytestmark = pytest.mark.anyio

ANSWER_BYTES = 16 * 1024 * 1024
"""More than the kernel keeps of a connection."""
PATIENCE = 10.0


async def _answer(_scope: Any, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(ANSWER_BYTES).encode())]})
    await send({"type": "http.response.body", "body": b"x" * ANSWER_BYTES})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(PatientProtocol, "slow_readers", SlowReaders())
    config = uvicorn.Config(_answer, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    listening = await asyncio.get_running_loop().create_server(lambda: PatientProtocol(config, state, {}), "127.0.0.1", 0)
    yield listening.sockets[0].getsockname()[1]
    listening.close()
    for connection in list(state.connections):
        connection.transport.abort()
    await listening.wait_closed()


async def ask(port: int, receive_bytes: int = 4096) -> socket.socket:
    """A connection that has asked, and reads when its test does."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    plain.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(plain, ("127.0.0.1", port))
    await loop.sock_sendall(plain, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
    return plain


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            if holds():
                return
            await asyncio.sleep(0.005)


async def test_a_client_that_reads_nothing_is_cut(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "READING_SECONDS", 0.2)
    readers = PatientProtocol.slow_readers
    with await ask(port):
        await until(lambda: readers.held > 0)
        await until(lambda: readers.cut == 1)
        assert readers.held == 0


async def test_a_client_that_reads_slowly_gets_all(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "READING_SECONDS", 0.5)
    readers, size, loop = PatientProtocol.slow_readers, 0, asyncio.get_running_loop()
    with await ask(port, receive_bytes=1024 * 1024) as plain:
        while size < ANSWER_BYTES:
            size += len(await loop.sock_recv(plain, 1024 * 1024))
            await asyncio.sleep(0.02)
    assert readers.cut == 0
    await until(lambda: readers.held == 0)


async def test_what_waits_for_all_has_a_limit(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "RESPONSE_BYTES", 3 * ANSWER_BYTES)
    readers = PatientProtocol.slow_readers
    connections = []
    for number in range(1, 6):
        connections.append(await ask(port))
        await until(lambda: readers.held > min(number, 3) * ANSWER_BYTES // 2 and readers.cut == max(0, number - 3))  # noqa: B023
        assert readers.held <= 3 * ANSWER_BYTES
    for plain in connections:
        plain.close()
    await until(lambda: readers.held == 0)
