"""What sessions say of their connections is heard by the others, kept, counted, and shown to members alone."""

import asyncio

import httpx2
import pytest

from tests.fakes.people import Json, Person, Refused, World
from tests.fakes.server import ServerProcess
from tests.scenario.conftest import on_one_and_on_many

pytestmark = pytest.mark.anyio
REPORT = {"level": 3, "rtt_ms": 120, "jitter_ms": 8, "loss": 0.01, "in_kbps": 900, "out_kbps": 850, "anything": "else"}
PATIENCE = 20.0


async def readings(person: Person, call: Json, count: int) -> list[Json]:
    """The call's readings once there are so many: they are written every few seconds."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await person.all(f"/v1/calls/{call['call_id']}/quality?limit=1")
            if len(found) >= count:
                return found
            await asyncio.sleep(0.2)


@on_one_and_on_many
async def test_reports_are_heard_and_kept(world: World) -> None:
    call, (ada, ben), (at_ada, at_ben) = await world.call_of("Ada", "Ben")
    await at_ada.tell("quality", report=REPORT)
    heard = await at_ben.expect("quality", session_id=at_ada.welcome["session_id"])
    assert heard["report"] == REPORT, "as it was sent"
    await at_ben.tell("quality", report={"level": 4})
    await at_ben.tell("quality")
    kept = {one["user_id"]: one for one in await readings(ben, call, 2)}
    of_ada = kept[ada.user_id]
    assert of_ada["session_id"] == at_ada.welcome["session_id"]
    assert {name: of_ada[name] for name in REPORT if name != "anything"} == {
        name: value for name, value in REPORT.items() if name != "anything"
    }
    assert 3.9 < of_ada["mos"] < 4.3
    assert (kept[ben.user_id]["level"], kept[ben.user_id]["mos"]) == (4, None)
    trace = await ada.ask("GET", f"/v1/calls/{call['call_id']}/trace")
    figures = {one["user_id"]: one for one in trace["sessions"]}
    assert figures[ada.user_id]["readings"] == 1
    assert (figures[ada.user_id]["rtt_ms"], figures[ada.user_id]["worst_loss"]) == (REPORT["rtt_ms"], REPORT["loss"])
    assert figures[ben.user_id]["mos"] is None
    stranger = await world.person("Eve")
    with pytest.raises(Refused) as refusal:
        await stranger.all(f"/v1/calls/{call['call_id']}/quality?limit=10")
    assert refusal.value.status == 404


async def test_reports_are_counted(world: World, server: ServerProcess) -> None:
    call, _, (at_ada, _) = await world.call_of("Ada", "Ben")
    async with httpx2.AsyncClient(trust_env=False) as http:
        before = await _counted(http, server)
        await at_ada.tell("quality", report=REPORT)
        assert await _counted(http, server) == before + 1
    assert call["call_id"]


async def _counted(http: httpx2.AsyncClient, server: ServerProcess) -> float:
    page = (await http.get(server.metrics_url)).text
    name = "secureconnect_opinion_score_count "
    return next(float(line.removeprefix(name)) for line in page.splitlines() if line.startswith(name))
