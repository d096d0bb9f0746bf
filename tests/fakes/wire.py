"""One request, byte by byte, and its whole answer: for what no library would send."""

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

PATIENCE = 20.0
Place = tuple[str, Path | None]
"""Where: the address of a node or a gateway, and the certificate to believe there."""


class Answer(Struct, frozen=True):
    """An answer: status, the lines of each field by its name in lower case, body."""

    status: int
    fields: dict[str, list[str]]
    body: bytes

    def field(self, name: str) -> str | None:
        """The value of a field, its lines joined; None when it is absent."""
        return ", ".join(self.fields[name]) if name in self.fields else None

    @property
    def is_of_haproxy(self) -> bool:
        """Whether HAProxy's parser refused it: its words for that cannot be set (2.6, `http_err_msgs`)."""
        return self.body.startswith(b"<html><body><h1>400 Bad request</h1>")

    @property
    def problem(self) -> dict[str, Any]:
        """The body as a problem (RFC 9457), which it must be."""
        assert self.field("content-type") == "application/problem+json", (self.status, self.fields, self.body)
        found: dict[str, Any] = json.loads(self.body)
        assert found["status"] == self.status
        assert {"type", "title", "detail", "code", "request_id"} <= found.keys()
        return found


async def connect(place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection with nothing said on it yet."""
    url, certificate = place
    tls = ssl.create_default_context(cafile=certificate) if certificate is not None else None
    return await asyncio.open_connection("127.0.0.1", urlsplit(url).port, ssl=tls)


async def exchange(place: Place, head: bytes) -> Answer:
    """Send a head and return the answer: up to its end, or to the end of a 101's head."""
    reader, writer = await connect(place)
    try:
        async with asyncio.timeout(PATIENCE):
            writer.write(head)
            return await read_answer(reader, has_body=not head.startswith(b"HEAD "))
    finally:
        writer.transport.abort()


async def read_answer(reader: asyncio.StreamReader, *, has_body: bool = True) -> Answer:
    """The next answer on a connection."""
    line, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields: dict[str, list[str]] = {}
    for one in rest:
        name, colon, value = one.partition(":")
        if colon:
            fields.setdefault(name.lower(), []).append(value.strip())
    status = int(line.split(" ")[1])
    body = b""
    if has_body and status not in (101, 204, 304):
        length = fields.get("content-length")
        body = await reader.readexactly(int(length[0])) if length else await _chunks(reader)
    return Answer(status, fields, body)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


def request(place: Place, target: str, *lines: str, method: str = "GET") -> bytes:
    """A request's head, with Host as the place has it unless `lines` say another."""
    host = [] if any(line.lower().startswith("host:") for line in lines) else [f"Host: {urlsplit(place[0]).netloc}"]
    return "\r\n".join([f"{method} {target} HTTP/1.1", *host, *lines, "", ""]).encode("latin-1")


OPENING = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
