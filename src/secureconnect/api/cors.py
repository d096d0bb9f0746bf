"""Cross-origin requests (https://fetch.spec.whatwg.org/#http-cors-protocol): which pages of other origins may read answers.

Without credentials: a page of another origin has no cookie here, and sends a token of its own.
"""

from typing import Any

from litestar.types import ASGIApp, Message, Receive, Send

from secureconnect.http.fields import values_of
from secureconnect.http.origins import Origins

METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
HEADERS = b"Authorization, Content-Type, Idempotency-Key, If-None-Match, Range, X-Request-ID"
"""What our API reads. A page that asks for more gets a preflight that does not allow it."""
EXPOSED = b"Accept-Ranges, Content-Disposition, Content-Length, Content-Range, ETag, Retry-After, WWW-Authenticate, X-Request-ID"
MAX_AGE_SECONDS = b"600"


class Cors:
    """Answers preflights, and says whose pages may read an answer."""

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        origin = values_of(scope["headers"], b"origin") if scope["type"] == "http" else []
        if not origin:
            await self._app(scope, receive, send)
            return
        is_allowed = self._origins.allows(origin)
        if scope["method"] == "OPTIONS" and values_of(scope["headers"], b"access-control-request-method"):
            await _answer_preflight(origin[0], send, is_allowed=is_allowed)
            return

        async def send_with_origin(message: Message) -> None:
            if message["type"] == "http.response.start":
                exposed = [(b"access-control-expose-headers", EXPOSED)] if is_allowed else []
                allowed = _allow(origin[0], is_allowed=is_allowed)
                message["headers"] = [*message["headers"], (b"vary", b"Origin"), *allowed, *exposed]
            await send(message)

        await self._app(scope, receive, send_with_origin)


def _allow(origin: str, *, is_allowed: bool) -> list[tuple[bytes, bytes]]:
    return [(b"access-control-allow-origin", origin.encode("latin-1"))] if is_allowed else []


async def _answer_preflight(origin: str, send: Send, *, is_allowed: bool) -> None:
    """Answer 204 with what is allowed; for an origin that is not allowed, without a word of it: the browser refuses."""
    headers = [(b"vary", b"Origin"), (b"cache-control", b"no-store"), *_allow(origin, is_allowed=is_allowed)]
    if is_allowed:
        headers += [
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", HEADERS),
            (b"access-control-max-age", MAX_AGE_SECONDS),
        ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
