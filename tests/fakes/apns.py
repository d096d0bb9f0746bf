"""APNs on loopback: HTTP/2 over TLS, in a process of its own under granian. `running_apns` starts it; `app` is what runs there.

A device token that begins with a status (`410…`) gets that status, with the reason that the test has named for it.
"""

import asyncio
import json
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.fakes.certificates import self_signed

START_SECONDS = 20.0

_seen: list[dict[str, Any]] = []
_reasons: dict[str, str] = {}


async def app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """`/3/device/<token>` as Apple has it; `/reasons` and `/seen` for the test."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    status, answer = 200, b""
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    if scope["path"] == "/seen":
        answer = json.dumps(_seen).encode()
    elif scope["path"] == "/reasons":
        _reasons.update(json.loads(body))
    else:
        peer = list(scope["client"])
        version, path = scope["http_version"], scope["path"]
        _seen.append({"path": path, "version": version, "peer": peer, "headers": headers, "body": json.loads(body)})
        named = path.rpartition("/")[2][:3]
        if named in _reasons:
            status, answer = int(named), json.dumps({"reason": _reasons[named]}).encode()
    fields = [(b"apns-id", headers.get("apns-id", "-").encode())]
    if status == 429:
        fields.append((b"retry-after", b"11"))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": answer})


class Apple:
    """The running server: where it is, how to trust it, what it has seen."""

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        self.url = url
        self.tls = tls
        self._http = httpx2.AsyncClient(base_url=url, verify=tls, http1=False, http2=True, trust_env=False)

    async def seen(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self._http.get("/seen")).json()
        return found

    async def answers(self, status: int, reason: str) -> None:
        """Tokens that begin with this status get it, and this reason."""
        await self._http.post("/reasons", json={str(status): reason})

    async def close(self) -> None:
        await self._http.aclose()


@asynccontextmanager
async def running_apns(folder: Path) -> AsyncIterator[Apple]:
    """A fresh server with a certificate of its own, while the block lasts."""
    certificate, key = self_signed(folder)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = ("--interface", "asgi", "--http", "2", "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "granian", *options),
        *("--ssl-certificate", str(certificate), "--ssl-keyfile", str(key), "tests.fakes.apns:app"),
        cwd=Path(__file__).parent.parent.parent,
    )
    apple = Apple(f"https://127.0.0.1:{port}", ssl.create_default_context(cafile=str(certificate)))
    try:
        async with asyncio.timeout(START_SECONDS):
            await _until_it_answers(apple)
        yield apple
    finally:
        await apple.close()
        process.terminate()
        await process.wait()


async def _until_it_answers(apple: Apple) -> None:
    while True:
        try:
            await apple.seen()
        except httpx2.ConnectError:
            await asyncio.sleep(0.05)
        else:
            return
