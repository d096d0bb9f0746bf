"""Events as a table for people, and as JSON for programs. Called by the command `webhooks list`."""

from collections.abc import Sequence

from msgspec import Raw, json, to_builtins
from rich.table import Table

from secureconnect.ids import short
from secureconnect.terminal import foreign
from secureconnect.webhooks import Kept


def as_table(events: Sequence[Kept]) -> Table:
    """One row an event, the oldest first."""
    table = Table(box=None, header_style="dim")
    for heading in ("id", "made", "type", "call", "attempts", "became", "said"):
        table.add_column(heading, overflow="fold")
    for one in events:
        cells = (
            str(one.event_id),
            f"{one.created_at:%Y-%m-%d %H:%M:%S}",
            str(one.type),
            short(one.call_id),
            str(one.attempts),
            one.outcome or "waits",
            one.detail or "",
        )
        table.add_row(*(foreign(cell) for cell in cells))
    return table


def as_json(events: Sequence[Kept]) -> str:
    """A list of everything that is known of each; `body` is the event as it is sent."""
    return json.encode([to_builtins(one) | {"body": Raw(one.body)} for one in events]).decode()
