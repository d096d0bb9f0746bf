"""Ports for servers that end and start again: below those that the kernel gives to clients, so that none takes it meanwhile."""

import random
import socket

LOWEST, BEHIND = 20_000, 32_000
"""Linux gives clients 32768 and up (ip(7), ip_local_port_range)."""


def free_port(wanted: int = 0) -> int:
    """`wanted` if nobody listens there, or another where nobody does."""
    while True:
        port = wanted or random.randrange(LOWEST, BEHIND)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                wanted = 0
                continue
        return port
