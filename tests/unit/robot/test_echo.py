"""Echo against a scripted server: what it answers, what it repeats, and what it does not let disturb it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from websockets.asyncio.server import ServerConnection, serve

from secureconnect.robot.client import Client
from secureconnect.robot.echo import ANSWER_SECONDS, Echo
from tests.unit.robot.conftest import FakeClock
from tests.unit.robot.test_client import Server, refused
from tests.unit.robot.test_sockets import Act, Script
from tests.unit.robot.test_wire import CALL, SESSION

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]

ADA, ECHO = "01938f6e-0000-7000-8000-0000000000aa", SESSION
GREETING = {"type": "welcome", "cursor": "1-0", "resumed": False, "user_id": ECHO}
NOBODY: dict[str, Any] = {"items": [], "next_cursor": None}


def person(user_id: str, state: str) -> dict[str, Any]:
    return {"user_id": user_id, "display_name": "somebody", "state": state, "sessions": []}


def a_call(version: int, ada: str, echo: str = "joined", status: str = "active") -> dict[str, Any]:
    return CALL | {"version": version, "status": status, "participants": [person(ADA, ada), person(ECHO, echo)]}


def message(content: str, sender_id: str = ADA, kind: str = "text") -> str:
    written = {"message_id": SESSION, "conversation_id": SESSION, "sender_id": sender_id, "kind": kind, "content": content}
    return json.dumps({"type": "message.created", "cursor": "2-0", "message": written})


def events(*frames: str) -> Act:
    """An events socket that greets, says `frames`, and stays."""

    async def act(connection: ServerConnection, _: dict[str, str]) -> None:
        for frame in (json.dumps(GREETING), *frames):
            await connection.send(frame)
        await connection.wait_closed()

    return act


@asynccontextmanager
async def an_echo(server: Server, script: Script, clock: FakeClock) -> AsyncIterator[Echo]:
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(server))
    async with serve(script.handle, "127.0.0.1", 0, process_request=script.refuse, close_timeout=1) as listening:
        host, port = listening.sockets[0].getsockname()[:2]
        client = Client(f"http://{host}:{port}", http, clock=clock)
        client.use_token("t1")
        echo = Echo(client, "Echo", clock=clock, random=lambda: 0.5)
        running = asyncio.create_task(echo.run())
        try:
            yield echo
        finally:
            running.cancel()
            await asyncio.wait([running])


async def until(met: Callable[[], bool]) -> None:
    while not met():  # noqa: ASYNC110 - the test's own timeout is the deadline
        await asyncio.sleep(0.01)


def written(server: Server) -> list[str]:
    return [body["content"] for name, body, _ in server.asked if name == "messages"]


async def test_what_people_write_is_repeated_once(clock: FakeClock) -> None:
    answer = json.loads(message("x"))["message"]
    server = Server(conversations=[(200, NOBODY)], messages=[(201, answer)])
    script = Script(
        events(message("mine", sender_id=ECHO), message("You said: loop"), message("a call", kind="call"), message("hello"))
    )
    async with an_echo(server, script, clock):
        await until(lambda: bool(written(server)))
    assert written(server) == ["You said: hello"]


async def test_a_call_is_answered_after_it_rang_and_left_when_alone(clock: FakeClock) -> None:
    left = asyncio.Event()
    incoming = json.dumps({"type": "call.incoming", "cursor": "2-0", "call": a_call(1, "joined", "ringing", "ringing")})

    async def signaling(connection: ServerConnection, _: dict[str, str]) -> None:
        welcome = {"type": "welcome", "session_id": SESSION, "user_id": ECHO, "resume": "r", "resumed": False, "seq": 1}
        await connection.send(json.dumps(welcome | {"call": a_call(2, "joined")}))
        await connection.send(json.dumps({"type": "call", "seq": 2, "call": a_call(3, "reconnecting")}))
        await connection.send(json.dumps({"type": "call", "seq": 3, "call": a_call(4, "left")}))
        if json.loads(await connection.recv())["type"] == "leave":
            left.set()
        await connection.close(1000)

    server = Server(conversations=[(200, NOBODY)], call_join=[(200, a_call(2, "joined"))])
    async with an_echo(server, Script(events(incoming), signaling), clock) as echo:
        await left.wait()
        await until(lambda: not echo.calls)
    assert ANSWER_SECONDS in clock.slept


async def test_a_call_that_ended_while_it_rang_disturbs_nothing(clock: FakeClock) -> None:
    incoming = json.dumps({"type": "call.incoming", "cursor": "2-0", "call": a_call(1, "joined", "ringing", "ringing")})
    answer = json.loads(message("x"))["message"]
    server = Server(conversations=[(200, NOBODY)], call_join=[refused(409, "call_ended")], messages=[(201, answer)])
    joined = {"call_join", "messages"}
    async with an_echo(server, Script(events(incoming, message("still there?"))), clock) as echo:
        await until(lambda: joined <= {name for name, _, _ in server.asked} and not echo.calls)
    assert written(server) == ["You said: still there?"]


async def test_after_a_restart_echo_returns_to_its_calls(clock: FakeClock) -> None:
    returned = asyncio.Event()

    async def signaling(connection: ServerConnection, _: dict[str, str]) -> None:
        returned.set()
        await connection.close(1000)

    one = {"conversation_id": SESSION, "participants": [], "live_call": a_call(5, "joined", "reconnecting")}
    other = {"conversation_id": ADA, "participants": [], "live_call": a_call(5, "joined", "declined") | {"call_id": ADA}}
    server = Server(conversations=[(200, NOBODY | {"items": [one, other]})], call_join=[(200, a_call(6, "joined"))])
    async with an_echo(server, Script(events(), signaling), clock) as echo:
        await returned.wait()
        await until(lambda: not echo.calls)
    assert [name for name, _, _ in server.asked] == ["conversations", "call_join"]
