"""A trace as a table for people. Called by the command `trace`."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from secureconnect.calls.trace import CalleeTrace, CallTrace, TraceEntry


def as_table(trace: CallTrace) -> Group:
    """The call in a sentence, then each callee: a sentence, and everything that happened in the order of time."""
    parts: list[Text | Table] = [
        Text(trace.summary, style="bold"),
        Text(f"begun {trace.created_at:%Y-%m-%d %H:%M:%S.%f} UTC", "dim"),
    ]
    for callee in trace.callees:
        parts += [Text(), Text.assemble((callee.display_name, "bold cyan"), "  ", callee.summary)]
        if callee.devices:
            parts.append(_events_of(trace, callee))
    return Group(*parts)


def _events_of(trace: CallTrace, callee: CalleeTrace) -> Table:
    table = Table(box=None, header_style="dim")
    table.add_column("after", justify="right")
    for heading in ("device", "event", "by", "why", "said"):
        table.add_column(heading, overflow="fold")
    begun = callee.rang_at or trace.created_at
    rows = [
        (entry.at, f"{device.platform or 'device'} {device.device or '(no name)'}", entry)
        for device in callee.devices
        for entry in device.events
    ]
    for at, name, entry in sorted(rows, key=lambda row: row[0]):
        cells = (f"{(at - begun).total_seconds():.3f} s", name, *_words(entry))
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _words(entry: TraceEntry) -> tuple[str, str, str, str]:
    event = str(entry.event)
    if entry.push is not None:
        event += f" {entry.push}"
    if entry.attempt is not None:
        event += f" ({entry.attempt})"
    return event, entry.via or "", entry.reason or "", entry.detail or ""
