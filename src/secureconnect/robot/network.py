"""Whether media can flow at all from this machine. `headless` and `live` ask before they begin, so that they fail in words."""

from aioice.ice import get_host_addresses

NO_ADDRESS = (
    "This machine has no network address but its own loopback, and WebRTC never uses that one: no media can flow. "
    "Connect it to a network, or give it an address: `sudo ip link add dummy0 type dummy && "
    "sudo ip address add 10.11.12.13/24 dev dummy0 && sudo ip link set dummy0 up`."
)


def has_media_address() -> bool:
    """Whether there is an address that ICE would offer as a host candidate (RFC 8445, section 5.1.1.1)."""
    return bool(get_host_addresses(use_ipv4=True, use_ipv6=True))
