"""Limits of recordings with a real SFU: the recording stops, everyone hears why, and the call goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pylibsrtp
import pytest
from aiortc.rtp import RtpPacket

from tests.fakes.people import Json, Refused, World
from tests.fakes.server import ServerProcess
from tests.scenario.conftest import serving
from tests.scenario.test_group import Robot, stage, until
from tests.scenario.test_recording import folder_within_reach

pytestmark = pytest.mark.anyio
SECONDS = 2.0
SFU_KBPS = 1000
VP8_TYPE = 97
"""The payload type that aiortc offers for VP8."""


@pytest.fixture
async def written() -> AsyncIterator[Path]:
    with folder_within_reach() as folder:
        yield folder / "written"


def settings(written: Path, **more: str) -> dict[str, str]:
    return {"SFU": "auto", "RECORDING": "auto", "RECORDING_DIR": str(written), **more}


async def recorded_until_the_limit(server: ServerProcess, reason: str) -> None:
    world = World(server.url)
    call, (ada, ben), sockets = await world.call_of("Ada", "Ben")
    recording = await ben.ask("POST", f"/v1/calls/{call['call_id']}/recording")
    for socket in sockets:
        stopped: Json = await socket.expect("recording", state="stopped")
        assert (stopped["recording_id"], stopped["user_id"], stopped["reason"]) == (recording["recording_id"], None, reason)
    seen = await ada.look(call)
    assert (seen["status"], seen["recording"], seen["recorded"]) == ("active", None, True)
    await sockets[0].tell("reaction")
    assert await sockets[1].expect("reaction")
    await world.close()


async def test_a_recording_that_is_too_long_stops_and_the_call_goes_on(tmp_path: Path, written: Path) -> None:
    async with serving(tmp_path / "data", **settings(written, RECORDING_HOURS=str(SECONDS / 3600))) as server:
        await recorded_until_the_limit(server, "length")


async def test_a_volume_that_is_too_full_is_said_and_nothing_is_recorded(tmp_path: Path, written: Path) -> None:
    async with serving(tmp_path / "data", **settings(written, RECORDING_FREE_GIB="1000000")) as server:
        world = World(server.url)
        call, (ada, ben), _ = await world.call_of("Ada", "Ben")
        with pytest.raises(Refused) as refused:
            await ben.ask("POST", f"/v1/calls/{call['call_id']}/recording")
        assert (refused.value.status, refused.value.code) == (409, "recording_unavailable")
        assert "free on the volume" in refused.value.problem["detail"]
        health = await world.health()
        assert (health["status"], health["dependencies"]["recording"]["status"]) == ("degraded", "unavailable")
        assert (await world.ready())["status"] == "healthy", "calls can be served"
        assert (await ada.look(call))["status"] == "active"
        await world.close()


async def test_a_session_that_sends_twenty_times_what_it_may_is_recorded_no_further(tmp_path: Path, written: Path) -> None:
    async with (
        serving(tmp_path / "data", **settings(written, SFU_KBPS=str(SFU_KBPS), RATE_LIMITS="on")) as server,
        stage(server) as play,
    ):
        eve, ben = await play.people("Eve", "Ben")
        await play.join(ben)
        await until(lambda: eve.connected(2), "both in", 60)
        assert (await play.post(eve, f"/v1/calls/{play.call_id}/recording", {})).status_code == 201
        await until(lambda: is_publishing(eve), "Eve to publish", 60)
        size = size_of(written)
        await flood(eve, seconds=5)
        before, second = size(), SFU_KBPS * 1000 // 8
        await flood(eve, seconds=3)
        assert size() - before < 3 * second, "less than she may send in that time, although she sent twenty times as much"
        line = next(line for line in server.lines if line.get("event") == "session silenced")
        assert int(str(line["kbps"])) > 2 * SFU_KBPS


def is_publishing(robot: Robot) -> bool:
    link = robot.session.link
    return link is not None and link._publishing is not None and link._publishing.connectionState == "connected"


def size_of(folder: Path) -> Callable[[], int]:
    return lambda: sum(path.stat().st_size for path in folder.rglob("*.mjr*"))


async def flood(robot: Robot, seconds: float) -> None:
    """Send 20 Mbit/s of VP8 over the robot's own connection."""
    link = robot.session.link
    assert link is not None
    assert link._publishing is not None
    sender = next(each for each in link._publishing.getSenders() if each.kind == "video")
    loop = asyncio.get_running_loop()
    begun, sequence = loop.time(), 5000
    while (passed := loop.time() - begun) < seconds:
        for _ in range(10):
            sequence = (sequence + 1) & 0xFFFF
            packet = RtpPacket(
                payload_type=VP8_TYPE,
                sequence_number=sequence,
                timestamp=int(passed * 90_000),
                ssrc=sender._ssrc,
                marker=1,
                payload=b"\x10\x02\x00\x9d\x01\x2a" + b"\0" * 1150,
            )
            try:
                await sender.transport._send_rtp(packet.serialize())
            except pylibsrtp.Error:  # behind the robot's own packets: SRTP takes it for a replay
                sequence = (sequence + 8192) & 0xFFFF
        await asyncio.sleep(0.004)
