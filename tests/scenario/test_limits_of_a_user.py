"""What one user may hold at a server: sockets, sessions, calls, conversations, receipts. Others are served meanwhile."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from tests.fakes.people import Person, Refused, World, person_in
from tests.fakes.server import ServerProcess
from tests.scenario.conftest import serving

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    small = {"SOCKETS_PER_USER": "4", "CALLS_PER_USER": "2", "CONVERSATIONS_PER_USER": "3"}
    async with serving(tmp_path_factory.mktemp("data"), **small) as server:
        yield server


async def test_the_oldest_events_socket_closes_for_one_more_and_that_of_a_call_stays(world: World) -> None:
    _, (ada, ben), (at_ada, _) = await world.call_of("Ada", "Ben")
    inboxes = [await ada.events() for _ in range(3)]
    of_ben = await ben.events()
    newest = await ada.events()
    assert await inboxes[0].closed() == 1008
    await at_ada.tell("raise_hand")
    for number in range(8):
        await ada.on(str(uuid4())).events()
        await at_ada.tell("reaction", emoji=str(number))
    assert await newest.closed() == 1008
    await ben.converse(ada)
    await of_ben.expect("conversation.updated")


async def test_a_third_call_is_refused_to_who_is_in_two_and_not_to_others(world: World) -> None:
    ada, ben, cyn = await world.people("Ada", "Ben", "Cyn")
    conversation_id = await ada.converse(ben, cyn)
    calls = [await ada.initiate(conversation_id, ben) for _ in range(2)]
    with pytest.raises(Refused) as refusal:
        await ada.initiate(conversation_id, ben)
    assert (refusal.value.status, refusal.value.code) == (409, "too_many_calls")
    third = await ben.initiate(conversation_id, ada, cyn)
    with pytest.raises(Refused) as refusal:
        await ada.join(third)
    assert refusal.value.code == "too_many_calls"
    await cyn.join(third)
    await ada.leave(calls[0])
    await ada.join(third)
    await ada.join(third)  # a repeat is no other call


async def test_a_fourth_conversation_is_refused_to_who_owns_three_until_one_is_deleted(world: World) -> None:
    ada, ben = await world.people("Ada", "Ben")
    owned = [await ada.converse(ben) for _ in range(3)]
    with pytest.raises(Refused) as refusal:
        await ada.converse(ben)
    assert (refusal.value.status, refusal.value.code) == (409, "too_many_conversations")
    await ben.converse(ada)  # being a member costs her nothing
    await ada.ask("DELETE", f"/v1/conversations/{owned[0]}")
    await ada.converse(ben)


async def test_sessions_and_devices_of_one_participant_are_few(world: World) -> None:
    call, (ada, ben), (_, at_ben) = await world.call_of("Ada", "Ben")
    for _ in range(3):
        await ada.on(str(uuid4())).join(call, mode="add")
    with pytest.raises(Refused) as refusal:
        await ada.on(str(uuid4())).join(call, mode="add")
    assert refusal.value.code == "too_many_devices"
    nameless = Person(world, ada.user, ada.token, "")
    for _ in range(2):
        await nameless.signaling(call)
    with pytest.raises(Refused) as refusal:
        await nameless.signaling(call)
    assert refusal.value.code == "call_full"
    seen = await ben.look(call)
    # A mesh holds four sessions, and one of them is Ben's.
    assert len(person_in(seen, ada)["sessions"]) == 3
    await at_ben.tell("raise_hand")


async def test_messages_are_counted_for_all_sessions_of_a_user_together(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with serving(tmp_path_factory.mktemp("limited"), RATE_LIMITS="on") as server:
        world = World(server.url)
        try:
            call, (ada, _), (first, _) = await world.call_of("Ada", "Ben")
            tablet = ada.on(str(uuid4()))
            await tablet.join(call, mode="add")
            second = await tablet.signaling(call)
            refused = 0
            for number in range(260):
                socket = (first, second)[number % 2]
                await socket.say("reaction", emoji="x", ref=str(number))
                answer = await socket.until(lambda frame: frame.get("ref") is not None, "an answer")
                refused += answer["type"] == "error"
            # 200 at once and 50 a second, together: alone, neither would have been refused.
            assert refused > 0
        finally:
            await world.close()


async def test_receipts_of_one_ring_are_few_whatever_devices_it_is_said_to_reach(world: World) -> None:
    ada, ben = await world.people("Ada", "Ben")
    call = await ada.initiate(await ada.converse(ben), ben)
    for _ in range(100):
        await ben.ask("POST", f"/v1/calls/{call['call_id']}/shown", {"device_id": str(uuid4())})
    trace = await ada.ask("GET", f"/v1/calls/{call['call_id']}/trace")
    [callee] = [one for one in trace["callees"] if one["user_id"] == ben.user_id]
    assert 10 < len(callee["devices"]) <= 80
