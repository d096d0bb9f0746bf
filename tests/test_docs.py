"""docs/ and the code say the same: routes, messages, settings, errors, metrics, commands, close codes; and links lead somewhere.

Both directions where it can be told: what the code has must be described, and what is described must be there.
"""

import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secureconnect import cli
from secureconnect.api.asyncapi import client_messages, event_frames
from secureconnect.app import Application
from secureconnect.calls import commands
from secureconnect.calls.call import EndReason, LeaveReason, State, Status
from secureconnect.config import PREFIX, Settings, load_settings
from secureconnect.errors import all_errors
from secureconnect.signaling import call_room, connection, handlers, inbox, socket
from secureconnect.signaling.protocol import SIGNALING_FRAMES, type_of

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md"), ROOT / "bench/README.md"])
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]+`")


# --- Reading a page -----------------------------------------------------------------------------------------------------------


def page(name: str) -> str:
    return (DOCS / name).read_text()


def section(text: str, title: str) -> str:
    """What stands under a heading of the second level."""
    _, found, rest = text.partition(f"\n## {title}\n")
    assert found, f"there is no section {title!r}"
    return rest.partition("\n## ")[0]


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every table row, rulers left out."""
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def words(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def first_cells(text: str) -> set[str]:
    """Everything in backticks in the first column of every table."""
    return {word for row in rows(text) for word in words(row[0])}


def headings(text: str) -> list[str]:
    """All headings, as they are written."""
    return re.findall(r"^#{1,6} (.+)$", FENCE.sub("", text), re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """What a link to a heading may name, as GitHub makes it."""
    found: set[str] = set()
    for heading in headings(path.read_text()):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        found.add(re.sub(r"[^\w\- ]", "", plain).strip().lower().replace(" ", "-"))
    return found


# --- The HTTP API -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Application:
    """Made and never started: nothing is opened."""
    return Application(load_settings(data_dir=tmp_path_factory.mktemp("data")))


def without_names(path: str) -> str:
    """A path with its parameters' names taken out, and without its query."""
    return re.sub(r"\{[^}]*\}", "{}", path.partition("?")[0])


def test_every_route_is_in_the_api_page(application: Application) -> None:
    methods = {"get", "put", "post", "delete", "patch"}
    described: dict[str, dict[str, Any]] = application.api.openapi_schema.to_schema()["paths"]
    served = {(method.upper(), without_names(path)) for path, item in described.items() for method in methods & item.keys()}
    written = {
        (route[1], without_names(route[2]))
        for row in rows(page("api.md"))
        if (route := re.fullmatch(r"(GET|PUT|POST|DELETE|PATCH) `([^`]+)`", row[0]))
    }
    assert written == served


# --- The sockets --------------------------------------------------------------------------------------------------------------


def test_every_message_of_a_client_is_in_the_protocol_page() -> None:
    written = first_cells(section(page("protocol.md"), "Signaling: client to server"))
    assert written == {type_of(kind) for kind in client_messages()}


def test_every_frame_of_the_signaling_socket_is_in_the_protocol_page() -> None:
    text = section(page("protocol.md"), "Signaling: server to client").partition("| close code |")[0]
    relayed = {type_of(kind) for kind in client_messages() if getattr(kind, "relayed", False)}
    assert first_cells(text) == {type_of(kind) for kind in SIGNALING_FRAMES} | relayed


def test_every_event_is_in_the_protocol_page() -> None:
    assert first_cells(section(page("protocol.md"), "Events")) == {type_of(kind) for kind in event_frames()}


def close_codes() -> set[int]:
    """The numbers that the modules which close sockets name."""
    named = {
        name: value
        for module in (socket, connection, call_room, handlers, inbox)
        for name, value in vars(module).items()
        if type(value) is int
    }
    return {value for name, value in named.items() if name.startswith("CLOSE_") or name == "POLICY_VIOLATION"}


def test_every_close_code_is_in_the_protocol_page() -> None:
    table = page("protocol.md").partition("| close code |")[2].partition("\n\n")[0]
    assert {int(row[0]) for row in rows(table)} == close_codes()


# --- The rules of a call ------------------------------------------------------------------------------------------------------


def test_every_word_of_a_call_is_in_the_calls_page() -> None:
    text = page("calls.md")
    assert first_cells(section(text, "Statuses of a call")) == set(Status)
    assert first_cells(section(text, "States of a participant")) == set(State)
    assert first_cells(section(text, "End reasons")) - {"end_reason"} == set(EndReason)
    assert set(LeaveReason) <= first_cells(section(text, "Who is told"))


def test_every_command_of_a_call_is_in_the_calls_page() -> None:
    known = {kind.__name__ for kind in commands.Command.__args__} | {commands.Initiate.__name__}
    assert first_cells(section(page("calls.md"), "Commands")) == known


# --- Settings -----------------------------------------------------------------------------------------------------------------


def test_every_setting_is_in_the_configuration_page_with_its_default() -> None:
    written = {words(row[0])[0]: row for row in rows(page("config.md")) if words(row[0])}
    assert written.keys() == Settings.model_fields.keys()
    for name, field in Settings.model_fields.items():
        _, variable, default, sentence = written[name]
        value = json.loads(json.dumps(field.get_default(call_default_factory=True), default=str))
        assert words(variable) == [PREFIX + name.upper()], name
        assert json.loads(words(default)[0]) == value, name
        assert sentence.endswith("."), name


def test_the_configuration_file_of_the_page_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)
    example = page("config.md").partition("```toml\n")[2].partition("```")[0]
    path = tmp_path / "secureconnect.toml"
    path.write_text(example)
    assert load_settings(path).port == 443


