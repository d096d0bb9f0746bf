"""A small HTTP/1.1 client for one origin: keep-alive connections, JSON in and out.

Used by people, and by the runs through it. A general client costs several times the CPU of this one for each request, and then
the driver is what a run measures. It follows no redirects and keeps no cookies; it must not be used for anything but load.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import httptools
import msgspec

T = TypeVar("T")

IDLE_SECONDS = 2.0
"""A connection unused for longer is not used again: servers close theirs after seconds, and a request would race with that."""


class LoadError(Exception):
    """The server, or what stands in its place, did not do what the run needs; the message says what was asked and what came."""


class Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes


class Problem(msgspec.Struct, frozen=True):
    """The part of RFC 9457 that a message to a person needs."""

    code: str = ""
    detail: str = ""


class _Connection(asyncio.Protocol):
    """One connection, one request at a time. The parser calls on_body and on_message_complete."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._answer: asyncio.Future[Answer] | None = None
        self.transport: asyncio.Transport | None = None
        self.idle_since = 0.0
        self.usable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not a check: uvloop's transports do not derive from asyncio's.
        self.transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes) -> asyncio.Future[Answer]:
        assert self.transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(LoadError(f"not an HTTP answer: {error}"))

    def on_body(self, part: bytes) -> None:
        self._body.append(part)

    def on_message_complete(self) -> None:
        self.usable = self.usable and self._parser.should_keep_alive()
        answer, self._answer = self._answer, None
        body = b"".join(self._body)
        self._body.clear()
        if answer is not None and not answer.done():
            answer.set_result(Answer(self._parser.get_status_code(), body))

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        self._fail(LoadError(f"the server closed the connection before it answered: {exc or 'end of stream'}"))

    def close(self) -> None:
        self.usable = False
        if self.transport is not None:
            self.transport.abort()

    def _fail(self, error: LoadError) -> None:
        self.usable = False
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)


class Rest:
    """Requests to one origin over at most `connections` connections."""

    def __init__(self, url: str, *, connections: int = 64, timeout: float = 30.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or parts.hostname is None:
            raise LoadError(f"not the address of a server: {url!r}; write http://host:port")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host = parts.hostname
        self._port = parts.port or (443 if self._tls else 80)
        self._authority = parts.netloc.rpartition("@")[2]
        self._timeout = timeout
        self._slots = asyncio.Semaphore(connections)
        self._idle: list[_Connection] = []

    async def call(
        self, method: str, path: str, answer: Callable[..., T] | Any, *, token: str | None = None, body: object = None
    ) -> T:
        """Ask, and decode the answer as `answer`. Raises LoadError on any status but 2xx, naming the problem's code."""
        got = await self.ask(method, path, token=token, body=body)
        if not 200 <= got.status < 300:
            raise LoadError(f"{method} {path}: {got.status} {_problem(got.body)}")
        decoded: T = msgspec.json.decode(got.body, type=answer)
        return decoded

    async def ask(self, method: str, path: str, *, token: str | None = None, body: object = None) -> Answer:
        """Ask, whatever the answer. Raises LoadError when there is none."""
        async with self._slots:
            try:
                async with asyncio.timeout(self._timeout):
                    return await self._exchange(self._request(method, path, token, body))
            except TimeoutError:
                raise LoadError(f"{method} {path}: no answer in {self._timeout:g} s") from None
            except OSError as error:
                raise LoadError(f"{method} {path}: {error}") from None

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def _exchange(self, request: bytes) -> Answer:
        connection = await self._connection()
        try:
            answer = await connection.send(request)
        except BaseException:
            connection.close()
            raise
        if connection.usable:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and time.monotonic() - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.close()
        loop = asyncio.get_running_loop()
        _, fresh = await loop.create_connection(_Connection, self._host, self._port, ssl=self._tls)
        return fresh

    def _request(self, method: str, path: str, token: str | None, body: object) -> bytes:
        content = b"" if body is None else msgspec.json.encode(body)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._authority}", f"Content-Length: {len(content)}"]
        if content:
            lines.append("Content-Type: application/json")
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        return "\r\n".join([*lines, "", ""]).encode() + content


def _problem(body: bytes) -> str:
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except msgspec.DecodeError:
        return body[:200].decode(errors="replace")
    return f"{problem.code}: {problem.detail}"
