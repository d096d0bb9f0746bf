"""Two devices of one person answer at the same instant, a thousand times: one of them has the call, and both know which."""

import asyncio

import pytest

from tests.fakes.people import Json, Person, Refused, Socket, World

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

RACES = 1_000
AT_ONCE = 8


async def answer(device: Person, call: Json) -> str:
    """What came of answering at this device."""
    try:
        await device.join(call)
    except Refused as refused:
        return f"{refused.status} {refused.code}"
    return "answered"


async def race(caller: Person, devices: list[Person], inboxes: list[Socket], conversation_id: str, first: int) -> None:
    call = await caller.initiate(conversation_id, devices[0])
    # Who is written to the network first changes from race to race; which of them the server reads first is chance.
    order = [first, 1 - first]
    outcomes = dict(zip(order, await asyncio.gather(*(answer(devices[one], call) for one in order)), strict=True))
    assert sorted(outcomes.values()) == ["409 answered_elsewhere", "answered"]
    winner = next(one for one, outcome in outcomes.items() if outcome == "answered")
    over = await caller.end(call)
    assert (over["status"], over["end_reason"]) == ("ended", "completed")
    # The end is the last word about this call at every device: what a device did not hear before, it was not told.
    for one, inbox in enumerate(inboxes):
        await inbox.expect("call.ended", call_id=call["call_id"])
        told = inbox.heard("call.answered_elsewhere", call_id=call["call_id"])
        assert [event["device_id"] for event in told] == ([] if one == winner else [devices[winner].device_id])
        inbox.frames.clear()


async def races(world: World, number: int) -> None:
    caller, phone = await world.people(f"Caller {number}", f"Callee {number}")
    laptop = await world.bearer(phone.token)
    conversation_id = await caller.converse(phone)
    inboxes = [await phone.events(), await laptop.events()]
    for turn in range(RACES // AT_ONCE):
        await race(caller, [phone, laptop], inboxes, conversation_id, turn % 2)


async def test_exactly_one_of_two_devices_answers(world: World) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(AT_ONCE):
            group.create_task(races(world, number))
