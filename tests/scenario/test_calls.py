"""The life of a call, over the wire: from the ring to the history. Refusals, devices and lost sockets have files of their own."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.fakes.people import Person, Refused, World, person_in
from tests.scenario.conftest import on_one_and_on_many

pytestmark = [pytest.mark.anyio, on_one_and_on_many]

SHORTEST_RING = 5


def states(call: dict[str, Any]) -> dict[str, str]:
    return {one["display_name"]: one["state"] for one in call["participants"]}


async def test_two_people_talk(world: World) -> None:
    """The whole life once: accounts, a conversation, the ring, signaling both ways, leave, history, timeline."""
    ada, ben = await world.register("Ada"), await world.register("Ben")
    conversation_id = await ada.converse(ben)
    inbox = await ben.events()
    assert inbox.welcome["resumed"] is False

    call = await ada.initiate(conversation_id, ben)
    assert (call["status"], call["topology"], states(call)) == ("ringing", "p2p", {"Ada": "joined", "Ben": "ringing"})
    ring = await inbox.expect("call.incoming")
    assert (ring["call"], ring["waiting"]) == (call, False)

    at_ada = await ada.signaling(call)
    assert at_ada.welcome["user_id"] == ada.user_id
    assert at_ada.welcome["limits"]["grace_seconds"] == 30
    answered = await ben.join(call)
    assert (answered["status"], states(answered)) == ("active", {"Ada": "joined", "Ben": "joined"})
    at_ben = await ben.signaling(call)
    joined = await at_ada.expect("join")
    assert (joined["sender_id"], joined["session_id"]) == (ben.user_id, at_ben.welcome["session_id"])
    assert joined["device_id"] == ben.device_id

    # Who gets the welcome offers, the other answers; each is addressed.
    adas, bens = at_ada.welcome["session_id"], at_ben.welcome["session_id"]
    await at_ben.say("offer", sdp="v=0\r\nö", target_id=adas, connection_id="1")
    offer = await at_ada.expect("offer", sdp="v=0\r\nö", connection_id="1", session_id=bens, sender_id=ben.user_id, target_id=adas)
    await at_ada.say("answer", sdp="v=0", target_id=bens)
    answer = await at_ben.expect("answer", sdp="v=0", session_id=adas, call_id=call["call_id"])
    candidate = {"candidate": "candidate:1 1 udp 1 10.0.0.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0}
    await at_ada.say("ice_candidate", candidate=candidate, target_id=ben.user_id)
    await at_ada.say("ice_candidate", candidate=None)
    first = await at_ben.expect("ice_candidate", candidate=candidate)
    last = await at_ben.expect("ice_candidate", candidate=None)
    assert offer["seq"] < answer["seq"] < first["seq"] < last["seq"]

    ack = await at_ben.tell("leave")
    assert await at_ben.closed() == 1000
    assert (await at_ada.expect("leave", session_id=bens, reason="left"))["seq"] == ack
    await at_ada.expect("leave", session_id=adas, reason="ended")
    assert await at_ada.closed() == 1000
    over = (await inbox.expect("call.ended"))["call"]
    assert (over["status"], over["end_reason"], states(over)) == ("ended", "completed", {"Ada": "left", "Ben": "left"})
    assert over == await ada.look(call)

    assert await ada.history(conversation_id=conversation_id) == [over] == await ben.history(status="ended")
    assert await ben.history(status="missed") == []
    (entry,) = await ben.timeline(conversation_id)
    assert (entry["kind"], entry["sender_id"]) == ("call", ada.user_id)
    assert entry["call"] == {name: over[name] for name in entry["call"]}


async def in_a_call(world: World, *names: str) -> tuple[dict[str, Any], list[Person]]:
    """A call in which everybody has joined."""
    people = list(await world.people(*names))
    call = await people[0].initiate(await people[0].converse(*people[1:]), *people[1:])
    for person in people[1:]:
        await person.join(call)
    return call, people


async def test_what_one_says_to_all_reaches_all_others_and_what_is_addressed_nobody_else(world: World) -> None:
    call, people = await in_a_call(world, "Ada", "Ben", "Cleo")
    ada, ben, cleo = [await person.signaling(call) for person in people]
    await ada.say("reaction", emoji="🎉")
    assert (await ben.expect("reaction", emoji="🎉"))["seq"] == (await cleo.expect("reaction", emoji="🎉"))["seq"]
    await ada.say("offer", sdp="for Ben", target_id=ben.welcome["session_id"])
    await ada.say("quality", report={"level": 3, "rtt_ms": 42.5})
    await ben.expect("offer", sdp="for Ben")
    assert (await cleo.expect("quality"))["report"] == {"level": 3, "rtt_ms": 42.5}
    assert not cleo.heard("offer")
    await ada.tell("reaction")
    assert not ada.heard("reaction"), "nobody hears themselves"
    assert not ada.heard("offer")


async def test_what_one_said_of_oneself_is_kept_for_those_who_come_later(world: World) -> None:
    call, (ada, ben, cleo) = await in_a_call(world, "Ada", "Ben", "Cleo")
    at_ada, at_ben = await ada.signaling(call), await ben.signaling(call)
    await at_ada.say("mute_audio", muted=True, target_id=at_ben.welcome["session_id"])
    await at_ada.say("screen_share")
    await at_ada.say("raise_hand")
    await at_ada.tell("raise_hand", raised=False)
    await at_ben.expect("raise_hand", raised=False)
    adas = at_ada.welcome["session_id"]
    at_cleo = await cleo.signaling(call)
    said = {"audio_muted": True, "video_muted": False, "screen_share": True, "hand_raised": False}
    assert at_cleo.welcome["media"] == {adas: said}
    assert at_cleo.welcome["seq"] >= at_ben.seq
    await at_ada.tell("leave")
    await at_cleo.expect("leave", session_id=adas)
    at_cleo.abort()
    again = await cleo.signaling(call)
    assert again.welcome["media"] == {}, "a session that has left takes its state along"


async def test_frames_that_cannot_be_accepted_are_answered_and_the_socket_stays(world: World) -> None:
    call, people = await in_a_call(world, "Ada", "Ben")
    ada, ben = [await person.signaling(call) for person in people]
    bad: list[tuple[str, str, dict[str, Any]]] = [
        ("unknown_target", "offer", {"sdp": "", "target_id": str(uuid4())}),
        ("malformed", "offer", {}),
        ("malformed", "offer", {"sdp": 1}),
        ("malformed", "ice_candidate", {"candidate": "text"}),
        ("malformed", "mute_audio", {"muted": "yes"}),
        ("malformed", "reaction", {"emoji": "x" * 33}),
        ("unknown_type", "dance", {}),
    ]
    for code, kind, fields in bad:
        ref = uuid4().hex
        await ada.say(kind, **fields, ref=ref)
        error = await ada.expect("error", ref=ref)
        assert error["code"] == code, error
        assert error["detail"]
    await ada.connection.send("{")
    assert (await ada.expect("error"))["code"] == "malformed"
    await ada.say("reaction", emoji="still here")
    await ben.expect("reaction", emoji="still here")
    assert not [frame for frame in ben.frames if frame["type"] in ("offer", "dance", "error")]


async def test_decline(world: World) -> None:
    ada, ben = await world.people("Ada", "Ben")
    conversation_id = await ada.converse(ben)
    call = await ada.initiate(conversation_id, ben)
    at_ada = await ada.signaling(call)
    declined = await ben.decline(call)
    assert (declined["status"], declined["end_reason"], states(declined)["Ben"]) == ("declined", "declined", "declined")
    assert await ben.decline(call) == declined, "again changes nothing"
    await at_ada.expect("leave", reason="ended")
    assert await at_ada.closed() == 1000
    with pytest.raises(Refused) as late:
        await ben.join(call)
    assert late.value.code == "call_ended"


async def test_cancel(world: World) -> None:
    ada, ben = await world.people("Ada", "Ben")
    conversation_id = await ada.converse(ben)
    inbox = await ben.events()
    call = await ada.initiate(conversation_id, ben)
    over = await ada.leave(call)
    assert (over["status"], over["end_reason"], states(over)["Ben"]) == ("missed", "cancelled", "cancelled")
    assert await ada.leave(call) == over == await ada.end(call)
    await inbox.expect("call.ended")
    heard = [frame["type"] for frame in inbox.frames if frame["type"].startswith("call.")]
    assert heard == ["call.incoming", "call.updated", "call.cancelled", "call.missed", "call.ended"]


async def test_nobody_answers(world: World) -> None:
    ada, ben = await world.people("Ada", "Ben")
    inbox, at_home = await ben.events(), await ada.events()
    call = await ada.initiate(await ada.converse(ben), ben, ring_timeout=SHORTEST_RING)
    missed = (await inbox.expect("call.missed"))["call"]
    assert (missed["status"], missed["end_reason"], states(missed)) == ("missed", "timeout", {"Ada": "left", "Ben": "missed"})
    assert (await at_home.expect("call.ended"))["call"] == missed == await ada.look(call)


async def test_a_second_ring_waits_or_is_refused_as_busy(world: World) -> None:
    _, (ada, _) = await in_a_call(world, "Ada", "Ben")
    cleo = await world.person("Cleo")
    inbox = await ada.events()
    conversation_id = await cleo.converse(ada)
    waiting = await cleo.initiate(conversation_id, ada)
    assert (await inbox.expect("call.incoming", waiting=True))["call"] == waiting
    assert person_in(waiting, ada)["waiting"] is True
    await cleo.end(waiting)
    refused = await cleo.initiate(conversation_id, ada, if_busy="reject")
    assert (refused["status"], refused["end_reason"], states(refused)["Ada"]) == ("missed", "busy", "busy")
    await inbox.expect("call.ended", call_id=refused["call_id"])
    assert not inbox.heard("call.incoming", call_id=refused["call_id"])


async def test_a_third_is_invited_and_a_fifth_finds_no_room(world: World) -> None:
    ada, ben, cleo, dora, eve = await world.people("Ada", "Ben", "Cleo", "Dora", "Eve")
    conversation_id = await ada.converse(ben, cleo, dora, eve)
    with pytest.raises(Refused) as too_many:
        await ada.initiate(conversation_id, ben, cleo, dora, eve)
    assert (too_many.value.status, too_many.value.code) == (422, "too_many_participants")

    call = await ada.initiate(conversation_id, ben)
    await ben.join(call)
    at_ada = await ada.signaling(call)
    inbox = await cleo.events()
    with pytest.raises(Refused) as outside:
        await dora.invite(call, cleo)
    assert (outside.value.status, outside.value.code) == (409, "not_joined")
    await ben.invite(call, cleo)
    await inbox.expect("call.incoming", call_id=call["call_id"])
    meshed = await cleo.join(call)
    assert meshed["topology"] == "mesh"
    await at_ada.expect("topology", topology="mesh")
    await dora.join(call)
    with pytest.raises(Refused) as full:
        await eve.join(call)
    assert (full.value.status, full.value.code) == (409, "call_full")
    with pytest.raises(Refused) as not_host:
        await cleo.end(call)
    assert (not_host.value.status, not_host.value.code) == (403, "not_host")
    await cleo.leave(call)
    await eve.join(call)
    over = await ada.end(call)
    assert set(states(over).values()) == {"left"}


async def test_an_initiate_that_is_repeated_is_one_call(world: World) -> None:
    """A client that got no answer asks again, or twenty times at once: one ring."""
    ada, ben = await world.people("Ada", "Ben")
    inbox = await ben.events()
    conversation_id = await ada.converse(ben)
    key = uuid4().hex
    calls = await asyncio.gather(*(ada.initiate(conversation_id, ben, key=key) for _ in range(20)))
    assert len({call["call_id"] for call in calls}) == 1
    assert await ada.history() == [calls[0]]
    with pytest.raises(Refused) as other:
        await ada.initiate(conversation_id, ben, key=key, ring_timeout=60)
    assert (other.value.status, other.value.code) == (422, "idempotency_key_reused")
    await ada.end(calls[0])
    await inbox.expect("call.ended")
    assert len(inbox.heard("call.incoming")) == 1


async def test_whoever_is_taken_out_of_the_conversation_is_out_of_the_call(world: World) -> None:
    call, (ada, ben, _) = await in_a_call(world, "Ada", "Ben", "Cleo")
    at_ben = await ben.signaling(call)
    await ada.ask("DELETE", f"/v1/conversations/{call['conversation_id']}/participants/{ben.user_id}")
    assert await at_ben.closed() == 1000
    assert states(await ada.look(call))["Ben"] == "left"
    with pytest.raises(Refused) as gone:
        await ben.look(call)
    assert gone.value.status == 404
