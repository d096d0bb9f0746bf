"""From an upgrade request to what the socket will be: who asks, for what, may they. Called by `signaling.socket` before it answers.

Refusals are the errors of the service, so a socket is refused in the same words as a request.
"""

import asyncio
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Protocol
from urllib.parse import parse_qsl
from uuid import UUID

from msgspec import Struct

from secureconnect.accounts.grant import Grant
from secureconnect.errors import (
    BadRequest,
    MethodNotAllowed,
    NotFound,
    OriginNotAllowed,
    ServiceError,
    TokenInQuery,
    Unauthenticated,
    UpgradeRequired,
)
from secureconnect.http.fields import elements, has_token
from secureconnect.http.origins import Origins
from secureconnect.http.proxies import TrustedProxies
from secureconnect.http.targets import canonical_target, check_fields
from secureconnect.ids import UserId
from secureconnect.signaling.hub import Channel
from secureconnect.signaling.protocol import BEARER_PREFIX, SUBPROTOCOL

MAX_HEAD_BYTES = 16_384
TOKEN_NAMES = frozenset({"token", "access_token", "jwt", "authorization", "bearer"})


class Attachment(Protocol):
    """What a socket carries once it is open."""

    kind: str
    """What it is counted as: `signaling` or `events`."""

    @property
    def user_id(self) -> UserId:
        """Whose it is: what it holds counts for this user."""
        ...

    @property
    def grant(self) -> Grant:
        """What its access token allows: the first one, or a newer one that the client has shown since."""
        ...

    @property
    def context(self) -> dict[str, str]:
        """Whose it is, for the log: short ids by name."""
        ...

    def opened(self, channel: Channel) -> None:
        """The client may be written to."""
        ...

    def received(self, frame: bytes, now: float) -> None:
        """A text frame came; `now` is seconds of a monotonic clock."""
        ...

    def revoked(self) -> None:
        """The socket is about to close because its sign-in, its user or its device was revoked. Must not wait."""
        ...

    async def closed(self) -> None:
        """The socket is gone, or never opened. Called once."""
        ...


class Handshake(Struct, frozen=True):
    """An upgrade request (RFC 6455, section 4.1).

    `target` is canonical. `headers` holds the lines of each field by its name in lower case. `peer` is the address at the other end
    of the connection, which `is_secure` when TLS ends here.
    """

    target: str
    headers: Mapping[str, Sequence[str]]
    peer: str = ""
    is_secure: bool = False

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def subprotocols(self) -> list[str]:
        return elements(self.headers.get("sec-websocket-protocol", ()))

    def line(self, name: str) -> str:
        """Return the value of a field that is no list; empty when it is absent."""
        return next(iter(self.headers.get(name, ())), "")

    def opening(self) -> bytes:
        """Return the request as the WebSocket library is to read it: what was checked, and nothing else of the client's."""
        return (
            f"GET {self.target} HTTP/1.1\r\nHost: {self.line('host')}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {self.line('sec-websocket-key')}\r\n\r\n"
        ).encode("latin-1")


Endpoint = Callable[[Grant, dict[str, str]], Awaitable[Attachment]]
Authenticate = Callable[[str], Awaitable[Grant]]


class Gate:
    """Lets sockets in: origin, token, path, in this order."""

    def __init__(
        self, *, endpoints: Mapping[str, Endpoint], authenticate: Authenticate, origins: Origins, proxies: TrustedProxies
    ) -> None:
        self._endpoints = endpoints
        self._authenticate = authenticate
        self._origins = origins
        self._proxies = proxies

    async def admit(self, handshake: Handshake) -> Attachment:
        """Raises a ServiceError that says why not."""
        self._check_origin(handshake)
        endpoint = self._endpoints.get(handshake.path)
        if endpoint is None:
            raise NotFound("There is no socket at this address.")
        query = handshake.query
        if TOKEN_NAMES & {name.lower() for name in query}:
            raise TokenInQuery
        grant = await self._authenticate(bearer_token(handshake))
        return await endpoint(grant, query)

    def _check_origin(self, handshake: Handshake) -> None:
        """Browsers say which page opens a socket and do not stop any from trying (RFC 6455, section 10.2)."""
        lines = list(handshake.headers.get("origin", ()))
        if not lines or self._origins.allows(lines):
            return
        said = self._proxies.scheme_of(handshake.peer, list(handshake.headers.get("x-forwarded-proto", ())))
        if not self._origins.owns(lines, handshake.line("host"), "https" if handshake.is_secure else said):
            raise OriginNotAllowed


def place_of(transport: asyncio.BaseTransport) -> tuple[str, bool]:
    """Return the address of the peer, and whether the connection is TLS."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else "", transport.get_extra_info("sslcontext") is not None


def refusal(error: ServiceError, headers: Mapping[str, str], body: bytes, *, request: str) -> bytes:
    """Return the whole HTTP answer that refuses an upgrade with this problem."""
    fields = {**headers, "x-request-id": request, "content-length": str(len(body)), "connection": "close"}
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        fields["allow"] = "GET"
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def parse_handshake(head: bytes, peer: str = "", is_secure: bool = False) -> Handshake:
    """Parse the request line and headers as uvicorn wrote them down.

    Raises BadRequest, PathNotCanonical, MethodNotAllowed or UpgradeRequired.
    """
    if len(head) > MAX_HEAD_BYTES:
        raise BadRequest("The upgrade request's headers are larger than 16 KiB.")
    request, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = request.split(" ")
    fields = [(name.strip().lower(), value.strip(" \t")) for name, colon, value in (line.partition(":") for line in lines) if colon]
    headers: dict[str, list[str]] = {}
    for name, value in fields:
        headers.setdefault(name, []).append(value)
    target = canonical_target(target, check_fields(fields))
    if method != "GET":
        raise MethodNotAllowed("A socket is opened with GET.")
    if elements(headers.get("sec-websocket-version", ())) != ["13"]:
        raise UpgradeRequired
    if not has_token(headers.get("connection", ()), "upgrade") or not has_token(headers.get("upgrade", ()), "websocket"):
        raise UpgradeRequired
    if not _is_key(headers.get("sec-websocket-key", [""])[0]):
        raise BadRequest("Sec-WebSocket-Key must be 16 bytes in base64 (RFC 6455, section 4.1).")
    return Handshake(target, headers, peer, is_secure)


def _is_key(text: str) -> bool:
    try:
        return len(binascii.a2b_base64(text.encode("ascii"), strict_mode=True)) == 16
    except (binascii.Error, ValueError):
        return False


def bearer_token(handshake: Handshake) -> str:
    """The access token, from the header or the subprotocol. Raises Unauthenticated when there is none."""
    scheme, _, token = handshake.line("authorization").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    for name in handshake.subprotocols:
        if name.startswith(BEARER_PREFIX):
            return name.removeprefix(BEARER_PREFIX)
    raise Unauthenticated(f"Send the access token as Authorization header, or as the subprotocols {SUBPROTOCOL} and bearer.<JWT>.")


def uuid_of(query: Mapping[str, str], name: str) -> UUID | None:
    """A UUID from the query, None when it is absent. Raises BadRequest when it is something else."""
    value = query.get(name)
    if not value:
        return None
    try:
        return UUID(value)
    except ValueError:
        raise BadRequest(f"{name}: expected a UUID.") from None


def position_of(query: Mapping[str, str], name: str) -> int | None:
    """A position in a log from the query, None when it is absent. Raises BadRequest when it is something else."""
    value = query.get(name)
    if not value:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 16:
        raise BadRequest(f"{name}: expected the number from the last frame.")
    return int(value)
