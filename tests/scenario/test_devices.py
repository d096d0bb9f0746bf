"""One person with several devices: who rings, who stops ringing, who takes over."""

import asyncio
from uuid import uuid4

import pytest

from tests.fakes.people import Refused, World, person_in

pytestmark = pytest.mark.anyio


async def test_answered_at_one_device_the_others_stop_ringing(world: World) -> None:
    ada, phone = await world.people("Ada", "Ben")
    laptop = phone.on(str(uuid4()))
    at_phone, at_laptop = await phone.events(), await laptop.events()
    call = await ada.initiate(await ada.converse(phone), phone)
    await asyncio.gather(at_phone.expect("call.incoming"), at_laptop.expect("call.incoming"))
    await phone.join(call)
    told = await at_laptop.expect("call.answered_elsewhere", call_id=call["call_id"])
    assert told["device_id"] == phone.device_id
    with pytest.raises(Refused) as late:
        await laptop.join(call)
    assert (late.value.status, late.value.code) == (409, "answered_elsewhere")
    with pytest.raises(Refused) as uninvited:
        await laptop.signaling(call)
    assert (uninvited.value.status, uninvited.value.code) == (409, "answered_elsewhere")
    assert await phone.join(call) == await ada.look(call), "the same device again changes nothing"
    with pytest.raises(Refused) as joined:
        await laptop.decline(call)
    assert (joined.value.status, joined.value.code) == (409, "already_joined")
    await ada.end(call)
    await at_phone.expect("call.ended")
    assert not at_phone.heard("call.answered_elsewhere")


async def test_declined_at_one_device_the_others_stop_ringing(world: World) -> None:
    ada, phone = await world.people("Ada", "Ben")
    laptop = phone.on(str(uuid4()))
    at_phone, at_laptop = await phone.events(), await laptop.events()
    call = await ada.initiate(await ada.converse(phone), phone)
    await phone.decline(call)
    told = await at_laptop.expect("call.declined_elsewhere", call_id=call["call_id"])
    assert told["device_id"] == phone.device_id
    await at_phone.expect("call.ended")
    assert not at_phone.heard("call.declined_elsewhere")


async def test_a_call_moves_to_another_device(world: World) -> None:
    ada, phone = await world.people("Ada", "Ben")
    laptop = phone.on(str(uuid4()))
    call = await ada.initiate(await ada.converse(phone), phone)
    await phone.join(call)
    at_ada, at_phone = await ada.signaling(call), await phone.signaling(call)
    moved = await laptop.join(call, mode="move")
    assert person_in(moved, phone)["devices"] == [laptop.device_id]
    await at_phone.expect("leave", session_id=at_phone.welcome["session_id"], reason="moved")
    assert await at_phone.closed() == 1000
    with pytest.raises(Refused) as out:
        await phone.resume(call, at_phone)
    assert out.value.code == "answered_elsewhere"
    at_laptop = await laptop.signaling(call)
    await at_ada.expect("join", session_id=at_laptop.welcome["session_id"], device_id=laptop.device_id)
    await at_laptop.say("reaction", emoji="💻")
    await at_ada.expect("reaction", emoji="💻", sender_id=phone.user_id)


async def test_a_device_is_added_and_leaves_alone(world: World) -> None:
    ada, phone = await world.people("Ada", "Ben")
    laptop = phone.on(str(uuid4()))
    call = await ada.initiate(await ada.converse(phone), phone)
    await phone.join(call)
    at_ada, at_phone = await ada.signaling(call), await phone.signaling(call)
    added = await laptop.join(call, mode="add")
    assert person_in(added, phone)["devices"] == [phone.device_id, laptop.device_id]
    at_laptop = await laptop.signaling(call)
    await at_ada.say("reaction", emoji="both")
    await asyncio.gather(at_phone.expect("reaction", emoji="both"), at_laptop.expect("reaction", emoji="both"))
    await at_ada.say("offer", sdp="to a person", target_id=phone.user_id)
    await asyncio.gather(at_phone.expect("offer"), at_laptop.expect("offer"))
    await at_phone.tell("leave")
    assert await at_phone.closed() == 1000
    await at_ada.expect("leave", session_id=at_phone.welcome["session_id"], reason="left")
    left = await ada.look(call)
    assert left["status"] == "active"
    assert [one["session_id"] for one in person_in(left, phone)["sessions"]] == [at_laptop.welcome["session_id"]]


async def test_a_second_socket_of_the_same_device_takes_the_place_of_the_first(world: World) -> None:
    ada, ben = await world.people("Ada", "Ben")
    call = await ada.initiate(await ada.converse(ben), ben)
    first = await ada.signaling(call)
    second = await ada.signaling(call)
    assert await first.closed() == 1000
    assert [one["session_id"] for one in person_in(await ada.look(call), ada)["sessions"]] == [second.welcome["session_id"]]


async def test_a_phone_that_comes_online_in_the_middle_of_a_ring_rings(world: World) -> None:
    ada, ben = await world.people("Ada", "Ben")
    call = await ada.initiate(await ada.converse(ben), ben)
    inbox = await ben.events()
    ring = await inbox.read()
    assert (ring["type"], ring["call"]["call_id"], ring["waiting"]) == ("call.incoming", call["call_id"], False)
    await ben.decline(call)
    quiet = await ben.on(str(uuid4())).events()
    await ada.write(call["conversation_id"], "then not")
    assert (await quiet.read())["type"] == "message.created", "what no longer rings is not rung again"


async def test_events_that_were_missed_follow_the_cursor(world: World) -> None:
    ada, ben = await world.people("Ada", "Ben")
    conversation_id = await ada.converse(ben)
    inbox = await ben.events()
    await ada.write(conversation_id, "1")
    await inbox.expect("message.created")
    inbox.abort()
    for content in "234":
        await ada.write(conversation_id, content)
    call = await ada.initiate(conversation_id, ben)
    await ada.end(call)
    back = await ben.events(cursor=inbox.cursor)
    assert back.welcome["resumed"] is True
    await back.expect("call.ended")
    texts = [frame["message"]["content"] for frame in back.heard("message.created") if frame["message"]["kind"] == "text"]
    assert texts == ["2", "3", "4"]
    assert len(back.heard("call.incoming")) == 1
    cursors = [int(frame["cursor"]) for frame in back.frames]
    assert cursors == sorted(set(cursors))
    lost = await ben.events(cursor="1")
    assert lost.welcome["resumed"] is False, "what the server no longer knows it does not pretend to replay"
