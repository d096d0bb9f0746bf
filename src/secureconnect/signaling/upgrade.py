"""From an upgrade request to what the socket will be: who asks, for what, may they. Called by `signaling.socket` before it answers.

Refusals are the errors of the service, so a socket is refused in the same words as a request.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol
from urllib.parse import parse_qsl
from uuid import UUID

from msgspec import Struct

from secureconnect.errors import BadRequest, NotFound, OriginNotAllowed, TokenInQuery, Unauthenticated
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
    def context(self) -> dict[str, str]:
        """Whose it is, for the log: short ids by name."""
        ...

    def opened(self, channel: Channel) -> None:
        """The client may be written to."""
        ...

    def received(self, frame: bytes, now: float) -> None:
        """A text frame came; `now` is seconds of a monotonic clock."""
        ...

    async def closed(self) -> None:
        """The socket is gone, or never opened. Called once."""
        ...


class Handshake(Struct, frozen=True):
    """An upgrade request (RFC 6455, section 4.1): the target, and its headers by lower-case name."""

    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def subprotocols(self) -> list[str]:
        return [name.strip() for name in self.headers.get("sec-websocket-protocol", "").split(",") if name.strip()]


Endpoint = Callable[[UserId, dict[str, str]], Awaitable[Attachment]]
Authenticate = Callable[[str], Awaitable[UserId]]


class Gate:
    """Lets sockets in: origin, token, path, in this order."""

    def __init__(self, *, endpoints: Mapping[str, Endpoint], authenticate: Authenticate, allowed_origins: frozenset[str]) -> None:
        self._endpoints = endpoints
        self._authenticate = authenticate
        self._allowed_origins = allowed_origins

    async def admit(self, handshake: Handshake) -> Attachment:
        """Raises a ServiceError that says why not."""
        self._check_origin(handshake.headers)
        endpoint = self._endpoints.get(handshake.path)
        if endpoint is None:
            raise NotFound("There is no socket at this address.")
        query = handshake.query
        if TOKEN_NAMES & {name.lower() for name in query}:
            raise TokenInQuery
        user_id = await self._authenticate(bearer_token(handshake))
        return await endpoint(user_id, query)

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        """Browsers say which page opens a socket and do not stop any from trying (RFC 6455, section 10.2)."""
        origin = headers.get("origin")
        if origin is None or origin in self._allowed_origins:
            return
        # Compared as text: what is no URL equals none of ours, and need not be taken apart to know it (RFC 6454, section 6.2).
        host = headers.get("host", "").lower()
        if not host or origin.lower() not in (f"http://{host}", f"https://{host}"):
            raise OriginNotAllowed


def parse_handshake(head: bytes) -> Handshake:
    """The request line and headers as uvicorn wrote them down. Raises BadRequest."""
    if len(head) > MAX_HEAD_BYTES:
        raise BadRequest("The upgrade request's headers are larger than 16 KiB.")
    request, *lines = head.decode("latin-1").split("\r\n")
    target = request.split(" ")[1]
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    if "sec-websocket-key" not in headers or headers.get("sec-websocket-version") != "13":
        raise BadRequest("This address speaks WebSocket version 13 (RFC 6455) only.")
    return Handshake(target, headers)


def bearer_token(handshake: Handshake) -> str:
    """The access token, from the header or the subprotocol. Raises Unauthenticated when there is none."""
    scheme, _, token = handshake.headers.get("authorization", "").partition(" ")
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
