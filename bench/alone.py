"""SecureConnect by itself, with the machine it ran on: whole calls, then as many idle sockets as it should hold.

    uv run python bench/alone.py calls|connections

Writes bench/results/<date>-<what>.md and .json.
"""

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import uvloop
from rich.console import Console

from secureconnect.load import CallsOptions, ConnectionsOptions, Report, run_calls, run_connections

RESULTS = Path(__file__).parent / "results"
KINDS = ("calls", "connections")


async def measure(kind: str, console: Console) -> Sequence[Report]:
    """The reports of one kind: calls as fast as they go and at a steady rate, or sockets."""
    if kind == "connections":
        return [await run_connections(ConnectionsOptions(), console)]
    return [
        await run_calls(CallsOptions(pairs=20), console),
        await run_calls(CallsOptions(pairs=20, rate=10.0), console),
    ]


def write(kind: str, reports: Sequence[Report]) -> Path:
    """The tables as text in Markdown, the reports as JSON lines; the path of the Markdown."""
    day = datetime.now(UTC).date().isoformat()
    paper = StringIO()
    console = Console(width=120, file=paper)
    for report in reports:
        console.print(report)
    path = RESULTS / f"{day}-{kind}.md"
    path.write_text(f"# {kind.capitalize()}, {day}\n\n```text\n{paper.getvalue()}```\n", encoding="utf-8")
    path.with_suffix(".json").write_bytes(b"[" + b",".join(report.to_json() for report in reports) + b"]\n")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    kind = parser.parse_args().kind
    reports = uvloop.run(measure(kind, Console(stderr=True)))
    print(write(kind, reports).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
