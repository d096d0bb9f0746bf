"""Packets that do not arrive, and connections that are cut, in the network namespace of the tests. By iproute2 alone.

A rule of the routing policy (ip-rule(8)) lets the packets of chosen ports vanish; the kernel asks it before the table of local
addresses once that one has been moved behind it. `ss -K` (ss(8)) ends connections with a reset at both ends.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

BEHIND = "1000"
"""The place of the table of local addresses while rules stand before it; by itself it has 0, and nothing comes before that."""
PLACE = "100"


class Network:
    """The namespace's own rules, put back at the end."""

    def __enter__(self) -> Self:
        if "media0" not in _run("ip", "-brief", "link"):
            raise RuntimeError("this would change the routes of the machine: run it by tests/namespace")
        _run("ip", "rule", "add", "priority", BEHIND, "from", "all", "lookup", "local")
        _run("ip", "rule", "delete", "priority", "0")
        return self

    def __exit__(self, *_: object) -> None:
        _run("ip", "rule", "add", "priority", "0", "from", "all", "lookup", "local")
        _run("ip", "rule", "delete", "priority", BEHIND)

    @contextmanager
    def unreachable(self, port: int, clients: tuple[int, int] = (1024, 65534)) -> Iterator[None]:
        """Nothing arrives at the server of this port, nor from it, for clients with ports between these two; nobody is told."""
        between = f"{clients[0]}-{clients[1]}"
        ways = (("dport", str(port), "sport", between), ("sport", str(port), "dport", between))
        for way in ways:
            _run("ip", "rule", "add", "priority", PLACE, "ipproto", "tcp", *way, "blackhole")
        try:
            yield
        finally:
            for _ in ways:
                _run("ip", "rule", "delete", "priority", PLACE)

    def clients_of(self, port: int) -> list[int]:
        """The ports of those who are connected to the server of this port, sorted."""
        lines = _run("ss", "--no-header", "--numeric", "--tcp", "state", "established", "dport", "=", f":{port}").splitlines()
        return sorted(int(line.split()[2].rpartition(":")[2]) for line in lines)

    def reset(self, port: int, clients: tuple[int, int]) -> None:
        """Cut the connections to the server of this port from clients with ports between these two."""
        wanted = f"dport = :{port} and sport >= :{clients[0]} and sport <= :{clients[1]}"
        _run("ss", "--kill", "--no-header", "--numeric", "--tcp", "state", "established", *wanted.split())


def _run(*command: str) -> str:
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    if finished.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {finished.stderr}")
    return finished.stdout
