"""Who is not let in, and in what words: before the upgrade, and where nobody may learn what exists."""

from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

import pytest

from tests.fakes.people import Json, Person, Refused, World, mint
from tests.scenario.conftest import on_one_and_on_many

pytestmark = [pytest.mark.anyio, on_one_and_on_many]

SIGNALING = "/v1/calls/ws/signaling"
EVENTS = "/v1/ws/events"


async def ringing(world: World) -> tuple[Json, Person, Person]:
    ada, ben = await world.people("Ada", "Ben")
    return await ada.initiate(await ada.converse(ben), ben), ada, ben


async def refusal(world: World, path: str, query: Json, headers: dict[str, str], **handshake: Any) -> tuple[int, str]:
    with pytest.raises(Refused) as refused:
        await world.socket(path, query, headers, **handshake)
    return refused.value.status, refused.value.code


@pytest.mark.parametrize("path", [SIGNALING, EVENTS])
async def test_a_socket_needs_a_good_token(world: World, path: str) -> None:
    call, ada, _ = await ringing(world)
    query = {"call_id": call["call_id"]} if path == SIGNALING else {}
    for authorization in [
        "",
        "Bearer",
        "Bearer nonsense",
        f"Basic {ada.token}",
        f"Bearer {mint(ada.user_id, 'Ada', secret='another secret that is long enough ..')}",
        f"Bearer {mint(ada.user_id, 'Ada', audience='somebody else')}",
    ]:
        assert await refusal(world, path, query, {"authorization": authorization}) == (401, "unauthenticated")
    old = {"authorization": f"Bearer {mint(ada.user_id, 'Ada', seconds=-60)}"}
    assert await refusal(world, path, query, old) == (401, "token_expired")
    good = {"authorization": f"Bearer {ada.token}"}
    for name in ("token", "access_token", "Authorization"):
        assert await refusal(world, path, {**query, name: ada.token}, {}) == (400, "token_in_query")
        assert await refusal(world, path, {**query, name: ada.token}, good) == (400, "token_in_query")


async def test_a_browser_sends_its_token_as_a_subprotocol(world: World) -> None:
    call, ada, _ = await ringing(world)
    protocols = ["secureconnect.v1", f"bearer.{ada.token}"]
    socket = await world.socket(SIGNALING, {"call_id": call["call_id"]}, {}, subprotocols=protocols)
    assert socket.connection.subprotocol == "secureconnect.v1", "the token is not repeated in the answer"
    assert socket.welcome["user_id"] == ada.user_id


async def test_other_origins_are_kept_out(world: World) -> None:
    call, ada, _ = await ringing(world)
    query, headers = {"call_id": call["call_id"]}, {"authorization": f"Bearer {ada.token}"}
    for origin in ("https://evil.example", "null", f"{world.url}.evil.example"):
        assert await refusal(world, SIGNALING, query, headers, origin=origin) == (403, "origin_not_allowed")
        assert await refusal(world, EVENTS, {}, headers, origin=origin) == (403, "origin_not_allowed")
    assert (await world.socket(SIGNALING, query, headers, origin=world.url)).welcome["type"] == "welcome"


async def test_parameters_must_be_what_they_should(world: World) -> None:
    call, ada, _ = await ringing(world)
    headers = {"authorization": f"Bearer {ada.token}"}
    for query in [
        {},
        {"call_id": "1"},
        {"call_id": call["call_id"], "device_id": "phone"},
        {"call_id": call["call_id"], "seq": "-1"},
        {"call_id": call["call_id"], "seq": "9" * 17},
    ]:
        assert await refusal(world, SIGNALING, query, headers) == (400, "malformed")
    assert await refusal(world, EVENTS, {"cursor": "x"}, headers) == (400, "malformed")
    assert await refusal(world, "/v1/ws/nowhere", {}, headers) == (404, "not_found")


async def test_a_resume_token_opens_only_its_own_session(world: World) -> None:
    """Neither somebody else's token nor one that was tampered with takes over a session; a new one begins."""
    call, ada, ben = await ringing(world)
    await ben.join(call)
    at_ada = await ada.signaling(call)
    for token in (at_ada.welcome["resume"], "AAAA", "ä", "=" * 44):
        at_ben = await ben.signaling(call, resume=token, seq=at_ada.seq)
        assert at_ben.welcome["resumed"] is False
        assert at_ben.welcome["session_id"] != at_ada.welcome["session_id"]
        assert at_ben.welcome["user_id"] == ben.user_id
    await at_ben.say("reaction", emoji="mine")
    await at_ada.expect("reaction", emoji="mine")


async def test_only_those_who_joined_get_a_socket(world: World) -> None:
    call, ada, ben = await ringing(world)
    with pytest.raises(Refused) as early:
        await ben.signaling(call)
    assert (early.value.status, early.value.code) == (409, "not_joined")
    await ada.end(call)
    with pytest.raises(Refused) as late:
        await ada.signaling(call)
    assert (late.value.status, late.value.code) == (409, "call_ended")


async def told(asking: Coroutine[Any, Any, object]) -> Json:
    """What a 404 says, but for the id of the request."""
    with pytest.raises(Refused) as refused:
        await asking
    assert refused.value.status == 404
    return {name: value for name, value in refused.value.problem.items() if name != "request_id"}


async def test_a_stranger_cannot_tell_what_exists(world: World) -> None:
    """Not a member and not existing are the same answer, to the last word."""
    call, ada, _ = await ringing(world)
    stranger = await world.person("Eve")
    nothing = {"call_id": str(uuid4())}

    asks: list[Callable[[Json], Coroutine[Any, Any, object]]] = [
        stranger.look,
        stranger.signaling,
        stranger.join,
        stranger.decline,
        stranger.leave,
        stranger.end,
        lambda at: stranger.invite(at, stranger),
        lambda at: stranger.ask("GET", f"/v1/calls/{at['call_id']}/ice-servers"),
    ]
    for ask in asks:
        assert await told(ask(call)) == await told(ask(nothing))
    elsewhere = stranger.initiate(call["conversation_id"], ada), stranger.initiate(str(uuid4()), ada)
    assert await told(elsewhere[0]) == await told(elsewhere[1])
    assert await stranger.history() == []


async def test_whom_one_cannot_ring(world: World) -> None:
    ada, ben, eve = await world.people("Ada", "Ben", "Eve")
    conversation_id = await ada.converse(ben)
    for callees, code in [((eve,), "not_a_member"), ((ada,), "callee_is_caller"), ((ben, ben), "duplicate_callee")]:
        with pytest.raises(Refused) as refused:
            await ada.initiate(conversation_id, *callees)
        assert (refused.value.status, refused.value.code) == (422, code)
    for choice in ({"ring_timeout": 4}, {"ring_timeout": 181}, {"call_type": "smoke"}, {"if_busy": "shout"}, {"device_id": 7}):
        with pytest.raises(Refused) as refused:
            await ada.initiate(conversation_id, ben, **choice)
        assert (refused.value.status, refused.value.code) == (400, "malformed")
    assert await ada.history() == await ada.timeline(conversation_id) == [], "a refused call leaves no trace"


async def test_where_no_application_is_told_there_is_nothing_to_read(world: World) -> None:
    token = mint("application", "", audience="secureconnect/webhooks")
    with pytest.raises(Refused) as refused:
        await world.ask("GET", "/v1/webhooks/events", None, {"authorization": f"Bearer {token}"})
    assert (refused.value.status, refused.value.code) == (404, "not_found")
