"""Which of this machine's addresses media goes by. Asked by app and doctor for the media servers that we start ourselves."""

import socket

from aioice.ice import get_host_addresses

FAR_AWAY = ("192.0.2.1", 9)
"""An address that is nobody's (RFC 5737). Nothing is sent: the kernel is only asked by which way it would."""


def media_address() -> str | None:
    """The IPv4 address towards the internet, or any other that is not loopback; None when there is none, and no media can flow."""
    addresses = get_host_addresses(use_ipv4=True, use_ipv6=False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(FAR_AWAY)
        except OSError:
            pass
        else:
            towards_internet = str(asked.getsockname()[0])
            if towards_internet in addresses:
                return towards_internet
    return addresses[0] if addresses else None


def listening_address(host: str) -> str | None:
    """`host`, when it is an IPv4 address of this machine and not loopback: whoever connects to it reaches media there too."""
    return host if host in get_host_addresses(use_ipv4=True, use_ipv6=False) else None
