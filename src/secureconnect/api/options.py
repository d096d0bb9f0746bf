"""OPTIONS of a route (RFC 9110, section 9.3.7): 204 with the methods that it has. ASGI, right above the routes.

The framework makes an answer of its own that names the methods of one handler only; its refusal of a method names all of them.
"""

from typing import Any

from litestar.types import ASGIApp, Message, Receive, Send

NO_METHOD = "TRACE"
"""A method that no route has."""


class Options:
    """Answers OPTIONS with what the routes say to a method that they do not have."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope.get("method") != "OPTIONS":
            await self._app(scope, receive, send)
            return
        is_allowed = False

        async def send_allowed(message: Message) -> None:
            nonlocal is_allowed
            if message["type"] == "http.response.start" and message["status"] == 405:
                is_allowed = True
                message["status"] = 204
                message["headers"] = [(name, value) for name, value in message["headers"] if name.lower() == b"allow"]
            elif message["type"] == "http.response.body" and is_allowed:
                message["body"] = b""
            await send(message)

        scope["method"] = NO_METHOD
        try:
            await self._app(scope, receive, send_allowed)
        finally:
            scope["method"] = "OPTIONS"
