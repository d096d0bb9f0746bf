"""Sockets that are lost and come back: nothing missed, and nobody else the wiser."""

import asyncio
import json

import pytest

from tests.fakes.people import PATIENCE_SECONDS, Json, Refused, Socket, World, person_in
from tests.fakes.rawsocket import RawSocket, upgrade_request
from tests.fakes.server import ServerProcess
from tests.scenario.conftest import on_one_and_on_many

pytestmark = pytest.mark.anyio


def relayed(socket: Socket) -> list[str]:
    return [frame["emoji"] for frame in socket.heard("reaction")]


@on_one_and_on_many
async def test_whoever_resumes_misses_nothing_and_nobody_else_sees_a_leave_or_join(world: World) -> None:
    call, (_, ben), (at_ada, at_ben) = await world.call_of("Ada", "Ben")
    await at_ada.say("reaction", emoji="before")
    await at_ben.expect("reaction", emoji="before")
    at_ben.abort()
    lost = await at_ada.until(lambda frame: frame["type"] == "call", "the loss")
    while person_in(lost["call"], ben)["state"] != "reconnecting":
        lost = await at_ada.expect("call")
    for emoji in ("1", "2", "3"):
        await at_ada.tell("reaction", emoji=emoji)
    await at_ada.tell("offer", sdp="for Ben", target_id=at_ben.welcome["session_id"])

    back = await ben.resume(call, at_ben)
    assert back.welcome["resumed"] is True
    assert back.welcome["session_id"] == at_ben.welcome["session_id"]
    assert "call" not in back.welcome
    assert back.welcome["seq"] == at_ben.seq
    await back.expect("offer", sdp="for Ben")
    assert relayed(back) == ["1", "2", "3"]
    assert back.seq > at_ben.seq
    await at_ada.say("reaction", emoji="after")
    await back.expect("reaction", emoji="after")
    await back.say("reaction", emoji="here again")
    await at_ada.expect("reaction", emoji="here again")
    seen = [frame["type"] for frame in at_ada.frames[at_ada.frames.index(lost) :]]
    assert "join" not in seen
    assert "leave" not in seen
    back.abort()
    again = await ben.resume(call, back, seq=at_ben.seq)
    await again.expect("reaction", emoji="after")
    assert relayed(again) == ["1", "2", "3", "after"], "from wherever one says one was"


@on_one_and_on_many
async def test_a_session_that_resumes_while_its_old_socket_seems_open_takes_over(world: World) -> None:
    """After a change of networks the client knows first."""
    call, (_, ben), (at_ada, at_ben) = await world.call_of("Ada", "Ben")
    back = await ben.resume(call, at_ben)
    assert back.welcome["resumed"] is True
    assert await at_ben.closed() == 1000
    await at_ada.say("reaction", emoji="to the new one")
    await back.expect("reaction", emoji="to the new one")
    assert not at_ada.heard("leave")


@on_one_and_on_many
async def test_an_attempt_that_comes_late_takes_nothing_from_a_later_one(world: World) -> None:
    """Held up in a gateway until its client has given it up and come back by another."""
    call, (_, ben), (at_ada, at_ben) = await world.call_of("Ada", "Ben")
    place = {"resume": at_ben.welcome["resume"], "seq": at_ben.seq}
    at_ben.abort()
    back = await ben.signaling(call, **place, attempt=2)
    with pytest.raises(Refused) as refusal:
        await ben.signaling(call, **place, attempt=1)
    assert (refusal.value.status, refusal.value.code) == (409, "superseded")
    await back.say("reaction", emoji="still here")
    await at_ada.expect("reaction", emoji="still here")
    assert person_in(await ben.look(call), ben)["state"] == "joined"


async def test_a_request_whose_sender_is_gone_opens_nothing(world: World, server: ServerProcess) -> None:
    """It waited while the node was busy, or not there yet; its client, who does not count, came back elsewhere."""
    call, (_, ben), (at_ada, at_ben) = await world.call_of("Ada", "Ben")
    query = f"call_id={call['call_id']}&device_id={ben.device_id}&resume={at_ben.welcome['resume']}&seq={at_ben.seq}"
    server.lines.clear()
    server.pause()
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(upgrade_request(server.port, ben.token, f"/v1/calls/ws/signaling?{query}"))
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    finally:
        server.resume()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not any(line["event"] == "socket given up before it opened" for line in server.lines):
            await at_ada.tell("reaction", emoji="anybody?")
    await at_ben.say("reaction", emoji="still here")
    await at_ada.expect("reaction", emoji="still here")
    assert not any(line["event"] == "call changed" for line in server.lines)


