"""Around every route: what holds for all requests and answers, whatever the route is. ASGI middleware, below the request log.

Refuses what the head alone decides, reads the gateway's word on the client, answers HEAD as GET, and puts the headers on that keep
answers out of caches and connections in TLS. No route is known here.
"""

from functools import lru_cache
from typing import Any

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from secureconnect.api.problems import plain_answer
from secureconnect.errors import Internal, ServiceError
from secureconnect.http.fields import accepts, values_of
from secureconnect.http.proxies import TrustedProxies

log = structlog.get_logger(__name__)

REFUSAL = "refusal"
"""Where the HTTP protocol leaves the error that a head deserves, in the scope's state."""
HEAD_OF_GET = "head_of_get"
"""Set in the state of a request that came as HEAD: its body is not sent, so a route need not make it."""
CAME_BY = "came_by"
"""How the client came, `http` or `https`; None when a proxy may have ended TLS without saying so."""
PRIVATE = "/v1/"
USUAL_LENGTH = 128
"""Characters of Accept-Encoding; longer lines are not worth remembering."""
HSTS = (b"strict-transport-security", b"max-age=31536000")


@lru_cache(256)
def _accepts_gzip(codings: tuple[str, ...]) -> bool:
    """Remember what the few usual lines mean."""
    return accepts(codings, "gzip")


class Edge:
    """What holds for all."""

    def __init__(self, app: ASGIApp, *, proxies: TrustedProxies, is_tls: bool = False) -> None:
        """`is_tls`: TLS ends in this process, so browsers are told to stay with it (RFC 6797)."""
        self._app = app
        self._proxies = proxies
        self._is_tls = is_tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        answer = _Answer(scope, send, is_tls=self._is_tls)
        self._prepare(scope)
        refusal = scope["state"].get(REFUSAL)
        if isinstance(refusal, ServiceError):
            await answer.refuse(refusal)
            return
        try:
            await self._app(scope, receive, answer.send)
        except ServiceError as error:
            await answer.refuse(error)
        except Exception:
            if answer.is_begun:
                raise
            log.exception("request failed", path=scope["path"])
            await answer.refuse(Internal())

    def _prepare(self, scope: Any) -> None:
        """Make the request what routes are to see: with the client's address and scheme, and GET for HEAD."""
        headers = scope["headers"]
        if scope.get("client"):
            peer = scope["client"][0]
            scope["client"] = (self._proxies.client_of(peer, values_of(headers, b"x-forwarded-for")), 0)
            said = self._proxies.scheme_of(peer, values_of(headers, b"x-forwarded-proto"))
            scope["state"][CAME_BY] = said or ("https" if scope["scheme"] == "https" else None)
            scope["scheme"] = said or scope["scheme"]
        # The framework looks for the word alone; `gzip;q=0` has it, too.
        codings = values_of(headers, b"accept-encoding")
        if codings:
            scope["headers"] = [pair for pair in headers if pair[0] != b"accept-encoding"]
            short = sum(map(len, codings)) <= USUAL_LENGTH
            is_gzip = _accepts_gzip(tuple(codings)) if short else accepts(codings, "gzip")
            scope["headers"] += [(b"accept-encoding", b"gzip")] if is_gzip else []
        if scope["method"] != "HEAD":
            return
        # It says HEAD again once the answer begins: then uvicorn sends no body, and the log counts it as what it was.
        scope["method"] = "GET"
        scope["state"][HEAD_OF_GET] = True


class _Answer:
    """An answer on its way out."""

    def __init__(self, scope: Any, send: Send, *, is_tls: bool) -> None:
        self.is_begun = False
        self._scope = scope
        self._send = send
        self._is_tls = is_tls

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_begun = True
            if self._scope["state"].get(HEAD_OF_GET):
                self._scope["method"] = "HEAD"
            message["headers"] = self._with_defaults([*message["headers"]], message["status"])
        await self._send(message)

    async def refuse(self, error: ServiceError) -> None:
        """Answer with a problem, outside the framework."""
        fields, body = plain_answer(error, self._scope["state"].get("request_id", "-"))
        headers = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
        headers.append((b"content-length", str(len(body)).encode()))
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    def _with_defaults(self, headers: list[tuple[bytes, bytes]], status: int) -> list[tuple[bytes, bytes]]:
        names = {name.lower() for name, _ in headers}
        if b"cache-control" not in names and (self._scope["path"].startswith(PRIVATE) or status >= 400):
            headers.append((b"cache-control", b"no-store"))
        if self._is_tls:
            headers.append(HSTS)
        return [(name, _with_head(value) if name.lower() == b"allow" else value) for name, value in headers]


def _with_head(allowed: bytes) -> bytes:
    """Return the methods of Allow with HEAD where GET is: both are answered alike."""
    methods = {method.strip() for method in allowed.split(b",")}
    return b", ".join(sorted(methods | ({b"HEAD"} if b"GET" in methods else set())))
