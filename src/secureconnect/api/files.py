"""Files that are served as they are: read once at the start, packed once, and found by their exact path.

Each form, plain and gzip, has an entity tag of its own; If-None-Match is answered with 304 (RFC 9110, section 13.1.2). A path with
`?v=` and the file's version may be kept for ever: what changes gets another version, so another address.
"""

import gzip
import hashlib
import mimetypes
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from litestar.types import ASGIApp, Receive, Send
from msgspec import Struct

from secureconnect.http.fields import accepts, matches, values_of

COMPRESSED = ("text/", "application/javascript", "application/json", "application/manifest+json", "image/svg+xml")
PACKED_FROM = 512
"""Bytes; less is not worth packing."""
REVALIDATED = b"no-cache"
"""A browser asks each time: what a deployment changed is seen at the next load."""
KEPT = b"public, max-age=31536000, immutable"
TYPES = {".js": "text/javascript", ".webmanifest": "application/manifest+json", ".md": "text/markdown", "": "text/plain"}


class StoredFile(Struct, frozen=True):
    """One file, ready to be sent. `route` is what it is counted as."""

    body: bytes
    packed: bytes | None
    media_type: str
    version: str
    route: str
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def tags(self) -> tuple[str, str]:
        """The entity tags of the plain and of the packed form."""
        return f'"{self.version}"', f'"{self.version}-gzip"'


def store(body: bytes, media_type: str, route: str, headers: Mapping[str, str]) -> StoredFile:
    """Make a file of what is in memory."""
    version = hashlib.sha256(body).hexdigest()[:16]
    packs = media_type.startswith(COMPRESSED) and len(body) >= PACKED_FROM
    if media_type.startswith("text/"):
        media_type += "; charset=utf-8"
    fields = tuple((name.encode(), value.encode()) for name, value in headers.items())
    return StoredFile(body, gzip.compress(body, 9, mtime=0) if packs else None, media_type, version, route, fields)


def read_folder(folder: Path, prefix: str, headers: Mapping[str, str]) -> dict[str, StoredFile]:
    """Read every file below a folder. Returns them by their paths under `prefix`."""
    return {
        f"{prefix.rstrip('/')}/{path.relative_to(folder).as_posix()}": store(
            path.read_bytes(), media_type_of(path.name), prefix, headers
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def media_type_of(name: str) -> str:
    """Return the media type of a file by its name."""
    return TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


class Files:
    """Answers for the paths it has; everything else goes on to the application."""

    def __init__(self, app: ASGIApp, files: Mapping[str, StoredFile], count: Callable[[Any], None]) -> None:
        """`count` is told of each request with its scope, and raises RateLimited when there are too many."""
        self._app = app
        self._files = files
        self._count = count

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        file = self._files.get(scope["path"]) if scope["type"] == "http" else None
        if file is None or scope["method"] not in ("GET", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        scope["path_template"] = file.route
        self._count(scope)
        if scope["method"] == "OPTIONS":
            await _send(send, 204, [(b"allow", b"GET, HEAD, OPTIONS")])
            return
        packed = file.packed if accepts(values_of(scope["headers"], b"accept-encoding"), "gzip") else None
        plain_tag, packed_tag = file.tags
        tags = (plain_tag, packed_tag) if packed is None else (packed_tag, plain_tag)
        unchanged = matches(values_of(scope["headers"], b"if-none-match"), tags)
        headers = [
            (b"etag", (unchanged or tags[0]).encode()),
            (b"vary", b"Accept-Encoding"),
            (b"cache-control", KEPT if _version_of(scope["query_string"]) == file.version else REVALIDATED),
        ]
        if unchanged is not None:
            await _send(send, 304, headers)
            return
        headers += [(b"content-type", file.media_type.encode()), *file.headers]
        headers += [] if packed is None else [(b"content-encoding", b"gzip")]
        await _send(send, 200, headers, file.body if packed is None else packed)


def _version_of(query: bytes) -> str | None:
    return parse_qs(query.decode("latin-1")).get("v", [None])[0] if query else None


async def _send(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> None:
    fields = [*headers] if status in (204, 304) else [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body, "more_body": False})
