"""Who sees and reaches whom, at a running server: lists against single objects, removal, blocking, emails."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from tests.fakes.people import Json, Person, Refused, Socket, World, person_in
from tests.fakes.server import ServerProcess
from tests.scenario.conftest import serving

pytestmark = pytest.mark.anyio

OF_A_CALL = ("", "/trace", "/quality", "/recordings", "/ice-servers")


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    async with serving(tmp_path_factory.mktemp("access") / "data") as server:
        yield server


@pytest.fixture
async def world(server: ServerProcess) -> AsyncIterator[World]:
    world = World(server.url)
    yield world
    await world.close()


async def status(person: Person, path: str, method: str = "GET", body: Any = None) -> int:
    try:
        await person.ask(method, path, body)
    except Refused as refusal:
        return refusal.status
    return 200


async def make(owner: Person, *others: Person, **rules: Any) -> str:
    body = {"participant_ids": [other.user_id for other in others], **rules}
    return str((await owner.ask("POST", "/v1/conversations", body))["conversation_id"])


async def add(adder: Person, room: str, *others: Person) -> Json:
    body = {"user_ids": [other.user_id for other in others]}
    made: Json = await adder.ask("POST", f"/v1/conversations/{room}/participants", body)
    return made


async def remove(remover: Person, room: str, person: Person) -> None:
    await remover.ask("DELETE", f"/v1/conversations/{room}/participants/{person.user_id}")


async def block(person: Person, blocked: Person, method: str = "PUT") -> None:
    await person.ask(method, f"/v1/users/me/blocks/{blocked.user_id}")


async def talk(caller: Person, room: str, *callees: Person) -> Json:
    """A call that every callee answers, and that the caller ends."""
    call = await caller.initiate(room, *callees)
    for callee in callees:
        await callee.join(call)
    return await caller.end(call)


async def check_lists(person: Person, calls: list[Json], rooms: list[str], asks_why: Json | None = None) -> set[str]:
    """Compare every list with the single objects, for one person. Returns the calls that the person sees.

    `asks_why`: a call whose trace is shown although the call is not, because the person blocks the caller.
    """
    answers = {
        call["call_id"]: {
            await status(person, f"/v1/calls/{call['call_id']}{part}")
            for part in OF_A_CALL
            if call is not asks_why or part != "/trace"
        }
        for call in calls
    }
    assert all(len(found) == 1 for found in answers.values()), answers
    seen = {call_id for call_id, found in answers.items() if found == {200}}
    listed = {call["call_id"] for call in await person.history()} & answers.keys()
    took_part = {
        call_id
        for call_id in seen
        if any(one["user_id"] == person.user_id for one in (await person.ask("GET", f"/v1/calls/{call_id}"))["participants"])
    }
    assert listed == took_part
    shown = {view["conversation_id"] for view in await person.all("/v1/conversations?limit=100")}
    for room in rooms:
        expected = 200 if room in shown else 404
        assert await status(person, f"/v1/conversations/{room}") == expected
        assert await status(person, f"/v1/messages?conversation_id={room}") == expected
        if room in shown:
            timeline = await person.all(f"/v1/messages?conversation_id={room}&limit=100")
            called = {entry["call"]["call_id"] for entry in timeline if entry["call"]}
            in_room = {call["call_id"] for call in calls if call["conversation_id"] == room}
            assert called == seen & in_room
    return seen


@pytest.mark.parametrize("history", ["all", "since_joining"])
async def test_lists_show_what_single_objects_show_to_every_role(world: World, history: str) -> None:
    ada, ben, eve, new, stranger, dan = await world.people("Ada", "Ben", "Eve", "New", "Stranger", "Dan")
    room = await make(ada, ben, eve, history=history)
    other = await make(ada, ben)
    early = await talk(ada, room, ben, eve)
    await remove(ada, room, eve)
    await add(ada, room, new)
    late = await talk(ada, room, ben, new)
    direct = await talk(ada, other, ben)
    await block(ben, ada)
    withheld = await ada.initiate(other, ben)
    await ada.end(withheld)
    deleted_room = await make(ada, dan)
    deleted = await talk(ada, deleted_room, dan)
    await ada.ask("DELETE", f"/v1/conversations/{deleted_room}")
    calls, rooms = [early, late, direct, withheld, deleted], [room, other, deleted_room]

    async def seen_by(person: Person) -> list[Json]:
        seen = await check_lists(person, calls, rooms, withheld if person is ben else None)
        return [call for call in calls if call["call_id"] in seen]

    assert await seen_by(ada) == [early, late, direct, withheld]
    assert await seen_by(ben) == [early, late, direct]
    assert await seen_by(eve) == []
    assert await seen_by(new) == ([early, late] if history == "all" else [late])
    assert await seen_by(dan) == []
    assert await seen_by(stranger) == []


async def test_a_removed_member_sees_nothing_of_what_follows(world: World) -> None:
    ada, ben, eve = await world.people("Ada", "Ben", "Eve")
    room = await make(ada, ben, eve)
    call = await ada.initiate(room, ben, eve)
    await eve.join(call)
    inbox = await eve.events()
    await remove(ada, room, eve)
    await ben.join(call)
    assert await eve.history() == []
    assert await status(eve, f"/v1/calls/{call['call_id']}") == 404
    assert await status(eve, f"/v1/calls/{call['call_id']}/join", "POST", {}) == 404
    gone = await inbox.expect("conversation.updated", conversation=None)
    marker = await make(eve, ada)
    await inbox.expect("conversation.updated", conversation_id=marker)
    after = inbox.frames[inbox.frames.index(gone) :]
    assert [frame for frame in after if frame.get("call", {}).get("call_id") == call["call_id"]] == []


async def test_a_new_member_joins_a_running_call_and_keeps_seeing_it(world: World) -> None:
    ada, ben, new = await world.people("Ada", "Ben", "New")
    room = await make(ada, ben)
    call = await ada.initiate(room, ben)
    await ben.join(call)
    await add(ada, room, new)
    view = await new.ask("GET", f"/v1/conversations/{room}")
    assert view["live_call"]["call_id"] == call["call_id"]
    await new.join(call)
    await ada.end(call)
    assert [one["call_id"] for one in await new.history()] == [call["call_id"]]
    assert await check_lists(ada, [call], [room]) == {call["call_id"]}


@pytest.mark.parametrize("group", [False, True], ids=["two", "group"])
async def test_a_ring_of_a_blocked_person_looks_like_one_that_no_device_gets(world: World, group: bool) -> None:
    # Of the same length, so that views have the same size.
    ada, ben, may, sue = await world.people("Ada", "Ben", "May", "Sue")
    await block(ben, ada)
    inbox = await ben.events()
    seen = []
    for callee in (ben, may):
        room = await make(callee, ada, sue) if group else await make(callee, ada)
        caller_inbox = await ada.events()
        body = {"conversation_id": room, "callee_ids": [callee.user_id], "call_type": "audio", "ring_timeout": 5}
        call = await ada.ask("POST", "/v1/calls/initiate", body)
        socket = await ada.signaling(call)
        ended = await caller_inbox.expect("call.ended")
        await socket.closed()
        trace = await ada.ask("GET", f"/v1/calls/{call['call_id']}/trace")
        timeline = await ada.all(f"/v1/messages?conversation_id={room}&limit=9")
        names = {callee.user_id: "callee", room: "room", call["call_id"]: "call", callee.device_id: "device"}
        seen.append(plain([call, ended["call"], kinds(socket), kinds(caller_inbox), trace, timeline], names))
    assert seen[0] == seen[1]
    assert (call["status"], ended["call"]["end_reason"]) == ("ringing", "timeout")

    marker = await make(sue, ben)
    await inbox.expect("conversation.updated", conversation_id=marker)
    assert inbox.heard("call.incoming") == inbox.heard("call.missed") == []
    about = [frame for frame in inbox.frames if frame["type"].startswith("call.")]
    assert group or about == []
    assert not any(one["user_id"] == ben.user_id for frame in about for one in frame["call"]["participants"])
    assert (await ben.history()) == []


async def test_no_device_rings_when_it_connects_meanwhile(world: World) -> None:
    ada, ben, sue = await world.people("Ada", "Ben", "Sue")
    await block(ben, ada)
    for room in (await make(ben, ada), await make(ben, ada, sue)):
        call = await ada.initiate(room, ben)
        inbox = await ben.events()
        marker = await make(sue, ben)
        await inbox.expect("conversation.updated", conversation_id=marker)
        assert inbox.heard("call.incoming") == []
        assert await ben.history(status="ringing") == []
        view = await ben.ask("GET", f"/v1/conversations/{room}")
        live = view["live_call"]
        assert live is None or not any(one["user_id"] == ben.user_id for one in live["participants"])
        await ada.end(call)


async def test_the_trace_tells_the_callee_and_not_the_caller(world: World, server: ServerProcess) -> None:
    ada, ben = await world.people("Ada", "Ben")
    await block(ben, ada)
    call = await ada.initiate(await make(ben, ada), ben)
    await ada.end(call)
    path = f"/v1/calls/{call['call_id']}/trace"
    [told] = (await ben.ask("GET", path))["callees"]
    assert (told["blocked"], told["summary"]) == (True, "Did not ring: the person blocks the one who rang.")
    [hidden] = (await ada.ask("GET", path))["callees"]
    assert not hidden["blocked"]
    assert "block" not in json.dumps(hidden["summary"])


async def test_a_group_call_that_is_silent_for_one_can_be_joined(world: World) -> None:
    ada, ben, sue = await world.people("Ada", "Ben", "Sue")
    room = await make(ada, ben, sue)
    await block(ben, ada)
    call = await ada.initiate(room, ben, sue)
    await sue.join(call)
    assert not any(one["user_id"] == ben.user_id for one in (await ben.look(call))["participants"])
    joined = await ben.join(call)
    assert person_in(joined, ben)["state"] == "joined"
    socket = await ben.signaling(call)
    assert person_in(socket.welcome["call"], ben)["state"] == "joined"
    await ada.end(call)
    assert [one["call_id"] for one in await ben.history()] == [call["call_id"]]


async def test_an_invitation_into_a_call_by_a_blocked_person_does_not_ring(world: World) -> None:
    ada, ben, sue = await world.people("Ada", "Ben", "Sue")
    room = await make(sue, ada, ben)
    await block(ben, ada)
    inbox = await ben.events()
    call = await sue.initiate(room, ada)
    await ada.join(call)
    invited = await ada.invite(call, ben)
    assert person_in(invited, ben)["state"] == "ringing"
    await sue.end(call)
    await inbox.expect("call.ended")
    assert inbox.heard("call.incoming") == inbox.heard("call.cancelled") == inbox.heard("call.missed") == []


async def test_after_unblocking_it_rings_again(world: World) -> None:
    ada, ben = await world.people("Ada", "Ben")
    room = await make(ben, ada)
    await block(ben, ada)
    assert [one["user_id"] for one in await ben.all("/v1/users/me/blocks?limit=10")] == [ada.user_id]
    await block(ben, ada, "DELETE")
    inbox = await ben.events()
    call = await ada.initiate(room, ben)
    await inbox.expect("call.incoming")
    await ada.end(call)


async def test_an_email_is_shown_to_its_owner_alone(world: World, server: ServerProcess) -> None:
    marks = [uuid4().hex for _ in range(2)]
    people = []
    for mark in marks:
        body = {"email": f"{mark}@example.com", "password": "correct horse battery", "display_name": f"Name {mark[:8]}"}
        made = await world.ask("POST", "/v1/auth/register", body, {})
        assert made["user"]["email"] == body["email"]
        people.append(Person(world, made["user"], made["access_token"], str(uuid4())))
    ada, ben = people
    assert (await ada.ask("GET", "/v1/users/me"))["email"] == f"{marks[0]}@example.com"
    inboxes = [await person.events() for person in people]
    room = await make(ada, ben, title="hello")
    call = await ada.initiate(room, ben)
    await ben.join(call)
    sockets = [await person.signaling(call) for person in people]
    await ada.ask("POST", "/v1/messages", {"conversation_id": room, "content": "hello"})
    await ada.end(call)
    await inboxes[0].expect("call.ended")
    [found] = (await ada.ask("GET", f"/v1/users?q={marks[1]}@example.com"))["items"]
    assert found == {"user_id": ben.user_id, "display_name": f"Name {marks[1][:8]}"}
    for part in (marks[1][:8] + "x", marks[1][:20], f"{marks[1]}@", f"{marks[1]}@example.co"):
        assert (await ada.ask("GET", f"/v1/users?q={part}"))["items"] == []
    heard: list[Any] = [socket.frames for socket in (inboxes[0], sockets[0])]
    paths = [f"/v1/calls/{call['call_id']}{part}" for part in ("", "/trace", "/quality")]
    paths += ["/v1/calls", "/v1/conversations", f"/v1/messages?conversation_id={room}", f"/v1/users?q={marks[1][:8]}"]
    heard += [await ada.ask("GET", path) for path in paths]
    assert marks[1] not in json.dumps(heard)
    assert not any(mark in line for mark in marks for line in server.said)


def kinds(socket: Socket) -> list[str]:
    return [frame["type"] for frame in socket.frames]


def plain(value: Any, names: dict[str, str]) -> Any:
    """Without ids, names and times, which differ from call to call."""
    if isinstance(value, dict):
        return {key: plain(inner, names) for key, inner in value.items() if not key.endswith(("_at", "deadline", "_id"))}
    if isinstance(value, list):
        return [plain(inner, names) for inner in value]
    if isinstance(value, str):
        for word in ("Ben", "May"):
            value = value.replace(word, "callee")
        return names.get(value, value)
    return value