@on_one_and_on_many
async def test_too_far_behind_gets_a_fresh_snapshot_of_the_same_session(world: World) -> None:
    call, (_, ben), (at_ada, at_ben) = await world.call_of("Ada", "Ben")
    at_ben.abort()
    await at_ada.tell("raise_hand")
    back = await ben.resume(call, at_ben, seq=1)
    assert back.welcome["resumed"] is False
    assert back.welcome["session_id"] == at_ben.welcome["session_id"]
    assert person_in(back.welcome["call"], ben)["state"] == "joined"
    assert back.welcome["media"][at_ada.welcome["session_id"]]["hand_raised"] is True


@on_one_and_on_many
async def test_an_old_snapshot_and_the_events_since_make_the_new_snapshot(world: World) -> None:
    call, (ada, ben, cleo), (at_ada, at_ben, at_cleo) = await world.call_of("Ada", "Ben", "Cleo")
    await at_ada.tell("mute_video", muted=True)
    await at_ben.tell("raise_hand")
    await at_ben.tell("leave")
    await at_cleo.tell("screen_share")
    await at_cleo.tell("screen_share", active=False)
    mark = await at_ada.tell("reaction", emoji="now")
    while at_cleo.seq < mark:
        await at_cleo.read()
    fold = folded(at_cleo)
    # The same device anew: its old session leaves, which is why its entry is not compared.
    fresh = await cleo.signaling(call)
    assert fresh.welcome["media"] == {key: state for key, state in fold[1].items() if key == at_ada.welcome["session_id"]}
    assert person_in(fold[0], ben) == person_in(fresh.welcome["call"], ben)
    assert person_in(fold[0], ada) == person_in(fresh.welcome["call"], ada)


def folded(socket: Socket) -> tuple[Json, Json]:
    """The call and the media states that a client has in hand after all it has heard, by the rules of docs/protocol.md."""
    call, media = dict(socket.welcome["call"]), dict(socket.welcome["media"])
    said = {
        "mute_audio": ("audio_muted", "muted"),
        "mute_video": ("video_muted", "muted"),
        "screen_share": ("screen_share", "active"),
        "raise_hand": ("hand_raised", "raised"),
    }
    quiet = {name: False for name, _ in said.values()}
    for frame in socket.frames[1:]:
        if frame["type"] == "call" and frame["call"]["version"] > call["version"]:
            call = frame["call"]
        elif frame["type"] == "leave":
            media.pop(frame["session_id"], None)
        elif frame["type"] in said:
            name, field = said[frame["type"]]
            media[frame["session_id"]] = {**media.get(frame["session_id"], quiet), name: frame[field]}
    return call, media


async def test_whoever_does_not_read_is_cut_off_and_may_resume(world: World, server: ServerProcess) -> None:
    call, (_, ben), (at_ada, at_ben) = await world.call_of("Ada", "Ben")
    at_ben.abort()
    slow = await RawSocket.open(
        server.port, ben.token, f"/v1/calls/ws/signaling?call_id={call['call_id']}&device_id={ben.device_id}"
    )
    _, first = await slow.frame()
    welcome: Json = json.loads(first)
    await at_ada.expect("join", session_id=welcome["session_id"])
    flood = 450
    for number in range(flood):
        await at_ada.tell("quality", report={"number": number, "padding": "x" * 4000})
    texts, code = await slow.to_the_end()
    seen = [json.loads(text) for text in texts]
    slow.close()
    assert code == 1013
    numbers = [frame["report"]["number"] for frame in seen if frame["type"] == "quality"]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) < flood

    back = await ben.signaling(call, resume=welcome["resume"], seq=seen[-1]["seq"])
    assert back.welcome["resumed"] is True
    assert back.welcome["session_id"] == welcome["session_id"]
    while not back.heard("quality", report={"number": flood - 1, "padding": "x" * 4000}):
        await back.read()
    numbers += [frame["report"]["number"] for frame in back.heard("quality")]
    assert numbers == list(range(flood)), "each once, in order, across the cut"
