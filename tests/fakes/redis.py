"""Real Redis servers on free loopback ports, which a test may stop and start again: one, a cluster, a master with sentinels.

Debian's package. Nothing is kept on disk unless a test gives a directory.
"""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.fakes.ports import free_port

BINARY = "redis-server"
START_SECONDS = 10.0
SETTLE_SECONDS = 30.0


def wait_until(holds: Callable[[], bool], what: str, seconds: float = SETTLE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} within {seconds:g} s: it did not")
        time.sleep(0.02)


KEPT = ("--appendonly", "yes", "--appendfsync", "everysec")
"""Settings as we tell operators: a write is in the file before it is answered, and on the disk within a second."""


class RedisServer:
    """One server. The port stays the same from one start to the next; what it held does not, unless it has a directory and was
    told to SAVE, or keeps its file (`KEPT`).
    """

    def __init__(self, *settings: str, directory: Path | None = None) -> None:
        if shutil.which(BINARY) is None:
            raise RuntimeError("redis-server is not installed: run tests/engines")
        self.port = free_port()
        self._directory = directory
        self.settings = [*settings, "--dir", str(directory or "/tmp")]
        if directory is None:
            self.settings += ["--dbfilename", f"none-{self.port}.rdb"]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, and return when it answers."""
        fixed = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen([BINARY, *fixed, *self.settings], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError("redis-server did not start")
            time.sleep(0.01)

    def stop(self) -> None:
        """End it at once, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Let it hang: it keeps its connections and answers nobody, until `resume`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Ask it to end, as a service manager does, and start it again."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait()
        self.start()

    def forget(self) -> None:
        """Lose what it kept, while it is down."""
        assert self._directory is not None
        shutil.rmtree(self._directory)
        self._directory.mkdir()

    def command(self, *words: str) -> str:
        """What it answers to one command."""
        return subprocess.run(["redis-cli", "-p", str(self.port), *words], capture_output=True, text=True, check=True).stdout

    def says(self, words: str) -> bool:
        """Whether it says so of its replication. Not while it cuts its clients, as one that changes its role does."""
        asked = subprocess.run(
            ["redis-cli", "-p", str(self.port), "INFO", "replication"], capture_output=True, text=True, check=False
        )
        return words in asked.stdout

    def flush(self) -> None:
        self.command("FLUSHALL")

    def _answers(self) -> bool:
        return subprocess.run(["redis-cli", "-p", str(self.port), "PING"], capture_output=True, check=False).stdout == b"PONG\n"


class RedisCluster:
    """Three masters, each with `replicas`. A node counts as failed after `node_timeout` milliseconds of silence."""

    def __init__(self, replicas: int = 0, node_timeout: int = 15_000) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="redis-cluster-")
        self._replicas = replicas
        self.servers = [
            RedisServer(
                *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
                *("--cluster-node-timeout", str(node_timeout), "--cluster-config-file", f"nodes-{number}.conf"),
                *("--dbfilename", f"{number}.rdb", "--repl-diskless-sync-delay", "0"),
                directory=Path(self._directory.name),
            )
            for number in range(3 * (1 + replicas))
        ]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{one.port}" for one in self.servers)

    def start(self) -> None:
        """Start, join them, and return when every node takes the whole for whole."""
        for one in self.servers:
            one.start()
        addresses = [f"127.0.0.1:{one.port}" for one in self.servers]
        create = ["redis-cli", "--cluster", "create", *addresses, "--cluster-replicas", str(self._replicas), "--cluster-yes"]
        subprocess.run(create, capture_output=True, check=True, timeout=60)
        wait_until(self.is_whole, "a cluster forms")

    def is_whole(self) -> bool:
        """Every node is well and every replica follows its master."""
        if not all("cluster_state:ok" in one.command("CLUSTER", "INFO") for one in self.servers):
            return False
        roles = [one.command("INFO", "replication") for one in self.servers]
        copies = [role for role in roles if "role:slave" in role]
        return len(copies) == 3 * self._replicas and all("master_link_status:up" in role for role in copies)

    def stop(self) -> None:
        for one in self.servers:
            one.stop()
        self._directory.cleanup()

    def flush(self) -> None:
        for one in self.masters():
            one.command("FLUSHALL")

    def masters(self) -> list[RedisServer]:
        return [one for one in self.servers if "role:master" in one.command("INFO", "replication")]

    def master_of(self, channel: str) -> RedisServer:
        """Who holds the slot of `channel`, as the first server that answers knows it."""
        slot = int(self.servers[0].command("CLUSTER", "KEYSLOT", channel))
        for line in self.servers[0].command("CLUSTER", "NODES").splitlines():
            _, address, flags, _, _, _, _, _, *ranges = line.split()
            owned = [one.partition("-") for one in ranges if one[0].isdigit()]
            if "master" in flags and any(int(first) <= slot <= int(last or first) for first, _, last in owned):
                port = int(address.partition("@")[0].rpartition(":")[2])
                return next(one for one in self.servers if one.port == port)
        raise RuntimeError(f"nobody holds slot {slot}")


