"""The trace at a real server: rings by socket and by push, what devices say of them, and who may know."""

import asyncio
import sys
from uuid import uuid4

import pytest

from tests.fakes.people import Json, Person, Refused, World
from tests.fakes.server import ServerProcess
from tests.scenario.conftest import on_one_and_on_many

pytestmark = pytest.mark.anyio


async def callee_of(person: Person, call: Json) -> Json:
    trace = await person.ask("GET", f"/v1/calls/{call['call_id']}/trace")
    (callee,) = trace["callees"]
    return callee  # type: ignore[no-any-return]


async def traced(person: Person, call: Json, device: Person, *events: str) -> Json:
    """The trace once it tells this of that device: what devices say is written down a moment later."""
    async with asyncio.timeout(10):
        while True:
            callee = await callee_of(person, call)
            found = [one for one in callee["devices"] if one["device"] == device.device_id[-8:]]
            if found and set(events) <= {entry["event"] for entry in found[0]["events"]}:
                return callee
            await asyncio.sleep(0.05)


@on_one_and_on_many
async def test_a_ring_by_socket_and_by_push_and_what_became_of_it(world: World) -> None:
    ada, phone = await world.people("Ada", "Ben")
    laptop = phone.on(str(uuid4()))
    await phone.ask("PUT", f"/v1/devices/{phone.device_id}", {"platform": "android", "provider": "log", "token": uuid4().hex})
    at_laptop, at_ada = await laptop.events(), await ada.events()
    call = await ada.initiate(await ada.converse(phone), phone)
    await at_laptop.expect("call.incoming", call_id=call["call_id"])
    await at_laptop.say("shown", call_id=call["call_id"])
    await at_ada.expect("call.ringing", call_id=call["call_id"], user_id=phone.user_id)
    await at_laptop.say("shown", call_id=call["call_id"])
    assert await phone.ask("POST", f"/v1/calls/{call['call_id']}/shown", {"device_id": phone.device_id}) is None
    await traced(ada, call, phone, "queued", "sent", "accepted", "shown")
    await traced(ada, call, laptop, "delivered", "shown")
    await at_ada.expect("call.ringing", call_id=call["call_id"], user_id=phone.user_id)
    await laptop.join(call)
    await at_ada.expect("call.updated")
    assert len(at_ada.heard("call.ringing")) == 2, "once for each device, however often it says so"
    callee = await traced(ada, call, laptop, "answered")
    assert callee["outcome"] == "answered"
    outcomes = {one["device"]: (one["platform"], one["outcome"], one["device_id"]) for one in callee["devices"]}
    assert outcomes == {
        phone.device_id[-8:]: ("android", "answered_elsewhere", None),
        laptop.device_id[-8:]: (None, "answered", None),
    }
    own = await callee_of(phone, call)
    assert {one["device_id"] for one in own["devices"]} == {phone.device_id, laptop.device_id}
    assert own["summary"].startswith("Rang on 2 devices; shown on Ben's ")


async def test_a_phone_that_comes_online_during_the_ring_was_reached(world: World) -> None:
    ada, ben = await world.people("Ada", "Ben")
    call = await ada.initiate(await ada.converse(ben), ben)
    assert (await callee_of(ada, call))["summary"].startswith("Rang on no device: none is registered")
    await (await ben.events()).expect("call.incoming")
    await traced(ada, call, ben, "delivered")


async def test_an_answer_that_was_refused_is_told_of(world: World) -> None:
    ada, phone = await world.people("Ada", "Ben")
    laptop = phone.on(str(uuid4()))
    call = await ada.initiate(await ada.converse(phone), phone)
    await phone.join(call)
    with pytest.raises(Refused):
        await laptop.join(call)
    callee = await traced(ada, call, laptop, "refused")
    assert "was refused (answered_elsewhere)" in callee["summary"]


async def test_who_is_no_member_learns_nothing_and_adds_nothing(world: World) -> None:
    ada, ben, mallory = await world.people("Ada", "Ben", "Mallory")
    call = await ada.initiate(await ada.converse(ben), ben)
    for method, path in (("GET", "trace"), ("POST", "shown")):
        with pytest.raises(Refused) as refused:
            await mallory.ask(method, f"/v1/calls/{call['call_id']}/{path}")
        assert (refused.value.status, refused.value.code) == (404, "not_found")
    with pytest.raises(Refused) as caller:
        await ada.ask("POST", f"/v1/calls/{call['call_id']}/shown", {"device_id": ada.device_id})
    assert caller.value.code == "not_found", "it does not ring at the caller"
    assert (await callee_of(ben, call))["devices"] == []


async def test_what_a_device_may_not_say_is_refused_in_words_and_the_socket_stays(world: World) -> None:
    ada, ben = await world.people("Ada", "Ben")
    at_ben = await ben.events()
    refused = {"{": "malformed", "[]": "malformed", '{"type":"shown"}': "malformed", '{"type":"dance"}': "unknown_type"}
    for text, code in refused.items():
        await at_ben.connection.send(text)
        await at_ben.expect("error", code=code)
    call = await ada.initiate(await ada.converse(ben), ben)
    await at_ben.expect("call.incoming", call_id=call["call_id"])


async def test_the_operator_reads_it_as_a_table(world: World, server: ServerProcess) -> None:
    ada, ben = await world.people("Ada", "Ben [bold]")
    call = await ada.initiate(await ada.converse(ben), ben)
    await ben.decline(call)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "secureconnect", "trace", call["call_id"], "--data-dir", str(server.data_dir)),
        stdout=asyncio.subprocess.PIPE,
        env={"COLUMNS": "200", "PATH": "/usr/bin"},
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0
    assert "Ada rang Ben [bold]; it was declined (declined)." in said
    assert "declined on Ben [bold]'s device after" in said
    assert ben.device_id[-8:] in said
