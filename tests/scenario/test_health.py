"""What the server says of itself: dependencies by name, requests by id, figures; and what it says without its database."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.people import PATIENCE_SECONDS, Refused, World
from tests.fakes.server import ServerProcess

pytestmark = pytest.mark.anyio


async def get(server: ServerProcess, path: str, **headers: str) -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
        return await http.get(server.url + path, headers=headers)


@contextmanager
def database_taken_away(data_dir: Path) -> Iterator[None]:
    """Another process that keeps SQLite's only writing place for itself."""
    with closing(sqlite3.connect(data_dir / "secureconnect.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/v1/calls/health"])
async def test_health_names_the_dependencies(server: ServerProcess, path: str) -> None:
    answer = await get(server, path)
    report = answer.json()
    assert (answer.status_code, report["status"]) == (200, "healthy")
    assert report.keys() == {"status", "service", "version", "time", "dependencies"}
    for one in report["dependencies"].values():
        assert one["status"] == "healthy"
        assert one["latency_ms"] >= 0
    needed = {"database", "bus"} if path.endswith("ready") else {"database", "bus", "push"}
    assert set(report["dependencies"]) == needed
    assert answer.headers["cache-control"] == "no-store"


async def test_a_process_that_runs_is_live(server: ServerProcess) -> None:
    answer = await get(server, "/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})


async def test_every_request_has_an_id_that_is_found_in_the_log(world: World, server: ServerProcess) -> None:
    ada = await world.person("Ada")
    own = {(await get(server, path)).headers["x-request-id"] for path in ("/health", "/openapi.json", "/nowhere", "/v1/users/me")}
    assert len(own) == 4
    taken_over = await get(server, "/v1/users/me", **{"x-request-id": "from-the-gateway.1"})
    assert taken_over.headers["x-request-id"] == taken_over.json()["request_id"] == "from-the-gateway.1"
    for forged in ("short", "x" * 65, "two words", 'a","event":"x'):
        assert (await get(server, "/v1/users/me", **{"x-request-id": forged})).headers["x-request-id"] != forged
    with pytest.raises(Refused) as refused:
        await ada.ask("GET", "/v1/nowhere")
    wanted = refused.value.problem["request_id"]

    async def logged() -> dict[str, Any]:
        while True:
            for line in server.lines:
                if line.get("request") == wanted:
                    return line
            await asyncio.sleep(0.01)

    # The log comes through a pipe: it may be a moment behind the answer.
    line = await asyncio.wait_for(logged(), 10)
    assert (line["event"], line["path"], line["status"]) == ("request", "/v1/nowhere", 404)


async def test_metrics_count_what_happens(world: World, server: ServerProcess) -> None:
    async def figures() -> dict[str, float]:
        async with httpx2.AsyncClient(trust_env=False) as http:
            answer = await http.get(server.metrics_url)
        assert answer.headers["content-type"].startswith("text/plain")
        families = text_string_to_metric_families(answer.text)
        named = (
            (f"{sample.name} {' '.join(sample.labels.values())}".strip(), sample.value)
            for family in families
            for sample in family.samples
        )
        return dict(named)

    before = await figures()

    def grown(name: str) -> float:
        return after[f"secureconnect_{name}"] - before.get(f"secureconnect_{name}", 0)

    call, (ada, _), (at_ada, at_ben) = await world.call_of("Ada", "Ben")
    for _ in range(32):
        await at_ada.tell("reaction")
    await at_ben.expect("reaction")
    after = await figures()
    assert grown("relayed_total") == 32
    assert grown("relay_seconds_count") == 2, "one in sixteen"
    assert grown("sockets signaling") == grown("sockets_opened_total signaling") == grown("sessions_total new") == 2
    assert grown("http_requests_total POST /v1/calls/initiate 201") == 1
    assert grown("http_request_seconds_count /v1/calls/{call_id}/join") == 1
    assert grown("calls_started_total video") + grown("calls_started_total audio") == 1
    assert grown("rings_total answered") == grown("answer_seconds_count") == 1
    assert (grown("calls active"), grown("calls_here")) == (1, 1), "read from the database, and counted here"
    assert grown("bus_published_total") > 32
    assert grown("database_transaction_seconds_count snapshot") > 0
    assert after["secureconnect_dependency_up database"] == after["secureconnect_nodes"] == 1
    assert 0 < after["secureconnect_lease_seconds"] <= 15
    assert after["process_resident_memory_bytes"] > 0
    await ada.end(call)
    await at_ben.expect("leave")
    after = await figures()
    assert (grown("calls active"), grown("calls_ended_total completed ended"), grown("call_seconds_count")) == (0, 1, 1)


async def get_once(server: ServerProcess, path: str, status: int) -> httpx2.Response:
    """Return the first answer with this status: an answer may be a second old."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            answer = await get(server, path)
            if answer.status_code == status:
                return answer
            await asyncio.sleep(0.05)  # it can only be asked


async def test_without_its_database_it_says_so_and_comes_back(world: World, server: ServerProcess) -> None:
    call, (ada, _), (at_ada, at_ben) = await world.call_of("Ada", "Ben")
    with database_taken_away(server.data_dir):
        reports = [await get_once(server, path, 503) for path in ("/health", "/health/ready")]
        assert (await get(server, "/health/live")).status_code == 200
        for answer in reports:
            report = answer.json()
            assert report["status"] == "degraded"
            assert report["dependencies"]["database"]["status"] == "unavailable"
            assert report["dependencies"]["database"]["detail"]
            assert report["dependencies"]["bus"]["status"] == "healthy"
        # Several at once wait together, not one behind the other.
        async with asyncio.timeout(15):
            writes = [ada.write(call["conversation_id"], "unheard") for _ in range(5)]
            refusals = await asyncio.gather(*writes, return_exceptions=True)
        for refused in refusals:
            assert isinstance(refused, Refused)
            assert (refused.status, refused.code) == (503, "unavailable")
            assert int(refused.headers["retry-after"]) > 0
        # Whoever is in a call talks on: signaling needs no database.
        await at_ada.say("reaction", emoji="still talking")
        await at_ben.expect("reaction", emoji="still talking")
    assert (await get_once(server, "/health", 200)).json()["status"] == "healthy"
    await ada.write(call["conversation_id"], "heard")
    texts = [message["content"] for message in await ada.timeline(call["conversation_id"]) if message["kind"] == "text"]
    assert texts == ["heard"], "a refused write has changed nothing"
