"""The servers, and one attack on them: a look at memory and latencies without it, and one while it runs."""

import asyncio
import gc
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.attackers.attacks import Arena, Attack
from tests.attackers.bystanders import Bystanders
from tests.attackers.verdict import Latencies, Result
from tests.fakes.people import World
from tests.fakes.redis import RedisServer
from tests.fakes.server import ServerProcess

LOOK_SECONDS = 0.25
PATIENCE_SECONDS = 20.0
"""How long an operation that began beside a short attack may take on a busy machine."""


class Stage:
    """A node, its Redis if it has one, the bystanders, and a world of its own for the attacker."""

    def __init__(self, server: ServerProcess, redis: RedisServer | None, bystanders: Bystanders) -> None:
        self.server = server
        self.redis = redis
        self.bystanders = bystanders

    def memory(self) -> dict[str, float]:
        """Resident memory by process, MiB."""
        pids = {"node": self.server.pid} | ({"redis": self.redis.pid} if self.redis is not None else {})
        return {name: resident_mib(pid) for name, pid in pids.items()}

    async def play(self, attack: Attack, *, seconds: float, calm_seconds: float) -> Result:
        """Measure the others for `calm_seconds`, then for `seconds` beside the attack."""
        calm = self.bystanders.latencies = Latencies()
        await asyncio.sleep(calm_seconds)
        before, during = self.memory(), Latencies()
        self.bystanders.latencies = during
        world = World(self.server.url)
        watching = asyncio.create_task(self._peak())
        try:
            did = await attack(Arena(world, self.server.port, self.bystanders.crowd), seconds)
            await self._until_all_answered(calm, during)
        finally:
            watching.cancel()
            peak = await watching
            await world.close()
            gc.collect()
        assert self.server.is_running, "the server ended"
        return Result(
            name=attack.__name__,
            seconds=seconds,
            did=did,
            memory_before=before,
            memory_peak={name: max(peak.get(name, 0.0), mib) for name, mib in self.memory().items()},
            calm=calm,
            during=during,
        )

    async def _until_all_answered(self, calm: Latencies, during: Latencies) -> None:
        """Return when each kind of operation was answered since the attack began; at the latest when that takes too long."""
        until = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if calm.seconds.keys() <= during.seconds.keys() or asyncio.get_running_loop().time() > until:
                return

    async def _peak(self) -> dict[str, float]:
        highest: dict[str, float] = {}
        try:
            while True:
                for name, mib in self.memory().items():
                    highest[name] = max(highest.get(name, 0.0), mib)
                await asyncio.sleep(LOOK_SECONDS)
        except asyncio.CancelledError:
            return highest


@asynccontextmanager
async def stage(*, calls: int, redis: bool, **settings: str) -> AsyncIterator[Stage]:
    """A stage with this many calls that talk. `settings` are the node's, with rate limits on as everywhere."""
    with tempfile.TemporaryDirectory(prefix="secureconnect-attackers-") as folder:
        bus = RedisServer() if redis else None
        if bus is not None:
            bus.start()
            settings["BUS_URL"] = bus.url
        server = ServerProcess(Path(folder), **settings)
        try:
            await server.start()
            world = World(server.url)
            bystanders = Bystanders(world)
            try:
                await bystanders.arrive(calls)
                yield Stage(server, bus, bystanders)
            finally:
                try:
                    await bystanders.leave()
                finally:
                    await world.close()
        finally:
            if server.is_running:
                await server.stop()
            if bus is not None:
                bus.stop()


def resident_mib(pid: int) -> float:
    """What a process holds in memory, MiB (proc(5), VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)
