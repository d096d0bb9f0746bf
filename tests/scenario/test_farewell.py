"""A server that is asked to end tells everybody to come back, writes down what it must, and ends well."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.people import World, person_in
from tests.fakes.server import ServerProcess
from tests.scenario.conftest import faults

pytestmark = pytest.mark.anyio


async def test_a_stop_says_1012_to_all_and_calls_go_on_after_the_start(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, RATE_LIMITS="off")
    await server.start()
    world = World(server.url)
    call, (ada, ben), sockets = await world.call_of("Ada", "Ben")
    inboxes = [await ada.events(), await ben.events()]
    await sockets[0].tell("raise_hand")
    closing = asyncio.gather(*(socket.closed() for socket in (*sockets, *inboxes)))
    status = await server.stop()
    assert await closing == [1012] * 4
    assert status == 0
    assert faults(server) == []

    await server.start()
    try:
        back = [await ada.resume(call, sockets[0]), await ben.resume(call, sockets[1])]
        assert [one.welcome["session_id"] for one in back] == [one.welcome["session_id"] for one in sockets]
        assert person_in(back[1].welcome["call"], ada)["state"] == "joined"
        await back[0].say("reaction", emoji="on we go")
        said = await back[1].expect("reaction", emoji="on we go")
        assert said["seq"] > max(socket.seq for socket in sockets)
    finally:
        await world.close()
        assert await server.stop() == 0
