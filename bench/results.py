"""What a side-by-side run found, written down with the machine it ran on. Called by side_by_side."""

import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec

from secureconnect.load.contents import content_of
from secureconnect.load.report import machine

HERE = Path(__file__).parent
OURS, FLOOR = "SecureConnect", "bare picows"
SIZES = (300, 4096)

COLUMNS = (
    "server",
    "CPU a relay, µs (lowest to highest)",
    "times bare picows",
    "relays a second",
    "CPU a relay at the open rate, µs",
    "p50, ms",
    "p99, ms",
    "server core",
    "driver core",
    "others, cores",
)


class Run(msgspec.Struct, frozen=True):
    """What was asked for. Seconds a stretch; `rate` in messages a second."""

    rounds: int
    seconds: float
    pairs: int
    window: int
    rate: float


class Turn(msgspec.Struct, frozen=True):
    """One measurement: one server, one size, one round."""

    server: str
    size: int
    round: int
    per_second: float
    cpu_us: float
    open_cpu_us: float
    p50_ms: float
    p99_ms: float
    server_busy: float
    driver_busy: float
    others_busy: float


def write(turns: list[Turn], faults: list[str], run: Run) -> Path:
    """Markdown and JSON under bench/results; the path of the Markdown."""
    facts = machine() | _node()
    day = datetime.now(UTC).date().isoformat()
    lines = [f"# Relay, side by side, {day}", "", " · ".join(facts.values()), "", _conditions(run), ""]
    for size in SIZES:
        lines += [f"## {size} B {content_of(size).kind}", "", *_table([turn for turn in turns if turn.size == size]), ""]
    lines += [f"* {fault}" for fault in faults] or ["Every message arrived once, in order, unchanged."]
    path = HERE / "results" / f"{day}-relay-window-{run.window}.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    whole = {"date": day, "machine": facts, "run": run, "turns": turns, "faults": faults}
    path.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(whole)) + b"\n")
    return path


def _conditions(run: Run) -> str:
    return (
        f"{run.pairs} calls of two, both sending; {run.rounds} rounds of {run.seconds:g} s, server after server; medians. "
        f"Closed loop: {run.window} message(s) under way a sender. Open loop: {run.rate:,.0f} messages a second in all. "
        "Server on one core, driver on another."
    )


def _node() -> dict[str, str]:
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    facts = {"node": f"Node {node}"}
    for name in ("ws", "peer"):
        package = msgspec.json.decode((HERE / "relays" / "node_modules" / name / "package.json").read_bytes())
        facts[name] = f"{name} {package['version']}"
    return facts


def _table(turns: list[Turn]) -> list[str]:
    """Medians over the rounds, with each cost as a multiple of the floor's in the same run."""
    lines = [_row(COLUMNS), _row("---" for _ in COLUMNS)]
    floor = median(turn.cpu_us for turn in turns if turn.server == FLOOR)
    for server in dict.fromkeys(turn.server for turn in turns):
        mine = [turn for turn in turns if turn.server == server]
        costs = [turn.cpu_us for turn in mine]
        lines.append(
            _row(
                (
                    server,
                    f"{median(costs):.1f} ({min(costs):.1f} to {max(costs):.1f})",
                    f"{median(costs) / floor:.2f}",
                    f"{median(turn.per_second for turn in mine):,.0f}",
                    f"{median(turn.open_cpu_us for turn in mine):.1f}",
                    f"{median(turn.p50_ms for turn in mine):.2f}",
                    f"{median(turn.p99_ms for turn in mine):.2f}",
                    f"{median(turn.server_busy for turn in mine):.0%}",
                    f"{median(turn.driver_busy for turn in mine):.0%}",
                    f"{median(turn.others_busy for turn in mine):.2f}",
                )
            )
        )
    return lines


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
