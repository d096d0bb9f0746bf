"""What becomes of a place that nobody comes back to. The server of this module keeps one for two seconds."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes.people import Refused, World
from tests.fakes.server import ServerProcess
from tests.scenario.conftest import serving

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    async with serving(tmp_path_factory.mktemp("data"), GRACE_SECONDS="2") as server:
        yield server


async def test_whoever_comes_back_too_late_has_left(world: World) -> None:
    call, (_, _, cleo), (at_ada, _, at_cleo) = await world.call_of("Ada", "Ben", "Cleo")
    at_cleo.abort()
    await at_ada.expect("leave", session_id=at_cleo.welcome["session_id"], reason="timeout")
    with pytest.raises(Refused) as late:
        await cleo.resume(call, at_cleo)
    assert (late.value.status, late.value.code) == (409, "not_joined")
    await cleo.join(call)
    back = await cleo.resume(call, at_cleo)
    assert back.welcome["resumed"] is False
    assert back.welcome["session_id"] != at_cleo.welcome["session_id"]


async def test_a_call_ends_when_all_but_one_are_gone_for_good(world: World) -> None:
    call, (_, ben), (at_ada, at_ben) = await world.call_of("Ada", "Ben")
    at_ben.abort()
    assert await at_ada.closed() == 1000
    assert at_ada.frames[-1]["reason"] == "ended"
    with pytest.raises(Refused) as late:
        await ben.resume(call, at_ben)
    assert (late.value.status, late.value.code) == (409, "call_ended")


async def test_a_caller_who_never_opens_a_socket_is_given_up(world: World) -> None:
    ada, ben = await world.people("Ada", "Ben")
    inbox = await ben.events()
    call = await ada.initiate(await ada.converse(ben), ben)
    over = (await inbox.expect("call.missed", call_id=call["call_id"]))["call"]
    assert (over["status"], over["end_reason"]) == ("missed", "cancelled")
