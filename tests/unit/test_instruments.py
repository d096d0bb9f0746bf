"""What is counted of a call, and what the page of metrics makes of figures that cannot be had."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from secureconnect.bus.memory import MemoryBus
from secureconnect.calls import machine
from secureconnect.calls.call import Call
from secureconnect.errors import Unavailable
from secureconnect.instruments import CallCounter, rings_ended, show_bus, show_database, show_everything_shared, show_process
from secureconnect.ops.event_loop import INTERVAL_SECONDS, watch_lag
from secureconnect.ops.health import Health
from secureconnect.ops.metrics import Metrics
from secureconnect.store import Database, open_database
from secureconnect.store.schema import migrate
from tests.fakes.clock import ManualClock
from tests.unit.calls.story import ANN, BOB, CYN, START, Story, initiation, person

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = open_database(f"sqlite+aiosqlite:///{tmp_path / 'figures.sqlite3'}")
    await migrate(opened)
    yield opened
    await opened.close()


def read(text: bytes) -> dict[str, float]:
    """Every sample, by its name with its labels as Prometheus writes them."""
    return {
        sample.name + "".join(f"{{{name}={value}}}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


class Watched:
    """A story whose every change is counted, as the call service tells of them."""

    def __init__(self, story: Story) -> None:
        self.metrics = Metrics()
        self._count = CallCounter(self.metrics)
        self._story = story
        self._known: Call | None = None
        self.look()

    def look(self) -> None:
        self._count(self._known, self._story.call)
        self._known = self._story.call

    @property
    def figures(self) -> dict[str, float]:
        return read(self.metrics.exposition())


def test_a_call_that_was_answered_is_counted_once_with_its_times() -> None:
    story = Story.of(ANN, BOB)
    watched = Watched(story)
    story.wait(seconds=4)
    story.join(BOB)
    watched.look()
    story.wait(seconds=60)
    story.end(ANN)
    watched.look()
    story.leave(BOB)
    watched.look()
    figures = watched.figures
    assert figures["secureconnect_calls_started_total{call_type=video}"] == 1
    assert figures["secureconnect_calls_started_total{call_type=audio}"] == 0
    assert figures["secureconnect_rings_total{outcome=answered}"] == 1
    assert figures["secureconnect_answer_seconds_sum"] == 4
    assert figures["secureconnect_calls_ended_total{reason=completed}{status=ended}"] == 1
    assert (figures["secureconnect_call_seconds_sum"], figures["secureconnect_call_seconds_count"]) == (60, 1)


def test_every_ring_has_one_outcome() -> None:
    story = Story.of(ANN, BOB, CYN)
    story.open(ANN)
    watched = Watched(story)
    story.decline(BOB)
    watched.look()
    story.wait_until_due()
    watched.look()
    outcomes = {name: value for name, value in watched.figures.items() if name.startswith("secureconnect_rings_total")}
    assert outcomes == {
        "secureconnect_rings_total{outcome=answered}": 0,
        "secureconnect_rings_total{outcome=busy}": 0,
        "secureconnect_rings_total{outcome=cancelled}": 0,
        "secureconnect_rings_total{outcome=declined}": 1,
        "secureconnect_rings_total{outcome=missed}": 1,
    }
    assert "secureconnect_answer_seconds_sum" not in outcomes


def test_who_is_busy_from_the_start_has_an_outcome_too() -> None:
    call = machine.initiate(initiation(ANN, person(BOB, busy=True), reject_busy=True), START).call
    assert rings_ended(None, call) == ["busy"]


async def test_figures_of_all_nodes_are_left_out_while_the_database_is_away(database: Database) -> None:
    metrics, clock = Metrics(), ManualClock()
    show_everything_shared(metrics, database, clock)
    show_database(metrics, database)
    assert "secureconnect_calls{status=active}" not in read(metrics.exposition()), "nobody has asked yet"
    figures = read(await metrics.page())
    assert figures["secureconnect_calls{status=active}"] == figures["secureconnect_calls{status=ringing}"] == 0
    assert figures["secureconnect_pushes_waiting{provider=fcm}"] == 0
    assert figures["secureconnect_database_transaction_seconds_count{kind=read}"] == 1
    await database.close()

    async def away(*_: object) -> None:
        raise Unavailable

    database.read = away  # type: ignore[method-assign,assignment]
    text = (await metrics.page()).decode()
    assert "\n# TYPE secureconnect_calls gauge\n" in text, "it is known by name all the same"
    assert "\nsecureconnect_calls{" not in text


async def test_a_lost_race_is_counted_by_its_sqlstate(database: Database) -> None:
    metrics = Metrics()
    show_database(metrics, database)
    attempts = 0

    async def loses_twice(_: object) -> str:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise _lost_race()
        return "done"

    assert await database.transact(loses_twice) == "done"
    figures = read(metrics.exposition())
    assert figures["secureconnect_database_retries_total{sqlstate=40001}"] == 2
    assert figures["secureconnect_database_failures_total{reason=contended}"] == 0
    assert figures["secureconnect_database_transaction_seconds_count{kind=serializable}"] == 1


def _lost_race() -> Exception:
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415  (one test's own word for what a driver says)

    class Driver(Exception):
        sqlstate = "40001"

    return DBAPIError("UPDATE", {}, Driver())


async def test_dependencies_are_asked_for_each_page() -> None:
    answers = {"is there": True}

    async def bus() -> None:
        if not answers["is there"]:
            raise Unavailable("Redis does not answer.")

    async def turn() -> None:
        raise Unavailable("No answer from turn:turn.example.")

    metrics = Metrics()
    clock = ManualClock()
    health = Health(service="chat", version="1", clock=clock, probes={"bus": bus}, beside={"turn": turn})
    show_process(metrics, version="1", service="chat", health=health)
    figures = read(await metrics.page())
    assert figures["secureconnect_dependency_up{dependency=bus}"] == 1
    assert figures["secureconnect_dependency_up{dependency=turn}"] == 0
    assert "secureconnect_dependency_seconds{dependency=turn}" not in figures
    assert figures["secureconnect_draining"] == 0
    answers["is there"] = False
    health.draining = True
    clock.advance(1)
    figures = read(await metrics.page())
    assert figures["secureconnect_dependency_up{dependency=bus}"] == 0
    assert figures["secureconnect_draining"] == 1


async def test_what_a_gateway_asks_leaves_out_what_no_other_node_has_either() -> None:
    async def there() -> None:
        return

    async def away() -> None:
        raise Unavailable

    health = Health(service="chat", version="1", clock=ManualClock(), probes={"bus": there}, beside={"turn": away})
    everything, ready = await health.report(), await health.report(ready=True)
    assert (everything.status, set(everything.dependencies)) == ("degraded", {"bus", "turn"})
    assert (ready.status, set(ready.dependencies)) == ("healthy", {"bus"})


def test_the_bus_of_one_process_counts_what_is_published() -> None:
    bus, metrics = MemoryBus(ManualClock()), Metrics()
    show_bus(metrics, bus)
    bus.publish("call:1", b"{}")
    figures = read(metrics.exposition())
    assert (figures["secureconnect_bus_published_total"], figures["secureconnect_bus_waiting"]) == (1, 0)


async def test_the_lag_of_the_event_loop_is_how_late_it_wakes() -> None:
    clock, lags = ManualClock(), list[float]()
    watching = asyncio.ensure_future(watch_lag(clock, lags.append))
    for late in (0.0, 0.5):
        for _ in range(3):  # it falls asleep, or wakes, in the next turn of the loop
            await asyncio.sleep(0)
        clock.advance(INTERVAL_SECONDS + late)
    for _ in range(3):
        await asyncio.sleep(0)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert lags == pytest.approx([0.0, 0.5])


def test_a_label_is_never_the_word_of_a_client() -> None:
    """`read_when_asked` and the counters take labels from enumerations and routes; these are all of them."""
    text = Metrics().exposition().decode()
    labels = {label for family in text_string_to_metric_families(text) for one in family.samples for label in one.labels}
    assert labels <= {"le", "call_type", "outcome", "channel", "kind", "route", "method", "status", "reason", "code", "provider"}
