"""`make upgrade`: three nodes of an earlier version are replaced by this one, node by node, while calls go on.

tests/namespace .venv/bin/python -m tests.upgrade CHECKOUT [--calls 100] [--pause 0.5]

The clients stay those of the earlier version from the first step to the last, as open pages do. Each step counts by itself; the
table and the exit status say whether a signal was lost.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from secureconnect.load.proc import allow_open_files
from tests.chaos.conductor import Crowd, faults_of, shaken
from tests.chaos.results import Round
from tests.cluster import Cluster, migrate
from tests.fakes.haproxy import SHIPPED
from tests.upgrade.checkout import Checkout

PATIENCE_SECONDS = 120.0
READY_SECONDS = 60.0
COLUMNS = (
    "step",
    "signals",
    "lost",
    "twice or out of order",
    "events",
    "lost",
    "sockets back",
    "resumed",
    "leaves",
    "stuck",
    "stale",
)


class Upgrade:
    """The steps of one rolling upgrade, each measured by the crowd."""

    def __init__(self, cluster: Cluster, crowd: Crowd, console: Console) -> None:
        self._cluster = cluster
        self._crowd = crowd
        self._console = console
        self.rounds: list[Round] = []

    async def run(self) -> None:
        """Migrate the schema, replace each node, then the gateway's configuration."""
        await self._step("migrate", lambda: migrate(self._cluster.database_url))
        for number in range(len(self._cluster.nodes)):
            await self._step(f"replace node {number + 1}", lambda number=number: self._replace(number))  # type: ignore[misc]
        await self._step("reload gateway", self._reload_gateway)

    async def _replace(self, number: int) -> None:
        node = self._cluster.nodes[number]
        await node.stop()
        node.python = sys.executable
        await node.start()
        await self._all_ready()

    async def _reload_gateway(self) -> None:
        gateway = self._cluster.gateway
        gateway.configure(SHIPPED)
        await gateway.reload()
        await self._all_ready()

    async def _all_ready(self) -> None:
        async with asyncio.timeout(READY_SECONDS):
            await self._cluster.gateway.until_all_up()

    async def _step(self, name: str, do: Callable[[], Awaitable[None]]) -> None:
        begun = time.monotonic()
        await self._crowd.begin(name)
        await do()
        result = await self._crowd.settle()
        result.faults += faults_of(self._cluster)
        self.rounds.append(result)
        verdict = "clean" if result.is_clean else "NOT CLEAN"
        self._console.print(f"  {name}: {verdict} in {time.monotonic() - begun:.0f} s, {result.said} signals, {result.lost} lost")
        for fault in result.faults[:5]:
            self._console.print(f"     {fault}", markup=False, highlight=False)


def table(rounds: list[Round]) -> Table:
    drawn = Table(title="rolling upgrade")
    for column in COLUMNS:
        drawn.add_column(column, justify="left" if column == COLUMNS[0] else "right")
    for result in rounds:
        twice = result.repeated + result.overtaken
        figures = (result.said, result.lost, twice, result.events, result.events_lost, result.broken, result.resumed)
        drawn.add_row(result.disturbance, *map(str, (*figures, result.leaves, result.stuck, result.stale)))
    return drawn


async def upgrade(arguments: argparse.Namespace, earlier: Checkout, folder: Path, console: Console) -> list[Round]:
    callers = max(1, arguments.calls // 30)
    async with shaken(
        folder, calls=arguments.calls, callers=callers, pause=arguments.pause, patience=PATIENCE_SECONDS, earlier=earlier
    ) as (cluster, crowd):
        steps = Upgrade(cluster, crowd, console)
        await steps.run()
    return steps.rounds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "checkout", type=Path, help="a folder in which the earlier version is installed (tests/upgrade/checkout.py)"
    )
    parser.add_argument("--calls", type=int, default=100, help="calls of two people that talk meanwhile")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two messages of one speaker")
    arguments = parser.parse_args()
    allow_open_files(20 * arguments.calls + 1024)
    console = Console(width=None if sys.stdout.isatty() else 180)
    with tempfile.TemporaryDirectory(prefix="secureconnect-upgrade-") as folder:
        console.print(f"{arguments.calls} calls on three nodes of {arguments.checkout.name} …")
        rounds = asyncio.run(upgrade(arguments, Checkout(arguments.checkout), Path(folder), console))
    console.print(table(rounds))
    return 0 if all(result.is_clean for result in rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
