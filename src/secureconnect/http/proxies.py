"""Gateways before this server: whose word on the client's address and scheme is taken.

`X-Forwarded-For` and `X-Forwarded-Proto` of trusted_proxies are read. `Forwarded` (RFC 7239) is not: a gateway that writes one of
them lets clients write the other.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import structlog

from secureconnect.http.fields import elements

log = structlog.get_logger(__name__)

MOST_WARNINGS = 16
"""Addresses that are named in a warning, each once: anyone can send the header."""
LONGEST_ADDRESS = 64
"""Characters; what is longer is no address and not worth remembering."""
SCHEMES = {"http": "http", "ws": "http", "https": "https", "wss": "https"}

Address = IPv4Address | IPv6Address


class TrustedProxies:
    """Addresses and networks of gateways; `*` trusts every peer."""

    def __init__(self, trusted: Iterable[str]) -> None:
        names = set(trusted)
        self._all = "*" in names
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(name, strict=False) for name in names if _is_network(name)]
        self._names = frozenset(name for name in names if not _is_network(name))
        self._warned: set[str] = set()
        # Every request asks, mostly for the same few.
        self._trusts = lru_cache(1024)(self._judge)

    def trusts(self, peer: str) -> bool:
        """Tell whether this peer is a gateway of ours."""
        return self._trusts(peer) if len(peer) <= LONGEST_ADDRESS else self._judge(peer)

    def _judge(self, peer: str) -> bool:
        address = _address(peer)
        if self._all or address is None:
            return self._all or peer in self._names
        return any(address in network for network in self._networks if network.version == address.version)

    def client_of(self, peer: str, forwarded_for: list[str]) -> str:
        """Return the client's address: the last one in X-Forwarded-For that no gateway of ours wrote about itself.

        Args:
            peer: The address at the other end of the connection.
            forwarded_for: The lines of X-Forwarded-For.
        """
        if not forwarded_for:
            return peer
        if not self.trusts(peer):
            self._warn(peer)
            return peer
        hops = [_without_port(hop) for hop in elements(forwarded_for)]
        # When every hop is a gateway, the first one is the client. With `*`, every hop is.
        return next((hop for hop in reversed(hops) if not self.trusts(hop)), hops[0] if hops else peer)

    def scheme_of(self, peer: str, forwarded_proto: list[str]) -> str | None:
        """Return the client's scheme by the word of a trusted gateway, `http` or `https`; None without one."""
        said = elements(forwarded_proto)
        return SCHEMES.get(said[0].lower()) if said and self.trusts(peer) else None

    def _warn(self, peer: str) -> None:
        if peer not in self._warned and len(self._warned) < MOST_WARNINGS:
            self._warned.add(peer)
            log.warning("forwarded address not trusted", peer=peer, setting="trusted_proxies")


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _without_port(hop: str) -> str:
    """Return the address of a hop: proxies write `192.0.2.1:443` and `[2001:db8::1]:443`, too."""
    text = hop.strip('"')
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
