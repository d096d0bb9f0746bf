"""Around every request: an id to find it by, one line in the log, one count. ASGI middleware, outermost."""

import time
from typing import Any
from uuid import UUID

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from secureconnect.ids import short
from secureconnect.ops.logging import request_id_from
from secureconnect.ops.metrics import Metrics

log = structlog.get_logger("secureconnect.http")

NOWHERE = "-"
"""The route of a request to an address that leads nowhere: one word for all, so that nobody can invent names for figures."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""Of others there is only one figure, too."""
QUIET = ("/health", "/metrics", "/static", "/sdk")
"""Asked all day long; worth a line only when they fail."""


class RequestLog:
    """Names, logs and counts requests."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 500
        begun = time.perf_counter()

        async def name_and_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request=request_id):
            try:
                await self._app(scope, receive, name_and_send)
            finally:
                self._note(scope, status, time.perf_counter() - begun)

    def _note(self, scope: Any, status: int, seconds: float) -> None:
        method, path = scope["method"], scope["path"]
        route = scope.get("path_template", NOWHERE)
        self._metrics.requests.labels(method if method in METHODS else "other", route, status).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        if status < 400 and path.startswith(QUIET):
            return
        line = log.info if status < 500 else log.warning
        line("request", method=method, route=route, path=path, status=status, ms=round(seconds * 1000, 1), **_context(scope))


def _context(scope: Any) -> dict[str, str]:
    """Whom and which call a request is about, as far as it came to be known."""
    about = {"user": scope.get("state", {}).get("user_id"), "call": scope.get("path_params", {}).get("call_id")}
    return {name: short(value) for name, value in about.items() if isinstance(value, UUID)}


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            return request_id_from(value.decode("latin-1"))
    return request_id_from("")
