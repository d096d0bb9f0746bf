"""The page of metrics at /metrics: on a listener of its own, or, when the operator says so, beside the API. ASGI.

Not a route: it is in no description of the API, and no gateway leads to it.
"""

from collections.abc import Callable
from typing import Any

from litestar.types import ASGIApp, Receive, Send

from secureconnect.api.problems import plain_answer
from secureconnect.errors import MethodNotAllowed, NotFound, ServiceError
from secureconnect.ops.metrics import CONTENT_TYPE, Metrics

PATH = "/metrics"


class MetricsPage:
    """Answers at /metrics; everything else goes on to the application, or is not there."""

    def __init__(self, metrics: Metrics, app: ASGIApp | None = None, count: Callable[[Any], None] | None = None) -> None:
        """`count` is told of each request with its scope, and raises RateLimited when there are too many."""
        self._metrics = metrics
        self._app = app
        self._count = count

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["path"] != PATH and self._app is not None:
            await self._app(scope, receive, send)
        elif scope["path"] != PATH:
            await _refuse(NotFound(), send)
        elif scope["method"] != "GET":
            await _refuse(MethodNotAllowed(), send, (b"allow", b"GET"))
        else:
            scope["path_template"] = PATH
            if self._count is not None:
                self._count(scope)
            await _send(send, 200, [(b"content-type", CONTENT_TYPE.encode())], await self._metrics.page())


async def _refuse(error: ServiceError, send: Send, *more: tuple[bytes, bytes]) -> None:
    fields, body = plain_answer(error, "-")
    await _send(send, error.status, [*((name.encode(), value.encode()) for name, value in fields.items()), *more], body)


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
