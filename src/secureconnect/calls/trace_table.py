"""A trace as a table for people. Called by the command `trace`."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from secureconnect.calls.trace import CalleeTrace, CallTrace, TraceEntry
from secureconnect.ids import short
from secureconnect.terminal import foreign


def as_table(trace: CallTrace) -> Group:
    """The call in a sentence, then each callee: a sentence, and everything that happened in the order of time."""
    parts: list[Text | Table] = [
        foreign(trace.summary, "bold"),
        Text(f"begun {trace.created_at:%Y-%m-%d %H:%M:%S.%f} UTC", "dim"),
    ]
    for callee in trace.callees:
        parts += [Text(), Text.assemble(foreign(callee.display_name, "bold cyan"), "  ", foreign(callee.summary))]
        if callee.devices:
            parts.append(_events_of(trace, callee))
    if trace.sessions:
        parts += [Text(), _sessions_of(trace)]
    return Group(*parts)


def _sessions_of(trace: CallTrace) -> Table:
    names = {callee.user_id: callee.display_name for callee in trace.callees}
    table = Table(title="connections", title_justify="left", box=None, header_style="dim")
    for heading in ("who", "session", "from", "to", "MOS (worst)", "round trip", "loss"):
        table.add_column(heading)
    for one in trace.sessions:
        table.add_row(
            foreign(names.get(one.user_id, "caller" if one.user_id == trace.caller_id else short(one.user_id))),
            short(one.session_id),
            *(f"{moment:%H:%M:%S}" for moment in (one.first_at, one.last_at)),
            *(
                _pair(one.mos, one.worst_mos, ".1f"),
                _pair(one.rtt_ms, one.worst_rtt_ms, ".0f", " ms"),
                _pair(one.loss, one.worst_loss, ".1%"),
            ),
        )
    return table


def _pair(mean: float | None, worst: float | None, form: str, unit: str = "") -> str:
    return "-" if mean is None or worst is None else f"{mean:{form}}{unit} ({worst:{form}})"


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
        table.add_row(*(foreign(cell) for cell in cells))
    return table


def _words(entry: TraceEntry) -> tuple[str, str, str, str]:
    event = str(entry.event)
    if entry.push is not None:
        event += f" {entry.push}"
    if entry.attempt is not None:
        event += f" ({entry.attempt})"
    return event, entry.via or "", entry.reason or "", entry.detail or ""
