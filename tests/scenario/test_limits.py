"""What a socket may not do, with the limits on: talk too fast, talk nonsense for long, talk in binary, talk too much at once."""

from collections.abc import AsyncIterator

import pytest
from websockets.exceptions import ConnectionClosed

from tests.fakes.people import Json, Refused, World
from tests.fakes.server import ServerProcess
from tests.scenario.conftest import serving

pytestmark = pytest.mark.anyio

BURST = 200
STRIKES = 100


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    async with serving(tmp_path_factory.mktemp("data"), RATE_LIMITS="on") as server:
        yield server


async def test_too_many_at_once_are_refused_each_and_the_socket_stays(world: World) -> None:
    _, _, (at_ada, at_ben) = await world.call_of("Ada", "Ben")
    assert at_ada.welcome["limits"]["burst"] == BURST
    assert at_ada.welcome["limits"]["messages_per_second"] == 50
    sent = BURST + 60
    for number in range(sent):
        await at_ada.say("reaction", emoji=str(number), ref=str(number))
    answers: list[Json] = []
    while len(answers) < sent:
        frame = await at_ada.read()
        if frame["type"] in ("ack", "error"):
            answers.append(frame)
    refused = [frame for frame in answers if frame["type"] == "error"]
    assert {frame["code"] for frame in refused} == {"rate_limited"}
    assert answers[:BURST] == [frame for frame in answers if frame["type"] == "ack"][:BURST], "the burst passes"
    assert refused
    # What was accepted has arrived, what was refused has not.
    accepted = [int(frame["ref"]) for frame in answers if frame["type"] == "ack"]
    while len(at_ben.heard("reaction")) < len(accepted):
        await at_ben.read()
    assert [int(frame["emoji"]) for frame in at_ben.heard("reaction")] == accepted


async def test_repeated_abuse_ends_the_socket(world: World) -> None:
    call, (ada, _), (at_ada, _) = await world.call_of("Ada", "Ben")
    try:
        for _ in range(20 * STRIKES):
            await at_ada.connection.send("nonsense")
    except ConnectionClosed:
        pass
    assert await at_ada.closed() == 1008
    assert {frame["code"] for frame in at_ada.heard("error")} <= {"malformed", "rate_limited"}
    assert len(at_ada.heard("error")) > STRIKES
    back = await ada.resume(call, at_ada)
    assert back.welcome["resumed"] is True


async def test_a_binary_frame_ends_the_socket(world: World) -> None:
    call, (ada, _), (at_ada, at_ben) = await world.call_of("Ada", "Ben")
    await at_ada.connection.send(b'{"type":"reaction"}')
    assert await at_ada.closed() == 1003
    back = await ada.resume(call, at_ada)
    await back.tell("reaction")
    await at_ben.expect("reaction")
    assert len(at_ben.heard("reaction")) == 1


async def test_a_frame_of_64_kib_passes_and_a_larger_one_ends_the_socket(world: World) -> None:
    call, (ada, _), (at_ada, at_ben) = await world.call_of("Ada", "Ben")
    largest = at_ada.welcome["limits"]["max_frame_bytes"]
    assert largest == 65_536
    around = len('{"type": "offer", "sdp": ""}')
    await at_ada.say("offer", sdp="x" * (largest - around))
    assert len((await at_ben.expect("offer"))["sdp"]) == largest - around
    await at_ada.say("offer", sdp="x" * (largest - around + 1))
    assert await at_ada.closed() == 1009
    back = await ada.resume(call, at_ada)
    await back.tell("reaction")
    await at_ben.expect("reaction")
    assert len(at_ben.heard("offer")) == 1


async def test_who_rings_too_often_is_told_when_to_try_again(world: World) -> None:
    ada, ben = await world.people("Ada", "Ben")
    conversation_id = await ada.converse(ben)
    for _ in range(10):
        await ada.end(await ada.initiate(conversation_id, ben))
    with pytest.raises(Refused) as refused:
        await ada.initiate(conversation_id, ben)
    assert (refused.value.status, refused.value.code) == (429, "rate_limited")
    assert 1 <= int(refused.value.headers["retry-after"]) <= 120
    assert await ben.initiate(conversation_id, ada), "others are not kept from it"


async def test_an_invitation_is_a_ring_too(world: World) -> None:
    ada, ben, cleo = await world.people("Ada", "Ben", "Cleo")
    call = await ada.initiate(await ada.converse(ben, cleo), ben)
    for _ in range(9):
        await ada.invite(call, cleo)
    with pytest.raises(Refused) as refused:
        await ada.invite(call, cleo)
    assert refused.value.code == "rate_limited"
