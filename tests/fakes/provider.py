"""A push provider's HTTP server on loopback, in this process: notes what it is sent, answers as a test says."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

PATIENCE_SECONDS = 20.0


@dataclass
class Request:
    """What came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """What goes back; `after` is waited for first."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    after: asyncio.Event | None = None


class Provider:
    """`answer` decides. `requests` is everything that came, in order."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self._came = asyncio.Event()

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return  # whoever sent it died in the middle
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        request = Request(scope["method"], scope["raw_path"].decode(), headers, body)
        self.requests.append(request)
        self._came.set()
        answer = self.answer(request)
        if answer.after is not None:
            await answer.after.wait()
        fields = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": fields})
        await send({"type": "http.response.body", "body": answer.body})

    async def heard(self, count: int) -> list[Request]:
        """Wait until so many came."""
        await self.until(lambda: len(self.requests) >= count)
        return self.requests

    async def until(self, enough: Callable[[], bool]) -> None:
        """Wait until what came is enough."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not enough():
                self._came.clear()
                await self._came.wait()


@asynccontextmanager
async def listening(provider: Provider) -> AsyncIterator[str]:
    """Its URL, while it listens."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(provider, lifespan="off", log_config=None, ws="none", timeout_graceful_shutdown=1))
    running = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
        listener.close()
