"""One disturbance after the other, on a cluster with a crowd at it. Called by `__main__` for the long run, by a scenario."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from tests.chaos.disturbances import Disturbance, Stage
from tests.chaos.network import Network
from tests.chaos.results import Options, Round
from tests.cluster import Cluster, Stores, running_cluster
from tests.fakes.haproxy import SHIPPED
from tests.fakes.server import SECRET, ServerProcess
from tests.upgrade.checkout import Checkout

WIDE = {"requests_per_subject": 100_000, "requests_per_address": 1_000_000, "connections_per_address": 50_000}
"""The crowd comes from one address."""
END_SECONDS = 60.0
ANSWER_BYTES = 2**22


class Crowd:
    """The process of those who talk, as the conductor sees it."""

    def __init__(self, options: Options, earlier: Checkout | None = None) -> None:
        self._options = options
        self._earlier = earlier
        self._process: asyncio.subprocess.Process | None = None

    async def begin(self, disturbance: str) -> None:
        """From now on everything counts for this disturbance."""
        await self._tell(f"begin {disturbance}")

    async def settle(self) -> Round:
        """It is over: what it came to, once everybody was heard again or given up."""
        return msgspec.convert(await self._tell("settle"), Round)

    async def leave(self) -> list[str]:
        """All hang up; the calls that are there nevertheless."""
        return msgspec.convert(await self._tell("leave"), list[str])

    async def _tell(self, words: str) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{words}\n".encode())
        await self._process.stdin.drain()
        return await self._answer()

    async def _answer(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the crowd is gone, with status {await self._process.wait()}")
        return msgspec.json.decode(line)

    async def __aenter__(self) -> Self:
        python, folder = (self._earlier.python, self._earlier.folder) if self._earlier else (sys.executable, None)
        command = (python, "-m", "tests.chaos.crowd", msgspec.json.encode(self._options).decode())
        pipe = asyncio.subprocess.PIPE
        # The robot's sockets believe whom OpenSSL believes.
        environment = os.environ | {"SSL_CERT_FILE": self._options.certificate}
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, limit=ANSWER_BYTES, env=environment, cwd=folder
        )
        try:
            await self._answer()  # it has gathered
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        async with asyncio.timeout(END_SECONDS):
            await self._process.wait()


@asynccontextmanager
async def shaken(
    folder: Path,
    *,
    calls: int,
    callers: int,
    pause: float,
    patience: float,
    earlier: Checkout | None = None,
    stores: Stores = "single",
    **settings: Any,
) -> AsyncIterator[tuple[Cluster, Crowd]]:
    """Run a cluster with calls that go on. At the end all hang up, and no call may remain.

    With `earlier`, nodes, gateway configuration and clients are those of that version.
    """
    python = earlier.python if earlier else sys.executable
    configuration = earlier.folder / "deploy/haproxy.cfg" if earlier else SHIPPED
    async with running_cluster(
        folder,
        gateway_limits=WIDE,
        gateway_configuration=configuration,
        python=python,
        stores=stores,
        **{"RATE_LIMITS": "off", **settings},
    ) as cluster:
        options = Options(cluster.url, str(cluster.gateway.certificate), SECRET, calls, callers, pause, patience)
        async with Crowd(options, earlier) as crowd:
            yield cluster, crowd
            left_over = await crowd.leave()
        if left_over:
            raise AssertionError(f"calls that do not end: {left_over}")


async def shake(
    cluster: Cluster,
    crowd: Crowd,
    disturbances: Sequence[Disturbance],
    *,
    pace: float,
    done: Callable[[Round], None],
) -> None:
    """Each disturbance once, in this order. `done` hears what each came to, as soon as it is known."""
    with Network() as network:
        stage = Stage(cluster, network, pace)
        for one in disturbances:
            pids = [node.pid for node in cluster.nodes]
            await crowd.begin(one.name)
            await one.do(stage)
            round_ = await crowd.settle()
            round_.faults += stage.faults
            stage.faults.clear()
            if one.stores != "single" and pids != [node.pid for node in cluster.nodes if node.is_running]:
                round_.faults.append("a node has ended")
            round_.faults += faults_of(cluster)
            done(round_)


def faults_of(cluster: Cluster) -> list[str]:
    """Return what each node has logged as an error of its own since it was last asked."""
    return [fault for number, node in enumerate(cluster.nodes, 1) for fault in _faults_of(number, node)]


def _faults_of(number: int, node: ServerProcess) -> list[str]:
    """What a node has logged as a fault of its own since it was last asked."""
    lines, node.lines = node.lines, []
    faults = [line for line in lines if line.get("level") in ("error", "critical")]
    return [f"node {number}: {msgspec.json.encode(fault).decode()[-3000:]}" for fault in faults]