class RedisSentinels:
    """A master, a replica, and three sentinels of which two must agree that the master is gone."""

    NAME = "calls"

    def __init__(self, down_after: int = 1_000) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="redis-sentinel-")
        self.master = RedisServer("--repl-diskless-sync-delay", "0")
        self.replica = RedisServer("--repl-diskless-sync-delay", "0", "--replicaof", f"127.0.0.1 {self.master.port}")
        self._ports = [free_port() for _ in range(3)]
        self._sentinels: list[subprocess.Popen[bytes]] = []
        self._down_after = down_after

    @property
    def url(self) -> str:
        return "redis+sentinel://" + ",".join(f"127.0.0.1:{port}" for port in self._ports) + f"/{self.NAME}"

    def start(self) -> None:
        """Start, and return when the replica follows and the sentinels know of it and of each other."""
        self.master.start()
        self.replica.start()
        wait_until(lambda: "master_link_status:up" in self.replica.command("INFO", "replication"), "the replica joins")
        for port in self._ports:
            settings = Path(self._directory.name, f"sentinel-{port}.conf")
            settings.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {self._directory.name}\n"
                f"sentinel monitor {self.NAME} 127.0.0.1 {self.master.port} 2\n"
                f"sentinel down-after-milliseconds {self.NAME} {self._down_after}\n"
                f"sentinel failover-timeout {self.NAME} 5000\n"
            )
            self._sentinels.append(subprocess.Popen([BINARY, str(settings), "--sentinel"], stdout=subprocess.DEVNULL))
        wait_until(lambda: all(self._knows_all(port) for port in self._ports), "the sentinels meet")

    def stop(self) -> None:
        for one in self._sentinels:
            one.kill()
            one.wait()
        for server in (self.master, self.replica):
            server.stop()
        self._directory.cleanup()

    def flush(self) -> None:
        self.master.command("FLUSHALL")

    def fail_over(self) -> None:
        """Let the sentinels exchange master and replica; returns once the replica is the master."""
        told = subprocess.run(
            ["redis-cli", "-p", str(self._ports[0]), "SENTINEL", "FAILOVER", self.NAME], capture_output=True, text=True, check=True
        )
        if told.stdout.strip() != "OK":
            raise RuntimeError(f"no failover: {told.stdout}")
        wait_until(lambda: self.replica.says("role:master"), "the replica takes over")
        self.master, self.replica = self.replica, self.master

    def until_followed(self) -> None:
        """Return once the replica follows and every sentinel knows of the exchange."""
        wait_until(self._is_calm, "the sentinels agree")

    def _is_calm(self) -> bool:
        # On a busy machine they may have found the master gone by themselves, and exchanged the two once more.
        if self.replica.says("role:master") and self.master.says("role:slave"):
            self.master, self.replica = self.replica, self.master
        return self.replica.says("master_link_status:up") and all(self._knows_all(port) for port in self._ports)

    def _knows_all(self, port: int) -> bool:
        asked = subprocess.run(
            ["redis-cli", "-p", str(port), "SENTINEL", "MASTER", self.NAME], capture_output=True, text=True, check=False
        )
        words = asked.stdout.split("\n")
        known = dict(zip(words[::2], words[1::2], strict=False))
        calm = known.get("flags") == "master" and known.get("port") == str(self.master.port)
        return calm and known.get("num-slaves") == "1" and known.get("num-other-sentinels") == "2"
