"""A browser's push subscription: its shape, and which ones we send to. Pure; called by accounts.devices and this room."""

import re
from base64 import b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Collection
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from msgspec import Meta, Struct

AUTH_BYTES = 16
PLAIN_URL = re.compile(r"[!-~]+")
"""No blanks, no control characters: what one parser reads differently than another is how such a check is passed."""
Key = Annotated[str, Meta(max_length=128)]


class SubscriptionKeys(Struct, frozen=True):
    """What a push to this browser is encrypted with (RFC 8291, sections 2 and 3.1), as base64url.

    `p256dh`: an uncompressed point of P-256, 65 bytes. `auth`: 16 bytes.
    """

    p256dh: Key
    auth: Key


class Subscription(Struct, frozen=True):
    """A PushSubscription as its `toJSON()` gives it (W3C Push API); other members are passed over."""

    endpoint: Annotated[str, Meta(max_length=2048)]
    keys: SubscriptionKeys


def fault_of(subscription: Subscription, hosts: Collection[str]) -> str | None:
    """What is wrong with it, as `field: words`, or None.

    The server will post to `endpoint`, and a client chose it: only the push services in `hosts` are acceptable, or anybody could
    make us knock at doors of the inner network. One that begins with a dot stands for every host below it.
    """
    if not _is_key(subscription.keys.p256dh):
        return "keys.p256dh: not an uncompressed point of P-256 in base64url."
    auth = decode_base64url(subscription.keys.auth)
    if auth is None or len(auth) != AUTH_BYTES:
        return f"keys.auth: not {AUTH_BYTES} bytes in base64url."
    return _fault_of_endpoint(subscription.endpoint, hosts)


def _fault_of_endpoint(endpoint: str, hosts: Collection[str]) -> str | None:
    try:
        url = urlsplit(endpoint)
        host, _port = (url.hostname or "").lower(), url.port
    except ValueError:
        return "endpoint: not a URL."
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(host)):
        return "endpoint: must be an https URL."
    if url.username or url.password or url.fragment or not PLAIN_URL.fullmatch(endpoint):
        return "endpoint: not a URL that a push service gives."
    if not any(host == one or (one.startswith(".") and host.endswith(one)) for one in hosts):
        return f"endpoint: {host or 'nothing'} is not a push service this server sends to; an operator can add it to webpush_hosts."
    return None


def origin_of(endpoint: str) -> str:
    """The push service that an endpoint belongs to, as `https://host`, with the port when one is named (RFC 6454, section 6.2)."""
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc.lower()}"


def is_loopback(host: str) -> bool:
    """Whether this is the machine itself: there http is as good as https."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def decode_base64url(text: str) -> bytes | None:
    """The bytes, padded or not, or None when it is something else (RFC 4648, section 5)."""
    bare = text.rstrip("=")
    try:
        return b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except (NotBase64, ValueError):
        return None


def encode_base64url(data: bytes) -> str:
    """Without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _is_key(text: str) -> bool:
    try:
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), decode_base64url(text) or b"")
    except ValueError:
        return False
    return True
