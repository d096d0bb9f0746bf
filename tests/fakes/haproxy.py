"""A real HAProxy with the configuration that we ship, on a free loopback port. Debian's package; nothing is left behind."""

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from tests.fakes.certificates import self_signed
from tests.fakes.program import Program
from tests.fakes.server import SECRET

SHIPPED = Path(__file__).parents[2] / "deploy/haproxy.cfg"
SERVERS_A_BACKEND = 3
RELOAD_SECONDS = 10.0


class Gateway(Program):
    """HAProxy in front of nodes, each named by its port; with fewer than the file has places for, the first stands for the rest."""

    name = "haproxy"
    start_seconds = 10.0
    does_not_start = "the gateway does not start, or finds no node that is ready"

    def __init__(self, nodes: Sequence[int], *, port: int | None = None, **limits: int) -> None:
        """`limits`: GATEWAY_… settings in small letters, such as `connections_per_address`."""
        super().__init__(port)
        self._configuration = self.folder / "haproxy.cfg"
        self.configure(SHIPPED)
        self.certificate, key = self_signed(self.folder)
        bundle = self.folder / "bundle.pem"
        bundle.write_bytes(self.certificate.read_bytes() + key.read_bytes())
        self.admin = self.folder / "admin.sock"
        places = [*nodes, *[nodes[0]] * SERVERS_A_BACKEND][:SERVERS_A_BACKEND]
        self.environment = {
            "PATH": os.environ["PATH"],
            "GATEWAY_BIND": f"127.0.0.1:{self.port}",
            "GATEWAY_CERTIFICATE": str(bundle),
            "GATEWAY_ADMIN": str(self.admin),
            "GATEWAY_JWT_SECRET": SECRET,
            **{f"GATEWAY_{name.upper()}": str(value) for name, value in limits.items()},
            **{
                f"GATEWAY_{backend}_{number}": f"127.0.0.1:{node}"
                for backend in ("AUTH", "CHAT", "VIDEO")
                for number, node in enumerate(places, 1)
            },
        }

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def configure(self, configuration: Path) -> None:
        """Use this configuration from the next start or reload on."""
        self._configuration.write_bytes(configuration.read_bytes())

    @property
    def command(self) -> Sequence[str]:
        return (self.name, "-W", "-db", "-f", str(self._configuration))

    async def until_ready(self) -> None:
        """Return when every backend has a node that is ready."""
        while True:
            states = await self._states()
            backends = {name: state for (name, server), state in states.items() if server == "BACKEND"}
            if backends and all(one == "UP" for one in backends.values()):
                return
            await asyncio.sleep(0.02)  # it can only be asked

    async def until_all_up(self) -> None:
        """Return when every node is up in every backend, however long that takes."""
        while True:
            states = await self._states()
            if states and all(state == "UP" for state in states.values()):
                return
            await asyncio.sleep(0.02)

    async def _states(self) -> dict[tuple[str, str], str]:
        """What the gateway says of each backend and each node there, by the names of both; nothing while it does not listen."""
        try:
            rows = [line.split(",") for line in (await self.tell("show stat")).splitlines()]
        except OSError:
            return {}
        places = [row for row in rows if len(row) > 17 and row[1] not in ("FRONTEND", "svname") and not row[0].startswith("by_")]
        return {(row[0], row[1]): row[17] for row in places}

    async def tell(self, words: str) -> str:
        """Say a word to its admin socket; what it answers. Raises OSError when it does not listen."""
        reader, writer = await asyncio.open_unix_connection(str(self.admin))
        writer.write(f"{words}\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        return answer

    async def reload(self) -> None:
        """A new worker takes the port, and this returns when it has; the old one keeps the sockets it has."""
        assert self.process is not None
        before = await self._worker()
        self.process.send_signal(signal.SIGUSR2)
        async with asyncio.timeout(RELOAD_SECONDS):
            while True:
                if await self._worker() not in ("", before):
                    return
                await asyncio.sleep(0.02)

    async def _worker(self) -> str:
        """The process that takes connections now; nothing while it changes."""
        try:
            info = await self.tell("show info")
        except OSError:
            return ""
        return next((line for line in info.splitlines() if line.startswith("Pid:")), "")
