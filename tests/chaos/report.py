"""What chaos came to: a table for people, Markdown and JSON under bench/results with the machine it ran on."""

import os
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec
from rich.table import Table

from secureconnect.load.report import machine
from tests.chaos.disturbances import ALL, Disturbance
from tests.chaos.results import Round

RESULTS = Path(__file__).parents[2] / "bench/results"
COLUMNS = (
    "disturbance",
    "times",
    "signals",
    "lost",
    "twice or out of order",
    "void",
    "events",
    "lost ",
    "sockets that came back",
    "resumed",
    "saw a leave",
    "calls stuck",
    "pictures stale",
    "longest silence, s",
    "median, s",
    "calls begun and ended",
    "given up",
)
"""A header twice would be one column in a reader's mind: the second `lost` is of events."""
LEGEND = """\
* *signals*: numbers that one side of a call said and the other has to hear; *lost*: acknowledged, and not heard.
* *void*: not acknowledged, and the server could only offer a fresh start; who said it knows.
* *events*: messages in conversations and rings that were answered; *lost*: no events socket was told.
* *resumed*: of the sockets that came back, of both kinds, those that got what they had missed, and not a fresh snapshot.
* *longest silence*: the longest time that any client heard nothing of the other side; *median*: of each client's longest, the
  median over clients, then over rounds. Who hears everything at once hears something every {pause:g} s.
* *calls begun and ended*: rung, answered, talked in and hung up meanwhile by {callers} more pairs; *given up*: those with a
  refusal that said so (503), or that ended for want of a socket."""


class Conditions(msgspec.Struct, frozen=True):
    """What was asked for, and what the machine did besides."""

    calls: int
    callers: int
    pause: float
    count: int
    load: list[str]
    """Load average over a minute at the start of each cluster, and the cores."""


def table(rounds: Sequence[Round]) -> Table:
    """The rows of every disturbance that was done."""
    drawn = Table(title="chaos", show_lines=False)
    for column in COLUMNS:
        drawn.add_column(column.strip(), justify="left" if column == COLUMNS[0] else "right")
    for disturbance in ALL:
        mine = [one for one in rounds if one.disturbance == disturbance.name]
        if mine:
            drawn.add_row(*_cells(disturbance, mine), style=None if all(one.is_clean for one in mine) else "red")
    return drawn


def write(rounds: Sequence[Round], conditions: Conditions, *, day: str) -> Path:
    """Markdown and JSON; the path of the Markdown. Written anew after every round: what a run has found is not lost with it."""
    facts = machine() | _engines()
    lines = [f"# Chaos on three nodes, {day}", "", " · ".join(facts.values()), "", _conditions(conditions), ""]
    lines += [_row(column.strip() for column in COLUMNS), _row("---" for _ in COLUMNS)]
    for disturbance in ALL:
        mine = [one for one in rounds if one.disturbance == disturbance.name]
        if mine:
            lines.append(_row([disturbance.what, *_cells(disturbance, mine)[1:]]))
    lines += ["", *LEGEND.format(pause=conditions.pause, callers=conditions.callers).splitlines()]
    faults = [f"* {one.disturbance}: {fault}" for one in rounds for fault in one.faults[:5]]
    lines += [
        "",
        *(["What went wrong, the first five of a round:", "", *faults] if faults else ["Nothing that must not happen happened."]),
    ]
    path = RESULTS / f"{day}-chaos.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    whole = {"date": day, "machine": facts, "conditions": conditions, "rounds": rounds}
    path.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(whole)) + b"\n")
    return path


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def load() -> str:
    return f"{os.getloadavg()[0]:.1f} of {os.cpu_count()} cores"


def _cells(disturbance: Disturbance, rounds: Sequence[Round]) -> list[str]:
    def total(name: str) -> int:
        return sum(getattr(one, name) for one in rounds)

    broken = total("broken")
    return [
        disturbance.name,
        str(len(rounds)),
        f"{total('said'):,}",
        f"{total('lost'):,}",
        f"{total('repeated') + total('overtaken'):,}",
        f"{total('void'):,}",
        f"{total('events'):,}",
        f"{total('events_lost'):,}",
        f"{broken:,}",
        f"{total('resumed') / broken:.1%}" if broken else "-",
        f"{total('leaves'):,}",
        f"{total('stuck'):,}",
        f"{total('stale'):,}",
        f"{max(one.silence_max for one in rounds):.1f}",
        f"{median(one.silence_median for one in rounds):.1f}",
        f"{total('calls'):,}",
        f"{total('calls_refused'):,}",
    ]


def _conditions(conditions: Conditions) -> str:
    return (
        f"{conditions.calls} calls of two people, each with a signaling and an events socket through HAProxy, a number every "
        f"{conditions.pause:g} s and now and then a message; {conditions.callers} more pairs begin, answer and end calls. "
        "Three nodes, PostgreSQL, Redis with an "
        f"append-only file, HAProxy and the people share this machine with whatever else ran (load {', '.join(conditions.load)}). "
        f"{conditions.count} times each was asked for; the table says how often it was done."
    )


def _engines() -> dict[str, str]:
    """The servers beneath, by their own words."""
    asked = {
        "postgres": ("/usr/lib/postgresql/15/bin/postgres", "--version"),
        "redis": ("redis-server", "--version"),
        "haproxy": ("haproxy", "-v"),
    }
    said = {name: subprocess.run(command, capture_output=True, text=True, check=True).stdout for name, command in asked.items()}
    return {name: " ".join(words.split()[:3]) for name, words in said.items()}


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
