"""Request targets: the one spelling of a path that is answered (RFC 9112, section 3.2). Pure.

Gateway and node must read one path in one way, so both refuse every other spelling: deploy/haproxy.cfg has the same rule.
Applied to requests before the routes, and to WebSocket upgrades.
"""

import re
from collections.abc import Sequence

from secureconnect.errors import BadRequest, PathNotCanonical

PATH = re.compile(r"/|(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)+")
"""The root, or segments of unreserved characters (RFC 3986, section 2.3): no empty one, no dot segment, no slash at the end."""
QUERY = re.compile(r"[\x21\x22\x24-\x7e]*")
"""Visible ASCII without `#`."""
ABSOLUTE = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::\d{0,5})?")
SINGLETONS = ("host", "authorization", "origin", "content-type", "idempotency-key", "sec-websocket-key")
"""Fields that are no lists and that decide something here: said twice, two readers may take one each."""


def canonical_target(target: str, authority: str | None) -> str:
    """Return the target in origin form: a canonical path and its query.

    Args:
        target: As it stands in the request line. The absolute form is taken when it names the same authority as Host.
        authority: The value of Host; None when there is none.

    Raises:
        PathNotCanonical: the path is spelled in another way than the one that is answered.
    """
    absolute = ABSOLUTE.fullmatch(target)
    if absolute is not None:
        if authority is None or absolute[1].lower() != authority.strip().lower():
            raise PathNotCanonical("The target names another host than the Host header.")
        target = absolute[2]
    path, _, query = target.partition("?")
    if not PATH.fullmatch(path) or not QUERY.fullmatch(query):
        raise PathNotCanonical
    return target


def check_fields(fields: Sequence[tuple[str, str]], *, wants_host: bool = True) -> str | None:
    """Return the value of Host, after a look for fields that may not be repeated.

    Args:
        fields: Names in lower case, with their values.
        wants_host: Whether a request without Host is refused, as HTTP/1.1 asks (RFC 9112, section 3.2).

    Raises:
        BadRequest: a field is repeated, or Host is missing or none.
    """
    names = [name for name, _ in fields]
    repeated = next((name for name in SINGLETONS if names.count(name) > 1), None)
    if repeated is not None:
        raise BadRequest(f"The header {repeated} may be sent once only.")
    host = next((value for name, value in fields if name == "host"), None)
    if host is None and wants_host:
        raise BadRequest("The Host header is missing.")
    if host is not None and not AUTHORITY.fullmatch(host.strip()):
        raise BadRequest("The Host header must be a name or an address, with a port or without.")
    return host
