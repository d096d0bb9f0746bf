"""A background loop that fails is started again, counted and named; it ends neither the process nor other loops."""

import ast
import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from secureconnect.background import begin, end
from secureconnect.calls.service import CallService
from secureconnect.calls.timers import LEASE, Timers
from secureconnect.errors import Unavailable
from secureconnect.ids import NodeId
from secureconnect.ops import loops
from secureconnect.ops.loops import FIRST_PAUSE, LONGEST_PAUSE, keep_running
from secureconnect.store import calls as call_store
from secureconnect.store import open_database
from secureconnect.store.schema import migrate
from tests.fakes.clock import ManualClock

pytestmark = pytest.mark.anyio
SOURCES = Path(loops.__file__).parents[1]


class Pauses:
    """Sleeps that take no time, up to a number of them; then the loop is told to end."""

    def __init__(self, most: int) -> None:
        self.taken: list[float] = []
        self._most = most

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        if len(self.taken) == self._most:
            raise asyncio.CancelledError


def failing(failure: Exception) -> Callable[[], object]:
    async def run() -> None:
        raise failure

    return run


@pytest.mark.parametrize(
    "failure", [ValueError("a fault"), Unavailable("It is away."), ExceptionGroup("several", [OSError()]), TimeoutError()]
)
async def test_a_loop_that_fails_is_started_again_after_a_growing_pause(failure: Exception) -> None:
    pauses, before = Pauses(7), loops.failures["a loop"]
    with capture_logs() as lines, pytest.raises(asyncio.CancelledError):
        await keep_running("a loop", failing(failure), pauses)  # type: ignore[arg-type]
    assert pauses.taken == [FIRST_PAUSE, 2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE]
    assert loops.failures["a loop"] == before + 7
    expected = "background loop waits" if isinstance(failure, Unavailable) else "background loop failed"
    assert {(line["event"], line["loop"]) for line in lines} == {(expected, "a loop")}
    assert all(isinstance(failure, Unavailable) or line["exc_info"] is failure for line in lines)


async def test_a_loop_that_returns_is_started_again() -> None:
    async def run() -> None:
        return

    pauses = Pauses(2)
    with pytest.raises(asyncio.CancelledError):
        await keep_running("short", run, pauses)
    assert len(pauses.taken) == 2


async def test_one_loop_that_fails_leaves_the_others_alone() -> None:
    beats = 0
    enough = asyncio.Event()

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0)
            beats += 1
            if beats == 100:
                enough.set()

    tasks = [begin("bad", failing(ValueError())), begin("good", beat)]  # type: ignore[arg-type]
    await asyncio.wait_for(enough.wait(), 10)
    assert not any(task.done() for task in tasks)
    await end(tasks)
    assert all(task.done() for task in tasks)


async def test_timers_go_on_after_a_fault_of_any_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease is renewed all the while: others must not take this node for lost."""
    database = open_database(f"sqlite+aiosqlite:///{tmp_path / 'database'}")
    await migrate(database)
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    node_id = NodeId(UUID(int=1))
    timers = Timers(service=cast(CallService, None), database=database, clock=clock, node_id=node_id, on_lapse=lambda: None)
    await timers.start()

    async def fail(*_: object) -> None:
        raise LookupError("a fault")

    monkeypatch.setattr(call_store, "due", fail)
    before = loops.failures["timers"]
    running = asyncio.create_task(timers.run())
    with capture_logs():
        while loops.failures["timers"] < before + 12:
            clock.advance(1)
            await asyncio.sleep(0.01)
    assert not running.done()
    assert timers.lease_until > clock.now() + LEASE - timedelta(seconds=10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await database.close()


def test_no_loop_runs_unguarded() -> None:
    """A task of a group takes its siblings along when it fails: each loop there runs by `keep_running`."""
    bare = []
    for path in SOURCES.rglob("*.py"):
        if path.relative_to(SOURCES).parts[0] in ("robot", "load", "doctor"):
            continue
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "create_task":
                text = ast.unparse(call.args[0])
                if text.endswith((".run()", "_tidy()", "_keep()")):
                    bare.append(f"{path.name}: {text}")
    assert bare == []
