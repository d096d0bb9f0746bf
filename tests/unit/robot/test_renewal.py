"""A robot shows the server a newer token while there is time, and goes on when the server lets it go for its token."""

import asyncio
import json
from typing import Any, cast

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosedOK

from secureconnect.robot.client import Client
from secureconnect.robot.problems import UnreachableError
from secureconnect.robot.renewal import TokenRenewal
from tests.fakes.clock import ManualClock

pytestmark = pytest.mark.anyio


class Connection:
    """Takes frames until it is closed."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.closed = asyncio.Event()

    async def send(self, frame: str) -> None:
        if self.closed.is_set():
            raise ConnectionClosedOK(None, None)
        self.sent.put_nowait(json.loads(frame))


class Tokens:
    """A client that hands out tokens, or cannot reach its server."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.is_away = False

    async def access_token(self, at_least: float) -> str:
        self.asked.append(at_least)
        if self.is_away:
            raise UnreachableError("away")
        return f"token {len(self.asked)}"


def renewal(tokens: Tokens, clock: ManualClock) -> TokenRenewal:
    return TokenRenewal(cast(Client, tokens), clock)


async def asleep(clock: ManualClock) -> None:
    async with asyncio.timeout(20):
        while not clock.sleeping:  # noqa: ASYNC110  (the clock has no event for it)
            await asyncio.sleep(0)


async def test_it_is_renewed_after_seventy_percent_and_again_without_an_answer() -> None:
    clock, tokens, connection = ManualClock(), Tokens(), Connection()
    renewal(tokens, clock).plan(cast(ClientConnection, connection), 900)
    await asleep(clock)
    clock.advance(629)
    await asyncio.sleep(0)
    assert connection.sent.empty()
    clock.advance(1.1)
    assert await connection.sent.get() == {"type": "auth", "token": "token 1", "ref": "auth"}
    assert tokens.asked[0] == pytest.approx(271), "longer than what is left"
    await asleep(clock)
    clock.advance(270 * 0.7)
    assert (await connection.sent.get())["token"] == "token 2"


async def test_it_is_tried_again_when_no_token_is_to_be_had() -> None:
    clock, tokens, connection = ManualClock(), Tokens(), Connection()
    tokens.is_away = True
    renewal(tokens, clock).plan(cast(ClientConnection, connection), 30)
    await asleep(clock)
    clock.advance(21.1)
    await asleep(clock)
    tokens.is_away = False
    clock.advance(6.4)
    assert (await connection.sent.get())["token"] == "token 2"


async def test_an_old_server_is_sent_nothing() -> None:
    clock, tokens, connection = ManualClock(), Tokens(), Connection()
    renewal(tokens, clock).plan(cast(ClientConnection, connection), None)
    await asyncio.sleep(0)
    assert clock.sleeping == 0


async def test_a_new_plan_replaces_the_old_one() -> None:
    clock, tokens, connection = ManualClock(), Tokens(), Connection()
    planned = renewal(tokens, clock)
    planned.plan(cast(ClientConnection, connection), 30)
    await asleep(clock)
    planned.plan(cast(ClientConnection, connection), 3000)
    await asyncio.sleep(0)
    await asleep(clock)
    clock.advance(1000)
    await asyncio.sleep(0)
    assert tokens.asked == []
    planned.stop()
