"""Web origins: which pages may use this server from a browser (RFC 6454). Pure.

Sockets, cookies and CORS compare with the same function: scheme, host and port, with the port that the scheme implies.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

SERIALIZED = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(\[[0-9A-Fa-f:.]+\]|[^\s/?#@\[\]:]+)(?::(\d{1,5}))?")
"""An origin as browsers write one (RFC 6454, section 6.2): without userinfo, path, query and fragment."""
AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s/?#@\[\]:,]+)(?::(\d{0,5}))?")
PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
NULL = "null"
"""What sandboxed frames and local files send."""


class Origin(NamedTuple):
    """Scheme and host in lower case, the host without a trailing dot; port 0 where the scheme implies none."""

    scheme: str
    host: str
    port: int


def parse_origin(text: str) -> Origin | None:
    """Return the origin that a serialized one names; None for `null` and for what is no origin."""
    found = SERIALIZED.fullmatch(text)
    if found is None:
        return None
    scheme = found[1].lower()
    return Origin(scheme, _host(found[2]), _port(found[3], scheme))


def origin_of_host(scheme: str, authority: str) -> Origin | None:
    """Return the origin of pages at a Host header's value, read with this scheme; None for what is no host."""
    found = AUTHORITY.fullmatch(authority.strip())
    return None if found is None else Origin(scheme, _host(found[1]), _port(found[2], scheme))


def _host(text: str) -> str:
    return text.lower().removesuffix(".")


def _port(text: str | None, scheme: str) -> int:
    return int(text) if text else PORTS.get(scheme, 0)


class Origins:
    """Which origins are ours or allowed."""

    def __init__(self, allowed: Iterable[str], public_url: str | None = None) -> None:
        """Take `allowed_origins` as set by the operator, and the origin of `public_url`, which is our own."""
        named = set(allowed)
        self._allowed = frozenset(origin for text in named if (origin := parse_origin(text.rstrip("/"))) is not None)
        self._allows_null = NULL in named
        self._own = parse_origin(public_url.rstrip("/")) if public_url else None

    def allows(self, lines: list[str]) -> bool:
        """Tell whether the operator lets pages of this origin in. `lines` are the Origin headers: one."""
        if len(lines) != 1:
            return False
        origin = parse_origin(lines[0])
        return self._allows_null if lines[0] == NULL else origin is not None and origin in self._allowed

    def owns(self, lines: list[str], authority: str, scheme: str | None) -> bool:
        """Tell whether a page of this origin is one that this server served.

        Args:
            lines: The Origin headers: one.
            authority: The value of Host.
            scheme: How the client came, `http` or `https`; None when a proxy may have ended TLS without saying so.
        """
        origin = parse_origin(lines[0]) if len(lines) == 1 else None
        if origin is None or origin.scheme not in ("http", "https"):
            return False
        if origin == self._own:
            return True
        return scheme in (None, origin.scheme) and origin == origin_of_host(origin.scheme, authority)
