"""Which client an address stands for: the one function behind every limit and log line that counts by address. Pure.

A provider gives a customer an IPv6 /64 at least, and often a /56 or a /48 (RFC 6177): whole addresses count nothing there.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

CLIENT_PREFIX = 64
WIDER_PREFIXES = {56: 4, 48: 16}
"""Prefix lengths that are counted beside the client's own, and how many times its limit they may use."""
UNKNOWN = "unknown"
"""All clients without a readable address share one count: an address that cannot be read must not be a way around a limit."""


class Network(NamedTuple):
    """A network that is counted, and how many times a client's limit it may use."""

    key: str
    scale: int = 1


def network_of(address: str) -> str:
    """Return the client that an address stands for: an IPv4 address, or an IPv6 /64.

    An IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2) is its IPv4 address.
    """
    return networks_of(address)[0].key


def networks_of(address: str) -> tuple[Network, ...]:
    """Return the networks that a request counts for, the narrowest first."""
    found = _parse(address)
    if found is None:
        return (Network(UNKNOWN),)
    if isinstance(found, IPv4Address):
        return (Network(str(found)),)
    wider = (Network(_prefix(found, length), scale) for length, scale in WIDER_PREFIXES.items())
    return Network(_prefix(found, CLIENT_PREFIX)), *wider


def is_inside(address: str) -> bool:
    """Return whether an address is of this machine or of a private network (RFC 1918, RFC 4193)."""
    found = _parse(address)
    return found is not None and (found.is_private or found.is_loopback)


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    text = address.strip()
    if text.startswith("["):  # [2001:db8::1]:443
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # 192.0.2.1:443
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])  # without the zone of a link-local address
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def _prefix(address: IPv6Address, length: int) -> str:
    return str(IPv6Network((address, length), strict=False))
