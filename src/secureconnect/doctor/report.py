"""The findings as a table for people, and as JSON for programs. Called by cli."""

from collections.abc import Sequence

import msgspec
from rich.table import Table

from secureconnect.doctor.finding import Finding, Verdict
from secureconnect.terminal import foreign

SIGNS = {Verdict.OK: "[green]✓[/]", Verdict.FAILED: "[red]✗[/]", Verdict.SKIPPED: "[dim]–[/]"}  # noqa: RUF001  (a dash on purpose)


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Nothing failed."""
    return all(one.verdict is not Verdict.FAILED for one in findings)


def as_table(findings: Sequence[Finding]) -> Table:
    table = Table(box=None, header_style="dim")
    for heading in ("", "what", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for one in findings:
        table.add_row(SIGNS[one.verdict], one.subject, foreign(one.detail), foreign(one.advice))
    return table


def as_json(findings: Sequence[Finding]) -> str:
    """`{"healthy": bool, "findings": [{"subject", "verdict", "detail", "advice"}]}`."""
    return msgspec.json.encode({"healthy": is_healthy(findings), "findings": list(findings)}).decode()
