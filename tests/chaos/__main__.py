"""`make chaos`: every disturbance many times under load, a table at the end, and all of it in bench/results.

tests/namespace .venv/bin/python -m tests.chaos [--count 20] [--only NAME …] [--calls 300] [--json] [--keep]
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from secureconnect.load.proc import allow_open_files
from tests.chaos import report
from tests.chaos.conductor import shake, shaken
from tests.chaos.disturbances import ALL, Disturbance
from tests.chaos.results import Round

PATIENCE_SECONDS = 120.0
CALM_SECONDS = 2.0
CALLS_A_CALLER = 30
"""One pair that begins and ends calls for so many calls that last."""


class Run:
    """What was asked for, and what it came to so far."""

    def __init__(self, arguments: argparse.Namespace, console: Console) -> None:
        self._arguments = arguments
        self._console = console
        self._load: list[str] = []
        self._day = report.today()
        self.rounds: list[Round] = []

    async def all(self) -> None:
        """Every disturbance that was asked for, one after the other and then all over again: wherever it ends, each had its turn.

        One cluster for all, and a fresh one when something went wrong: what one spoils is not laid to the next.
        """
        me = asyncio.current_task()
        assert me is not None
        # Asked to end, it ends what it started.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
        chosen = [one for one in ALL if not self._arguments.only or one.name in self._arguments.only]
        for stores in dict.fromkeys(disturbance.stores for disturbance in chosen):
            same = [disturbance for disturbance in chosen if disturbance.stores == stores]
            await self._all_of(same, [disturbance for _ in range(self._arguments.count) for disturbance in same])

    async def _all_of(self, chosen: list[Disturbance], to_do: list[Disturbance]) -> None:
        """Take from `to_do`, all of which need the same stores, until it is empty."""
        while to_do:
            with tempfile.TemporaryDirectory(prefix="secureconnect-chaos-") as folder:
                self._load.append(report.load())
                try:
                    await self._on_one_cluster(to_do, Path(folder))
                except AssertionError as failure:
                    self.rounds[-1].faults.append(str(failure))
                except (RuntimeError, TimeoutError) as failure:
                    spoiled = to_do.pop(0) if to_do else chosen[-1]
                    self._note(Round(spoiled.name, faults=[f"the run of it ended: {type(failure).__name__} {failure}"]))
                    self._say(0)

    async def _on_one_cluster(self, to_do: list[Disturbance], folder: Path) -> None:
        """Take from `to_do` until it is empty, or something went wrong."""
        arguments = self._arguments
        self._console.print(f"{len(to_do)} disturbances to come; {arguments.calls} calls gather …")
        calls, callers, pause = arguments.calls, callers_for(arguments.calls), arguments.pause
        stores = to_do[0].stores
        async with shaken(
            folder, calls=calls, callers=callers, pause=pause, patience=PATIENCE_SECONDS, stores=stores, **self._settings()
        ) as (cluster, crowd):
            while to_do:
                await asyncio.sleep(CALM_SECONDS)
                begun = time.monotonic()
                await shake(cluster, crowd, to_do[:1], pace=arguments.pace, done=self._note)
                del to_do[0]
                self._say(time.monotonic() - begun)
                if not self.rounds[-1].is_clean:
                    return

    def _settings(self) -> dict[str, Any]:
        seconds = self._arguments.drain_seconds
        return {} if seconds is None else {"DRAIN_SECONDS": f"{seconds:g}"}

    def _note(self, round_: Round) -> None:
        self.rounds.append(round_)
        if self._arguments.keep:
            report.write(self.rounds, self.conditions(), day=self._day)

    def _say(self, seconds: float) -> None:
        one = self.rounds[-1]
        self._console.print(
            f"  {one.disturbance} {'[green]clean[/]' if one.is_clean else '[red]not clean[/]'} in {seconds:.0f} s: "
            f"{one.said} said, {one.lost} lost, "
            f"{one.events_lost} events lost, {one.resumed} of {one.broken} resumed, {one.stuck} stuck, {one.leaves} leaves, "
            f"{one.stale} stale, silence {one.silence_max:.1f} s (median {one.silence_median:.1f}), "
            f"calls {one.calls} and {one.calls_refused} given up",
            highlight=False,
        )
        for fault in one.faults[:5]:
            self._console.print(f"     [red]{fault}[/]", highlight=False, markup=True)

    def conditions(self) -> report.Conditions:
        arguments = self._arguments
        return report.Conditions(arguments.calls, callers_for(arguments.calls), arguments.pause, arguments.count, self._load)


def callers_for(calls: int) -> int:
    return max(1, calls // CALLS_A_CALLER)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20, help="how often each disturbance is done")
    parser.add_argument(
        "--only", nargs="*", choices=[one.name for one in ALL], default=[], help="these disturbances instead of all"
    )
    parser.add_argument("--calls", type=int, default=300, help="calls of two people that talk meanwhile")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two messages of one speaker")
    parser.add_argument("--pace", type=float, default=1.0, help="shorter than 1: disturbances last so much less")
    parser.add_argument("--drain-seconds", type=float, help="how long a node that ends takes to send its clients elsewhere")
    parser.add_argument("--keep", action="store_true", help="write bench/results/<date>-chaos.md and .json, after every round")
    parser.add_argument("--json", action="store_true", help="the rounds as JSON on stdout")
    arguments = parser.parse_args()
    allow_open_files(20 * arguments.calls + 1024)
    run = Run(arguments, Console(stderr=True, width=None if sys.stderr.isatty() else 160))
    asyncio.run(run.all())
    if arguments.json:
        print(msgspec.json.encode(run.rounds).decode())
    Console(width=None if sys.stdout.isatty() else 220, stderr=arguments.json).print(report.table(run.rounds))
    return 0 if all(one.is_clean for one in run.rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
