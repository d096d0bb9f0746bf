"""What others wrote is shown on a terminal and does nothing there."""

import json
from datetime import UTC, datetime
from io import StringIO
from uuid import UUID

import pytest
from rich.console import Console

from secureconnect.calls.call import CallType, Status
from secureconnect.calls.trace import CalleeTrace, CallTrace
from secureconnect.calls.trace_table import as_table
from secureconnect.doctor.finding import failed
from secureconnect.doctor.report import as_table as as_findings
from secureconnect.ids import CallId, ConversationId, UserId
from secureconnect.terminal import escape_for_terminal, escape_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ada Lovelace", "Ada Lovelace"),
        ("Nguyễn Thị Ánh", "Nguyễn Thị Ánh"),
        ("\u05d3\u05d5\u05d3", "\u05d3\u05d5\u05d3"),
        ("👩\u200d⚕️", "👩\u200d⚕️"),
        ("\x1b]0;pwned\x07", "\\x1b]0;pwned\\x07"),
        ("a\nb\r\tc", "a\\x0ab\\x0d\\x09c"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f"),
        ("\u202eadA\u2066\u200f", "\\u202eadA\\u2066\\u200f"),
        ("a\u2028b\u2029", "a\\u2028b\\u2029"),
        ("\U000e0041\ue000", "\\U000e0041\\ue000"),
    ],
)
def test_what_a_terminal_obeys_is_written_as_its_number(text: str, shown: str) -> None:
    assert escape_for_terminal(text) == shown


def test_a_json_document_stays_the_same_and_holds_nothing_that_a_terminal_obeys() -> None:
    value = {"name": "Ada\u202e \x9b31m \x7f\u2028 ế 👩\u200d⚕️ \U000e0041", "quote": '"\\'}
    text = json.dumps(value, ensure_ascii=False, indent=2)
    escaped = escape_json(text)
    assert json.loads(escaped) == value
    assert escape_for_terminal(escaped.replace("\n", "")) == escaped.replace("\n", "")
    assert "ế" in escaped


HOSTILE = "\x1b]0;pwned\x07\x1b[31m\u202e[red]Ada[/]\n2026 [info] ok"


def drawn(what: object) -> str:
    written = StringIO()
    Console(file=written, force_terminal=True, width=200, color_system=None).print(what)
    return written.getvalue()


def test_a_trace_shows_a_hostile_name_on_one_line() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    callee = CalleeTrace(UserId(UUID(int=1)), HOSTILE, None, False, at, None, None, f"{HOSTILE} was rung.", [])
    ids = CallId(UUID(int=2)), ConversationId(UUID(int=4))
    trace = CallTrace(*ids, CallType.AUDIO, Status.ENDED, None, UserId(UUID(int=3)), at, None, None, HOSTILE, [callee], [])
    text = drawn(as_table(trace))
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "[red]Ada[/]\\x0a2026 [info] ok" in text


def test_a_finding_of_the_doctor_shows_what_others_said() -> None:
    text = drawn(as_findings([failed("bus", HOSTILE, HOSTILE)]))
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "[red]Ada[/]" in text