# --- Errors -------------------------------------------------------------------------------------------------------------------


def refusal_codes() -> set[str]:
    """The codes of `error` frames, as signaling.handlers spells them."""
    tree = ast.parse(inspect.getsource(handlers))
    code_of = ast.parse(inspect.getsource(handlers._code_of))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refusal"]
    named = [call.args[0] for call in calls] + [
        node.value for node in ast.walk(code_of) if isinstance(node, ast.Return) and node.value
    ]
    constants = [part for value in named for part in ast.walk(value) if isinstance(part, ast.Constant)]
    return {str(part.value) for part in constants if re.fullmatch(r"[a-z_]+", str(part.value))}


def test_every_error_code_has_a_paragraph() -> None:
    codes = {error.code for error in all_errors()} | refusal_codes()
    written = re.findall(r"^### (.+)$", page("errors.md"), re.MULTILINE)
    assert len(written) == len(set(written))
    assert set(written) == codes


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.code)
def test_the_paragraph_of_an_error_begins_with_its_status(error: Any) -> None:
    assert f"\n### {error.code}\n\n`{error.status}`. " in page("errors.md")


# --- Operation ----------------------------------------------------------------------------------------------------------------


def test_every_metric_is_in_the_operation_page(application: Application) -> None:
    kinds = re.findall(r"^# TYPE (\S+) \S+$", application.metrics.exposition().decode(), re.MULTILINE)
    exposed = {name for name in kinds if not name.endswith("_created")}
    assert first_cells(section(page("operate.md"), "Metrics")) == exposed


NOT_THE_SERVER = ("robot", "load", "doctor")


def logged_events() -> Iterator[str]:
    """A pattern for each event that the server logs: its text as it is, with anything for what is filled in."""
    source = ROOT / "src/secureconnect"
    for path in source.rglob("*.py"):
        if path.relative_to(source).parts[0] in NOT_THE_SERVER:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "log"):
                continue
            match node.args:
                case [ast.Constant(value), *_]:
                    yield re.escape(str(value))
                case [ast.JoinedStr(parts), *_]:
                    yield "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+" for part in parts)


def test_every_event_of_the_log_is_in_the_operation_page() -> None:
    written = {word for row in rows(section(page("operate.md"), "Logs")) for word in words(row[0])}
    patterns = set(logged_events())
    missing = [pattern for pattern in patterns if not any(re.fullmatch(pattern, one) for one in written)]
    assert not missing
    source = "".join(path.read_text() for path in (ROOT / "src/secureconnect").rglob("*.py"))
    gone = [one for one in written if f'"{one}"' not in source and not any(re.fullmatch(pattern, one) for pattern in patterns)]
    assert not gone


def command_names(app: Any = cli.app, prefix: str = "secureconnect") -> set[str]:
    """Every command as it is typed; a group of commands is its members."""
    found = set()
    for name in app:
        if name.startswith("-"):
            continue
        members = command_names(app[name], f"{prefix} {name}")
        found |= members or {f"{prefix} {name}"}
    return found


def test_every_command_is_in_the_operation_page() -> None:
    assert first_cells(section(page("operate.md"), "Commands")) == command_names()


# --- What the pages tell people to type and where they send them ---------------------------------------------------------------


def typed(text: str) -> str:
    """Everything that a page shows as code."""
    indented = re.findall(r"^ {4}.+$", text, re.MULTILINE)
    return "\n".join([*CODE.findall(text), *FENCE.findall(text), *indented])


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_on_a_page_exist(path: Path) -> None:
    code = typed(path.read_text())
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    first_words = {name.split()[1] for name in command_names()}
    assert set(re.findall(r"\bmake ([a-z]+)", code)) <= targets
    assert set(re.findall(r"(?<![-/\w])(?:\.venv/bin/)?secureconnect ([a-z]+)", code)) <= first_words


def links(path: Path) -> list[str]:
    """Where a page's links and pictures lead, other sites left out."""
    found = re.findall(r"\]\(([^()\s]+)\)", CODE.sub("", FENCE.sub("", path.read_text())))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for link in links(path):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{path.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{path.name}: {link}"


def test_every_page_can_be_reached_from_the_index() -> None:
    named = {link.partition("#")[0] for link in links(DOCS / "index.md")}
    assert {path.name for path in DOCS.glob("*.md")} - {"index.md"} <= named
