"""The rules of the house: floors, pure files, who may know which library, sizes, names. Read from the sources, nothing is run.

A rule that fails says what to do. An exception stands here, with its reason, or there is none.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src"
HOUSE = "secureconnect"
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50

FLOORS: dict[str, int] = {
    "errors": 0,
    "access_errors": 0,
    "ids": 0,
    "clock": 0,
    "keys": 0,
    "http": 0,
    "terminal": 0,
    "sandbox": 0,
    "text": 1,
    "ops.logging": 0,
    "ops.metrics": 0,
    "ops.event_loop": 0,
    "ops.loops": 0,
    "calls.call": 1,
    "calls.commands": 1,
    "calls.draft": 1,
    "calls.machine": 1,
    "calls.topology": 1,
    "calls.quality": 1,
    "calls.receipts": 1,
    "calls.trace": 1,
    "signaling.protocol": 1,
    "signaling.events": 1,
    "signaling.raw_json": 1,
    "signaling.reports": 1,
    "signaling.session": 1,
    "signaling.outgoing": 1,
    "signaling.sfu_frames": 1,
    "signaling.views": 1,
    "signaling.relay_timer": 1,
    "bus": 2,
    "store": 2,
    "push": 1,  # what all others of the room are written in
    "push.apns": 2,
    "push.fcm": 2,
    "push.log": 2,
    "push.webpush": 2,
    "push.lane": 2,
    "webhooks": 1,  # events as values, and what is made of a change
    "webhooks.sender": 3,  # it answers in the words of push
    "webhooks.delivery": 3,
    "media": 2,
    "media.janus_bundle": 1,  # what the SFU and recording both start programs with
    "recording": 2,
    "recording.record": 1,  # what store and the services of the room both know
    "ops.networks": 0,
    "ops.window": 1,
    "ops.ratelimit": 2,
    "ops.timekeeping": 2,
    "ops.health": 2,
    "accounts": 3,
    "chat": 3,
    "push.outbox": 3,
    "push.queue": 3,
    "recording.book": 3,
    "recording.desk": 3,
    "recording.limits": 3,
    "recording.service": 3,
    "recording.watch": 3,
    "calls": 3,
    "api": 4,
    "signaling": 4,
    "robot": 4,
    "load": 4,
    "config": 5,
    "recording_settings": 5,
    "data_dir": 6,
    "account_services": 6,
    "operator_access": 6,
    "background": 6,
    "purge": 6,
    "instruments": 6,
    "senders": 6,
    "installer": 6,
    "limiter": 6,
    "media_servers": 6,
    "recorder": 6,
    "sfu_servers": 6,
    "parts": 7,
    "app": 7,
    "http_protocol": 5,
    "place": 6,
    "server": 8,
    "doctor": 9,
    "command_line": 9,
    "user_commands": 9,
    "cli": 10,
    "__main__": 11,
}
"""A module is on the floor of the longest name here that it begins with; that name is its room."""

THE_PROCESS = (
    *("data_dir", "place", "account_services", "operator_access", "senders", "media_servers", "recorder", "sfu_servers", "parts"),
    *("limiter", "app", "server", "doctor", "command_line", "user_commands", "cli"),
)
"""Those that make a process of it all, and so may know the settings."""

SERVICES = (
    *("accounts", "chat", "push.outbox", "push.queue", "webhooks.sender", "webhooks.delivery", "recording.book", "calls"),
    *("recording.desk", "recording.limits", "recording.service", "recording.watch"),
)
"""From the lowest to the highest: one may use those before it."""

FRIENDS = {
    # Entry and Backlog are the values that a session counts with; the module that defines them does nothing.
    ("signaling.session", "bus"),
}
"""Single steps that the floors forbid and that are right all the same: (who, whom)."""

PURE = (
    "calls.call",
    "calls.commands",
    "calls.machine",
    "calls.trace",
    "signaling.protocol",
    "signaling.reports",
    "signaling.session",
)
"""These, and every module that calls itself pure in its docstring."""
NOT_PURE = {"asyncio", "time", "random", "secrets", "os", "socket", "threading", "anyio", "logging", "structlog"}

CLOCKS = ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")
WAITING = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)

LIBRARIES: dict[str, tuple[str, ...]] = {
    "picows": ("signaling.socket", "signaling.connection", "load"),
    "litestar": ("api", "parts"),
    "uvicorn": ("server", "http_protocol"),
    "sqlalchemy": ("store",),
    "alembic": ("store",),
    "redis": ("bus.redis",),
    "hiredis": ("bus.redis",),
    "joserfc": ("accounts", "push", "load"),  # the load tool mints tokens as an embedding application does
    "argon2": ("accounts",),
    "http_ece": ("push.webpush",),
    "limits": ("ops.ratelimit",),
    "obstore": ("recording.objects",),
    "prometheus_client": ("ops.metrics",),
    "pydantic": ("config", "recording_settings"),
    "pydantic_settings": ("config", "recording_settings"),
    "cyclopts": ("cli", "command_line", "user_commands", "installer.commands", "robot", "load"),
    "aiortc": ("robot",),
}
"""Who may know a library: everybody else meets it through them."""

LONG_BY_NATURE = ("store.migrations.versions",)
"""A migration is one list of tables, read from top to bottom."""

EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "base", "misc"}


class Module:
    """One source file, parsed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        relative = path.relative_to(ROOT / HOUSE).with_suffix("")
        parts = relative.parts[:-1] if relative.name == "__init__" else relative.parts
        self.name = ".".join(parts)
        self.text = path.read_text()
        self.tree = ast.parse(self.text, str(path))
        self.docstring = ast.get_docstring(self.tree) or ""

    @property
    def room(self) -> str:
        return room_of(self.name)

    def imports(self) -> Iterator[tuple[str, str]]:
        """Every import, wherever it stands, as (module, name); the name is empty for `import module`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.name}: import by the whole name, so that a reader can search for it"
                yield from ((node.module or "", alias.name) for alias in node.names)

    def neighbours(self) -> set[str]:
        """The modules of the house that this one imports."""
        found = set()
        for module, name in self.imports():
            if module == HOUSE or module.startswith(HOUSE + "."):
                inner = f"{module}.{name}" if f"{module}.{name}" in names() else module
                found.add(inner.removeprefix(HOUSE).removeprefix("."))
        return found - {"", self.name}


@cache
def house() -> tuple[Module, ...]:
    return tuple(Module(path) for path in sorted((ROOT / HOUSE).rglob("*.py")))


@cache
def names() -> frozenset[str]:
    return frozenset(f"{HOUSE}.{module.name}" for module in house())


def is_in(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(room + ".") for room in rooms)


def room_of(name: str) -> str:
    rooms = [room for room in FLOORS if is_in(name, (room,))]
    return max(rooms, key=len, default="")


def floor_of(name: str) -> int:
    """-1 for what has none yet; a test of its own asks for it."""
    return FLOORS.get(room_of(name), -1)


def steps() -> list[tuple[str, str]]:
    """Who imports whom, from room to room."""
    return [(module.name, other) for module in house() for other in sorted(module.neighbours()) if module.room != room_of(other)]


def test_every_module_has_a_floor() -> None:
    homeless = [module.name for module in house() if module.name and not module.room and module.text.strip()]
    assert not homeless, f"give {homeless} a floor in FLOORS: how much of the house may it know?"


def test_nobody_imports_from_a_floor_above() -> None:
    wrong = [f"{who} imports {whom}" for who, whom in steps() if floor_of(whom) > floor_of(who) and (who, whom) not in FRIENDS]
    assert not wrong, f"what must go up is a callback that parts.py hands down: {wrong}"


def test_floor_two_has_no_doors_between_its_rooms() -> None:
    wrong = [f"{who} imports {whom}" for who, whom in steps() if floor_of(who) == floor_of(whom) == 2]
    assert not wrong, f"bus, store, push, media, recording and limits stand alone; let a service bring them together: {wrong}"


def test_services_use_only_those_below_them() -> None:
    wrong = [
        f"{who} imports {whom}"
        for who, whom in steps()
        if room_of(who) in SERVICES and room_of(whom) in SERVICES and SERVICES.index(room_of(whom)) > SERVICES.index(room_of(who))
    ]
    assert not wrong, f"calls may use chat, chat may use accounts, and not the other way: {wrong}"


def test_the_rooms_of_floor_four_do_not_know_each_other() -> None:
    wrong = [f"{who} imports {whom}" for who, whom in steps() if floor_of(who) == floor_of(whom) == 4]
    assert not wrong, f"api, signaling, robot and load meet in app and cli alone: {wrong}"


def test_robot_and_load_are_clients() -> None:
    wrong = [f"{who} imports {whom}" for who, whom in steps() if room_of(who) in ("robot", "load") and floor_of(whom) > 1]
    assert not wrong, f"a client knows the wire and nothing of the server: {wrong}"


def test_settings_are_read_by_the_process_alone() -> None:
    wrong = [f"{who} imports {whom}" for who, whom in steps() if whom == "config" and room_of(who) not in THE_PROCESS]
    assert not wrong, f"take the value as an argument and let parts.py hand it in: {wrong}"


def test_the_environment_is_read_by_config_alone() -> None:
    # The load tool starts servers of its own; it hands them its environment, without our settings.
    # Where a user keeps data is in the environment (XDG Base Directory Specification), and commands without settings ask for it.
    allowed = ("config", "load.target", "media.janus_bundle")
    wrong = [
        f"{module.name}:{node.lineno}"
        for module in house()
        if not is_in(module.name, allowed)
        for node in ast.walk(module.tree)
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb"))
        or (isinstance(node, ast.alias) and node.name in ("environ", "getenv"))
    ]
    assert not wrong, f"make it a setting in config.py: {wrong}"


def pure_modules() -> list[Module]:
    return [module for module in house() if module.name in PURE or re.search(r"\bPure\b", module.docstring)]


def test_the_pure_files_are_there() -> None:
    assert {module.name for module in house()} >= set(PURE)
    assert len(pure_modules()) > len(PURE), "the robot's snapshot and others call themselves pure: has the word changed?"


@pytest.mark.parametrize("module", pure_modules(), ids=lambda module: module.name)
def test_a_pure_file_stays_pure(module: Module) -> None:
    waits = [node.lineno for node in ast.walk(module.tree) if isinstance(node, WAITING)]
    assert not waits, f"{module.name} waits in lines {waits}: let the caller wait, and hand in what came of it"
    imported = {name.partition(".")[0] for name, _ in module.imports()} & NOT_PURE
    assert not imported, f"{module.name} imports {sorted(imported)}: hand in the time, the dice and the world as values"
    clocks = [
        node.lineno
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) in ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")
    ]
    assert not clocks, f"{module.name} reads a clock in lines {clocks}: take `now` as an argument"


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_a_library_is_known_only_where_it_belongs(library: str) -> None:
    wrong = []
    for module in house():
        for imported, name in module.imports():
            if imported.partition(".")[0] != library or is_in(module.name, LIBRARIES[library]):
                continue
            # Services hand a connection through; they name its type and do nothing with it.
            if (imported, name) == ("sqlalchemy.ext.asyncio", "AsyncConnection") and module.room in SERVICES:
                continue
            wrong.append(f"{module.name} imports {imported}")
    assert not wrong, f"only {', '.join(LIBRARIES[library])} may know {library}: {wrong}"


def test_files_are_short() -> None:
    long = {module.name: lines for module in house() if (lines := len(module.text.splitlines())) > MAX_FILE_LINES}
    assert not long, f"more than {MAX_FILE_LINES} lines hold more than one thought; find the second: {long}"


def test_functions_are_short() -> None:
    long = [
        f"{module.name}:{node.lineno} {node.name} ({lines})"
        for module in house()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
        and not is_in(module.name, LONG_BY_NATURE)
    ]
    assert not long, f"more than {MAX_FUNCTION_LINES} lines: give a part of it a name: {long}"


def test_names_say_what_things_are() -> None:
    empty = [module.name for module in house() if EMPTY_NAMES & set(module.name.split("."))]
    assert not empty, f"name a file after what lives in it: {empty}"


def test_every_module_says_what_it_is_for() -> None:
    # An empty __init__ marks a folder and holds nothing to speak of.
    silent = [module.name for module in house() if module.text.strip() and not module.docstring]
    assert not silent, f"say in a docstring what lives there, who calls it and what it must not do: {silent}"
