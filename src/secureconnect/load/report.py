"""What a run found, as a table for people and as JSON for programs. Filled by the runs; knows nothing of how they measure."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from secureconnect.terminal import foreign

LABELS = {
    "throughput_per_s": ("relays a second, closed loop", ",.0f"),
    "server_cpu_us": ("server CPU a relay, closed loop, µs", ".1f"),
    "server_busy": ("server's core in use", ".0%"),
    "driver_busy": ("driver's core in use", ".0%"),
    "others_busy": ("cores in use by others", ".2f"),
    "rate_per_s": ("relays a second, open loop", ",.0f"),
    "open_server_cpu_us": ("server CPU a relay, open loop, µs", ".1f"),
    "open_p50_ms": ("latency p50, open loop, ms", ".2f"),
    "open_p90_ms": ("latency p90, open loop, ms", ".2f"),
    "open_p99_ms": ("latency p99, open loop, ms", ".2f"),
    "sockets": ("sockets held", ",.0f"),
    "accept_per_s": ("sockets accepted a second", ",.0f"),
    "accept_cpu_us": ("server CPU an accepted socket, µs", ",.0f"),
    "accept_p99_ms": ("handshake p99, ms", ".1f"),
    "memory_kb": ("server memory a socket (PSS), KB", ".1f"),
    "server_mb": ("server memory in all (PSS), MB", ",.0f"),
    "idle_cpu": ("server's core in use while idle", ".2%"),
    "pings_per_socket": ("pings answered a socket", ".2f"),
    "lost": ("sockets lost", ",.0f"),
    "initiates": ("calls initiated", ",.0f"),
    "initiates_per_s": ("calls initiated a second", ",.0f"),
    "initiate_cpu_ms": ("server CPU an initiate, ms", ".2f"),
    "calls": ("calls, from ring to end", ",.0f"),
    "calls_per_s": ("calls a second", ",.1f"),
    "call_cpu_ms": ("server CPU a call, ms", ".2f"),
    "initiate_p50_ms": ("initiate answered p50, ms", ".1f"),
    "initiate_p99_ms": ("initiate answered p99, ms", ".1f"),
    "ring_p50_ms": ("initiate → call.incoming p50, ms", ".1f"),
    "ring_p99_ms": ("initiate → call.incoming p99, ms", ".1f"),
    "push_p50_ms": ("initiate → the provider has the push p50, ms", ".1f"),
    "push_p99_ms": ("initiate → the provider has the push p99, ms", ".1f"),
    "bare_p50_ms": ("bare transaction of the same rows p50, ms", ".1f"),
    "bare_p99_ms": ("bare transaction of the same rows p99, ms", ".1f"),
    "answer_p50_ms": ("initiate → SDP answer p50, ms", ".1f"),
    "answer_p99_ms": ("initiate → SDP answer p99, ms", ".1f"),
    "late_p50_ms": ("begun later than asked p50, ms", ".1f"),
    "late_p99_ms": ("begun later than asked p99, ms", ".1f"),
}
"""What each value is called and how it is written, in the order of the table."""

PACKAGES = ("picows", "uvloop", "uvicorn", "litestar", "msgspec")


class Case(msgspec.Struct, frozen=True):
    """One column: a size, a mode, a server. `values` maps keys of LABELS to numbers, with the unit the key ends in."""

    name: str
    values: dict[str, float]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run found. `console.print(report)` draws it."""

    what: str
    url: str
    machine: dict[str, str]
    cases: list[Case]
    problems: list[str]
    """What must not happen: messages lost, errors, calls stuck. Empty is success."""
    notes: list[str] = msgspec.field(default_factory=list)
    """What a reader must know to read the numbers."""

    @property
    def ok(self) -> bool:
        return not self.problems

    def to_json(self) -> bytes:
        """The report as JSON, indented, UTF-8."""
        return msgspec.json.format(msgspec.json.encode(self))

    def __rich__(self) -> Group:
        parts: list[Table | Text] = [self._table()]
        parts += [foreign(f"note: {note}") for note in self.notes]
        parts += [foreign(f"wrong: {problem}", "bold red") for problem in self.problems]
        return Group(*parts)

    def _table(self) -> Table:
        table = Table(title=f"{self.what} · {self.url}", caption=" · ".join(self.machine.values()))
        table.add_column("")
        for case in self.cases:
            table.add_column(case.name, justify="right")
        for key, (label, form) in LABELS.items():
            if any(key in case.values for case in self.cases):
                cells = [format(case.values[key], form) if key in case.values else "" for case in self.cases]
                table.add_row(label, *cells)
        return table


def quantile(ordered: Sequence[float], fraction: float) -> float:
    """The nearest-rank quantile of sorted values; NaN of none."""
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


def machine() -> dict[str, str]:
    """What the numbers depend on: processor, cores, kernel, Python and the packages on the path of a message."""
    return {
        "processor": _processor(),
        "cores": f"{os.cpu_count()} cores",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"Python {platform.python_version()}",
        **{package: f"{package} {version(package)}" for package in PACKAGES},
    }


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    if facts.is_file():
        for line in facts.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
