"""What one signed-in user does to fill the memory or to starve the others. Each runs for so many seconds and says what it did."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from uuid import uuid4

import httpx2
from websockets.exceptions import ConnectionClosed

from tests.fakes.people import Person, Refused, World
from tests.fakes.rawsocket import RawSocket


class Arena(NamedTuple):
    """What an attacker has: a world of its own, the port of the node, and the ids of 255 other users."""

    world: World
    port: int
    crowd: Sequence[str]


Attack = Callable[[Arena, float], Coroutine[Any, Any, str]]
PING = b"\x89\xfd" + b"\0\0\0\0" + b"A" * 125
"""A ping of the largest size (RFC 6455, section 5.5), masked with zeros."""
TROUBLE = (
    ConnectionError,
    ConnectionClosed,
    asyncio.IncompleteReadError,
    TimeoutError,
    Refused,
    httpx2.TransportError,
    AssertionError,
)


async def flood_with_pings(arena: Arena, seconds: float) -> str:
    """Pings without end on one socket after another; no pong is read."""
    eve, sent, until = await arena.world.person("Eve"), 0, time.monotonic() + seconds
    while time.monotonic() < until:
        raw: RawSocket | None = None
        with suppress(*TROUBLE):
            raw = await RawSocket.open(arena.port, eve.token, "/v1/ws/events")
            while time.monotonic() < until:
                raw.writer.write(PING * 500)
                sent += 500 * len(PING)
                await asyncio.wait_for(raw.writer.drain(), 1.0)
        if raw is not None:
            raw.close()
        await asyncio.sleep(0.05)
    return f"{sent / 1e6:.0f} MB of pings"


async def open_sockets_without_end(arena: Arena, seconds: float) -> str:
    """As many events sockets as there may be, none of them read."""
    eve, until = await arena.world.person("Eve"), time.monotonic() + seconds
    opened: list[RawSocket] = []
    refused = 0
    while time.monotonic() < until:
        some = await asyncio.gather(
            *(RawSocket.open(arena.port, eve.token, "/v1/ws/events") for _ in range(20)), return_exceptions=True
        )
        opened += [one for one in some if isinstance(one, RawSocket)]
        refused += sum(isinstance(one, BaseException) for one in some)
        await asyncio.sleep(0.1)
        while len(opened) > 2_000:
            opened.pop(0).close()
    for raw in opened:
        raw.close()
    return f"{len(opened)} sockets at the end, {refused} refused"


async def rename_without_end(arena: Arena, seconds: float) -> str:
    """The title of a conversation of 256: every member is told."""
    eve = await arena.world.person("Eve")
    made = await eve.ask("POST", "/v1/conversations", {"participant_ids": arena.crowd, "title": "x"})
    path = f"/v1/conversations/{made['conversation_id']}"
    done = await repeat(seconds, lambda number: eve.ask("PATCH", path, {"title": f"{number}".ljust(199, "é")}))
    return f"{done} renames"


async def create_conversations_without_end(arena: Arena, seconds: float) -> str:
    """Conversations of 256: every member is told."""
    eve = await arena.world.person("Eve")
    done = await repeat(seconds, lambda _: eve.ask("POST", "/v1/conversations", {"participant_ids": arena.crowd}))
    return f"{done} conversations"


async def write_without_end(arena: Arena, seconds: float) -> str:
    """Messages of the largest size to 256 people."""
    eve = await arena.world.person("Eve")
    made = await eve.ask("POST", "/v1/conversations", {"participant_ids": arena.crowd})
    content = "\U0001f44d" * 8000
    done = await repeat(seconds, lambda _: eve.write(made["conversation_id"], content))
    return f"{done} messages"


async def open_sessions_without_end(arena: Arena, seconds: float) -> str:
    """Sessions without a device in one call, each of which sends what it may; nothing is read."""
    eve, friend = await arena.world.people("Eve", "Mallory")
    call = await eve.initiate(await eve.converse(friend), friend)
    await friend.join(call)
    await friend.signaling(call)
    plain = Person(arena.world, eve.user, eve.token, "")
    until, opened, sent = time.monotonic() + seconds, 0, 0
    while time.monotonic() < until:
        with suppress(*TROUBLE):
            socket = await plain.socket("/v1/calls/ws/signaling", call_id=call["call_id"])
            opened += 1
            for _ in range(50):
                await socket.say("quality", report={"padding": "x" * 60_000})
                sent += 1
        await asyncio.sleep(0.02)
    return f"{opened} sessions, {sent} messages of 60 kB"


async def read_nothing(arena: Arena, seconds: float) -> str:
    """Sockets in a call, one after another, that do not read what an accomplice sends them."""
    eve, friend = await arena.world.people("Eve", "Mallory")
    call = await eve.initiate(await eve.converse(friend), friend)
    await friend.join(call)
    talker = await friend.signaling(call)
    until, sent = time.monotonic() + seconds, 0
    deaf: list[RawSocket] = []
    path = f"/v1/calls/ws/signaling?call_id={call['call_id']}"
    while time.monotonic() < until:
        with suppress(*TROUBLE):
            deaf.append(await RawSocket.open(arena.port, eve.token, path))
        with suppress(*TROUBLE):
            await talker.say("quality", report={"padding": "x" * 60_000})
            sent += 1
        await asyncio.sleep(0.02)
        while len(deaf) > 50:
            deaf.pop(0).close()
    for raw in deaf:
        raw.close()
    return f"{sent} messages of 60 kB"


async def join_with_devices_without_end(arena: Arena, seconds: float) -> str:
    """Join one call with new devices: each would be in every snapshot."""
    eve, friend = await arena.world.people("Eve", "Mallory")
    call = await eve.initiate(await eve.converse(friend), friend)
    done = await repeat(seconds, lambda _: eve.on(str(uuid4())).join(call, mode="add"))
    return f"{done} devices"


async def repeat(seconds: float, request: Callable[[int], Coroutine[Any, Any, Any]], at_once: int = 4) -> int:
    """Ask without end, a few at a time; how many were answered with yes."""
    until, done = time.monotonic() + seconds, 0
    number = iter(range(10**9))

    async def work() -> None:
        nonlocal done
        while time.monotonic() < until:
            try:
                await request(next(number))
                done += 1
            except TROUBLE:
                await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
    return done


ATTACKS: tuple[Attack, ...] = (
    flood_with_pings,
    open_sockets_without_end,
    rename_without_end,
    create_conversations_without_end,
    write_without_end,
    open_sessions_without_end,
    read_nothing,
    join_with_devices_without_end,
)
