"""The patience of the HTTP protocol: what it waits for, and for how long."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from structlog.testing import capture_logs
from uvicorn.server import ServerState

from secureconnect import http_protocol
from secureconnect.config import ConfigurationError, load_settings
from secureconnect.http_protocol import HEAD_BYTES, PatientProtocol
from secureconnect.server import listen_for_metrics

pytestmark = pytest.mark.anyio

PATIENCE = 10.0
BRIEF = 0.2


@pytest.fixture(params=[BRIEF])
async def port(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """Where an application listens that reads a request to its end and says how much there was."""
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", request.param)
    config = uvicorn.Config(_count, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    listening = await asyncio.get_running_loop().create_server(lambda: PatientProtocol(config, state, {}), "127.0.0.1", 0)
    yield listening.sockets[0].getsockname()[1]
    listening.close()
    for connection in list(state.connections):
        connection.shutdown()
    await listening.wait_closed()


async def _count(_scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    body = str(size).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


class Client:
    """A connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def say(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> bytes:
        """The next answer: its status line and body."""
        async with asyncio.timeout(PATIENCE):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            return head.split(b"\r\n")[0] + b" | " + await self._reader.readexactly(length)

    async def is_closed(self) -> bool:
        """Waits until the server has closed; False when it has anything more to say."""
        async with asyncio.timeout(PATIENCE):
            rest = await self._reader.read()
        return rest == b""


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


def problem_in(answer: bytes) -> tuple[str, str]:
    """Status line and code of a problem."""
    line, _, body = answer.decode().partition(" | ")
    return line, json.loads(body)["code"]


@pytest.mark.parametrize("words", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: x\r\nx-more: "], ids=["nothing", "line", "headers"])
async def test_a_request_that_does_not_come_is_not_waited_for(port: int, words: bytes) -> None:
    async with connected(port) as client:
        client.say(words)
        assert problem_in(await client.answer()) == ("HTTP/1.1 408 Request Timeout", "request_timeout")
        assert await client.is_closed()


async def test_a_body_that_does_not_end_is_not_waited_for(port: int) -> None:
    async with connected(port) as client:
        client.say(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf")
        assert await client.is_closed()


@pytest.mark.parametrize("port", [PATIENCE], indirect=True)
@pytest.mark.parametrize(
    ("words", "more"),
    [(b"GET /", b"y"), (b"GET / HTTP/1.1\r\nx: ", b"y"), (b"GET / HTTP/1.1\r\n", b"y: 1\r\n")],
    ids=["address", "header", "headers"],
)
async def test_a_head_that_does_not_end_is_not_kept(port: int, words: bytes, more: bytes) -> None:
    async with connected(port) as client:
        client.say(words)
        answer = asyncio.create_task(client.answer())
        said = 0
        while not answer.done():
            said += len(more) * 100
            client.say(more * 100)
            await asyncio.sleep(0)
        assert problem_in(await answer) == ("HTTP/1.1 431 Request Header Fields Too Large", "head_too_large")
        assert said > HEAD_BYTES


@pytest.mark.parametrize("port", [PATIENCE], indirect=True)
async def test_requests_that_come_are_answered_one_after_the_other(port: int) -> None:
    body = b"x" * (2 * HEAD_BYTES)
    async with connected(port) as client:
        for _ in range(3):
            client.say(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-")
            client.say(b"length: %d\r\n\r\n" % len(body))
            client.say(body)
            assert await client.answer() == b"HTTP/1.1 200 OK | %d" % len(body)


def test_a_default_port_of_metrics_that_is_taken_stops_no_server_and_a_chosen_one_does(tmp_path: Path) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    other = port - 1000  # a port that the kernel chooses is far above
    with capture_logs() as lines:
        assert listen_for_metrics(load_settings(data_dir=tmp_path, port=other)) is None
    assert [line["event"] for line in lines] == ["metrics not served"]
    with pytest.raises(ConfigurationError, match="choose another with metrics_port"):
        listen_for_metrics(load_settings(data_dir=tmp_path, port=other, metrics_port=port))
    assert listen_for_metrics(load_settings(data_dir=tmp_path, port=other, metrics_port=other)) is None, "it is beside the API"
    taken.close()
