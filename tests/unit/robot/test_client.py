"""The HTTP client against a handler function that plays the server."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx2
import msgspec
import pytest

from secureconnect.ids import CallId, DeviceId
from secureconnect.robot.client import Client
from secureconnect.robot.problems import ProblemError, UnreachableError
from tests.unit.robot.conftest import FakeClock
from tests.unit.robot.test_wire import CALL, SESSION

pytestmark = pytest.mark.anyio

Answer = tuple[int, Any]
DEVICE = DeviceId(UUID(SESSION))


class Server:
    """Answers by a table of `METHOD path`; keeps what was asked. An answer is taken from a list, the last one stays."""

    def __init__(self, **routes: list[Answer]) -> None:
        self.routes = routes
        self.asked: list[tuple[str, Any, str | None]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        name = request.url.path.removeprefix("/v1/").replace("/", "_").replace(f"calls_{SESSION}", "call")
        body = msgspec.json.decode(request.content) if request.content else None
        self.asked.append((name, body, request.headers.get("Authorization")))
        answers = self.routes[name]
        status, content = answers.pop(0) if len(answers) > 1 else answers[0]
        headers = {"Retry-After": "2"} if status in {429, 503} else {}
        return httpx2.Response(status, content=msgspec.json.encode(content), headers=headers)


def signed_in(token: str, refresh: str = "r1") -> Answer:
    user = {"user_id": SESSION, "email": "ada@example.com", "display_name": "Ada"}
    return 200, {"user": user, "access_token": token, "refresh_token": refresh, "token_type": "Bearer", "expires_in": 900}


def refused(status: int, code: str) -> Answer:
    return status, {"status": status, "code": code, "detail": f"no: {code}"}


@pytest.fixture
def make(clock: FakeClock) -> Callable[[Server], Client]:
    def make(server: Server) -> Client:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(server))
        return Client("http://server.test/", http, clock=clock, device_id=DEVICE)

    return make


Make = Callable[[Server], Client]


async def test_requests_carry_the_token_and_the_device(make: Make) -> None:
    server = Server(auth_login=[signed_in("t1")], call_join=[(200, CALL)])
    client = make(server)
    user = await client.login("ada@example.com", "secret")
    call = await client.join(CallId(user.user_id))
    assert call.participants[0].display_name == "Ada"
    assert server.asked[1] == ("call_join", {"device_id": SESSION}, "Bearer t1")


async def test_a_refusal_is_an_error_with_its_code(make: Make) -> None:
    client = make(Server(auth_login=[refused(401, "wrong_credentials")]))
    with pytest.raises(ProblemError) as caught:
        await client.login("ada@example.com", "wrong")
    assert (caught.value.status, caught.value.code, caught.value.detail) == (401, "wrong_credentials", "no: wrong_credentials")


async def test_a_token_is_renewed_before_it_ends(make: Make, clock: FakeClock) -> None:
    server = Server(auth_login=[signed_in("t1")], auth_refresh=[signed_in("t2", "r2"), signed_in("t3", "r3")])
    client = make(server)
    await client.login("ada@example.com", "secret")
    assert await client.access_token() == "t1"
    clock.elapsed = 850
    assert [await client.access_token(), await client.access_token()] == ["t2", "t2"]
    clock.elapsed = 1700
    assert await client.access_token() == "t3"
    assert [body for name, body, _ in server.asked if name == "auth_refresh"] == [
        {"refresh_token": "r1"},
        {"refresh_token": "r2"},
    ]


async def test_when_the_server_forgot_the_sign_in_the_password_helps(make: Make, clock: FakeClock) -> None:
    server = Server(auth_login=[signed_in("t1"), signed_in("t2")], auth_refresh=[refused(401, "unauthenticated")])
    client = make(server)
    await client.login("ada@example.com", "secret")
    clock.elapsed = 1000
    assert await client.access_token() == "t2"


async def test_a_token_that_ended_early_is_replaced_and_the_request_repeated(make: Make) -> None:
    server = Server(
        auth_login=[signed_in("t1")], auth_refresh=[signed_in("t2")], call_leave=[refused(401, "token_expired"), (200, CALL)]
    )
    client = make(server)
    user = await client.login("ada@example.com", "secret")
    await client.leave(CallId(user.user_id))
    assert [token for name, _, token in server.asked if name == "call_leave"] == ["Bearer t1", "Bearer t2"]


async def test_a_refusal_that_passes_is_waited_out(make: Make, clock: FakeClock) -> None:
    client = make(Server(auth_login=[refused(503, "unavailable"), signed_in("t1")]))
    await client.login("ada@example.com", "secret")
    assert clock.slept == [2.0]


async def test_a_refusal_that_stays_is_raised_in_the_end(make: Make, clock: FakeClock) -> None:
    client = make(Server(auth_login=[refused(429, "rate_limited")]))
    with pytest.raises(ProblemError, match="rate_limited"):
        await client.login("ada@example.com", "secret")
    assert clock.slept == [2.0, 2.0, 2.0]


async def test_no_server_is_said_in_words(clock: FakeClock) -> None:
    def down(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("connection refused", request=request)

    client = Client("http://server.test", httpx2.AsyncClient(transport=httpx2.MockTransport(down)), clock=clock)
    with pytest.raises(UnreachableError, match=r"no answer from http://server\.test: connection refused"):
        await client.login("ada@example.com", "secret")


async def test_a_token_made_elsewhere_cannot_be_renewed(make: Make) -> None:
    client = make(Server(call_leave=[refused(401, "token_expired")]))
    client.use_token("t0")
    with pytest.raises(ProblemError, match="token_expired"):
        await client.leave(CallId(DEVICE))


async def test_lists_are_read_to_their_end(make: Make) -> None:
    one = {"conversation_id": SESSION, "participants": [], "title": "a"}
    pages = [(200, {"items": [one], "next_cursor": "n"}), (200, {"items": [one | {"title": "b"}], "next_cursor": None})]
    server = Server(auth_login=[signed_in("t1")], conversations=pages)
    client = make(server)
    await client.login("ada@example.com", "secret")
    assert [conversation.title for conversation in await client.conversations()] == ["a", "b"]
