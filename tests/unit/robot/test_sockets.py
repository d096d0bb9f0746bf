"""The sockets against a scripted server on loopback that cuts, refuses and resumes as the protocol allows."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from secureconnect.ids import CallId
from secureconnect.robot.client import Client, http_client
from secureconnect.robot.problems import ProblemError
from secureconnect.robot.sockets import EventsSocket, SignalingSocket
from secureconnect.robot.wire import CallChanged, EventsWelcome, MessageCreated, Reconnect, Welcome
from tests.unit.robot.conftest import FakeClock
from tests.unit.robot.test_wire import CALL, SESSION

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]

Act = Callable[[ServerConnection, dict[str, str]], Awaitable[None]]
Refusal = tuple[int, str]


class Script:
    """What the server does with each connection in turn: a coroutine that acts, or a refusal (status, code)."""

    def __init__(self, *acts: Act | Refusal) -> None:
        self._acts = list(acts)
        self._now: Act | None = None
        self.queries: list[dict[str, str]] = []
        self.paths: list[str] = []

    def refuse(self, connection: ServerConnection, request: Request) -> Response | None:
        address = urlsplit(request.path)
        self.paths.append(address.path)
        self.queries.append(dict(parse_qsl(address.query)))
        assert request.headers["Authorization"] == "Bearer t1"
        act = self._acts.pop(0)
        if isinstance(act, tuple):
            status, code = act
            return connection.respond(HTTPStatus(status), json.dumps({"status": status, "code": code, "detail": "no"}))
        self._now = act
        return None

    async def handle(self, connection: ServerConnection) -> None:
        assert self._now is not None
        await self._now(connection, self.queries[-1])


@asynccontextmanager
async def a_server(script: Script, clock: FakeClock) -> AsyncIterator[Client]:
    async with (
        serve(script.handle, "127.0.0.1", 0, process_request=script.refuse, close_timeout=1) as server,
        http_client() as http,
    ):
        host, port = server.sockets[0].getsockname()[:2]
        client = Client(f"http://{host}:{port}", http, clock=clock)
        client.use_token("t1")
        yield client


def signaling(client: Client, clock: FakeClock) -> SignalingSocket:
    return SignalingSocket(client, CallId(UUID(SESSION)), clock=clock, random=lambda: 0.5)


def events(client: Client, clock: FakeClock) -> EventsSocket:
    return EventsSocket(client, clock=clock, random=lambda: 0.5)


def welcome(*, resumed: bool = False, seq: int = 10) -> str:
    frame: dict[str, Any] = {"type": "welcome", "session_id": SESSION, "user_id": SESSION, "resume": "token", "resumed": resumed}
    return json.dumps(frame | {"seq": seq} | ({} if resumed else {"call": CALL, "media": {}, "topology": "p2p"}))


def call_changed(seq: int, version: int) -> str:
    return json.dumps({"type": "call", "seq": seq, "call": CALL | {"version": version}})


async def test_a_lost_socket_resumes_after_the_last_frame_seen(clock: FakeClock) -> None:
    async def first(connection: ServerConnection, _: dict[str, str]) -> None:
        await connection.send(welcome())
        await connection.send(call_changed(12, 2))
        await connection.close(1012)

    async def second(connection: ServerConnection, _: dict[str, str]) -> None:
        await connection.send(welcome(resumed=True, seq=30))
        await connection.send(call_changed(15, 3))
        await connection.close(1000)

    script = Script(first, second)
    async with a_server(script, clock) as client:
        socket = signaling(client, clock)
        got = [signal async for signal in socket]
    assert [type(signal) for signal in got] == [Welcome, CallChanged, Welcome, CallChanged]
    again = {"call_id": SESSION, "attempt": "2", "resume": "token", "seq": "12"}
    assert script.queries == [{"call_id": SESSION, "attempt": "1"}, again]
    assert socket.seq == 15
    assert socket.snapshot is not None
    assert socket.snapshot.call.version == 3
    assert clock.slept == [0.125]


async def test_what_was_not_confirmed_is_said_again(clock: FakeClock) -> None:
    said: list[list[dict[str, Any]]] = [[], []]

    async def first(connection: ServerConnection, _: dict[str, str]) -> None:
        await connection.send(welcome())
        for _n in range(2):
            said[0].append(json.loads(await connection.recv()))
        await connection.send(json.dumps({"type": "ack", "ref": said[0][0]["ref"], "seq": 11}))
        await connection.close(1013)

    async def second(connection: ServerConnection, _: dict[str, str]) -> None:
        await connection.send(welcome(resumed=True))
        for _n in range(2):
            said[1].append(json.loads(await connection.recv()))
        await connection.close(1000)

    async with a_server(Script(first, second), clock) as client:
        socket = signaling(client, clock)
        await anext(socket)
        await socket.send("offer", sdp="one", connection_id=None)
        await socket.send("offer", sdp="two")
        await anext(socket)  # The ack.
        await anext(socket)  # The second welcome.
        await socket.send("reaction", emoji="🎉")
        assert [signal async for signal in socket] == []
    assert [frame.get("sdp") for frame in said[0]] == ["one", "two"]
    assert "connection_id" not in said[0][0]
    assert said[1][0] == said[0][1]
    assert said[1][1]["type"] == "reaction"


async def test_a_new_session_forgets_the_old_one(clock: FakeClock) -> None:
    heard: list[dict[str, Any]] = []

    async def first(connection: ServerConnection, _: dict[str, str]) -> None:
        await connection.send(welcome())
        await connection.recv()
        await connection.close(1012)

    async def second(connection: ServerConnection, _: dict[str, str]) -> None:
        await connection.send(welcome(seq=90))
        heard.append(json.loads(await connection.recv()))
        await connection.close(1000)

    async with a_server(Script(first, second), clock) as client:
        socket = signaling(client, clock)
        await anext(socket)
        await socket.send("offer", sdp="to nobody any more")
        await anext(socket)
        await socket.send("offer", sdp="new")
        assert [signal async for signal in socket] == []
    assert [frame["sdp"] for frame in heard] == ["new"]
    assert socket.seq == 90


async def test_a_node_that_goes_away_says_when_to_come_back(clock: FakeClock) -> None:
    async def first(connection: ServerConnection, _: dict[str, str]) -> None:
        await connection.send(welcome())
        await connection.send('{"type":"reconnect","after_ms":1500}')
        await connection.wait_closed()

    async def second(connection: ServerConnection, _: dict[str, str]) -> None:
        await connection.send(welcome(resumed=True))
        await connection.close(1000)

    script = Script(first, second)
    async with a_server(script, clock) as client:
        got = [type(signal) async for signal in signaling(client, clock)]
    assert got == [Welcome, Reconnect, Welcome]
    assert clock.slept == [1.5]
    assert script.queries[1]["resume"] == "token"


async def test_the_events_socket_obeys_it_too_and_resumes_at_its_cursor(clock: FakeClock) -> None:
    async def first(connection: ServerConnection, _: dict[str, str]) -> None:
        await connection.send(json.dumps({"type": "welcome", "cursor": "7", "resumed": False, "user_id": SESSION}))
        await connection.send('{"type":"reconnect","after_ms":1500}')
        await connection.wait_closed()

    async def second(connection: ServerConnection, _: dict[str, str]) -> None:
        await connection.send(json.dumps({"type": "welcome", "cursor": "7", "resumed": True, "user_id": SESSION}))
        await connection.wait_closed()

    script = Script(first, second)
    async with a_server(script, clock) as client:
        socket = events(client, clock)
        got = [await anext(socket) for _ in range(2)]
        await socket.close()
    assert [notice.resumed for notice in got if isinstance(notice, EventsWelcome)] == [False, True]
    assert clock.slept == [1.5]
    assert script.queries == [{}, {"cursor": "7"}]


async def test_a_full_server_is_tried_again_and_a_refusal_for_good_is_raised(clock: FakeClock) -> None:
    script = Script((503, "draining"), (503, "at_capacity"), (409, "call_ended"))
    async with a_server(script, clock) as client:
        with pytest.raises(ProblemError, match="call_ended"):
            await anext(signaling(client, clock))
    assert clock.slept == [0.125, 0.25]


async def test_leaving_ends_the_iteration(clock: FakeClock) -> None:
    async def only(connection: ServerConnection, _: dict[str, str]) -> None:
        await connection.send(welcome())
        frame = json.loads(await connection.recv())
        assert frame["type"] == "leave"
        await connection.send(json.dumps({"type": "ack", "ref": frame["ref"], "seq": 11}))
        await connection.close(1000)

    async with a_server(Script(only), clock) as client:
        socket = signaling(client, clock)
        await anext(socket)
        reading = asyncio.create_task(_drain(socket))
        await socket.leave()
        await reading


async def _drain(socket: SignalingSocket) -> None:
    async for _ in socket:
        pass


async def test_events_resume_at_the_cursor_whatever_closed_the_socket(clock: FakeClock) -> None:
    message = {"message_id": SESSION, "conversation_id": SESSION, "sender_id": SESSION, "kind": "text", "content": "hi"}

    async def first(connection: ServerConnection, _: dict[str, str]) -> None:
        await connection.send(json.dumps({"type": "welcome", "cursor": "1-0", "resumed": False, "user_id": SESSION}))
        await connection.send('{"type":"weather.changed","cursor":"2-0"}')
        await connection.send(json.dumps({"type": "message.created", "cursor": "3-0", "message": message}))
        await connection.close(1000)

    async def second(connection: ServerConnection, _: dict[str, str]) -> None:
        await connection.send(json.dumps({"type": "welcome", "cursor": "3-0", "resumed": True, "user_id": SESSION}))
        await connection.wait_closed()

    script = Script(first, second)
    async with a_server(script, clock) as client:
        socket = events(client, clock)
        got = [await anext(socket) for _ in range(3)]
        await socket.close()
        with pytest.raises(StopAsyncIteration):
            await anext(socket)
    assert [type(notice) for notice in got] == [EventsWelcome, MessageCreated, EventsWelcome]
    assert script.queries == [{}, {"cursor": "3-0"}]
    assert script.paths == ["/v1/ws/events"] * 2
