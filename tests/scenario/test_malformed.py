"""A hundred thousand frames that are no messages: each is answered honestly, the server neither falls nor grows."""

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fakes.people import Socket, World
from tests.fakes.server import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

FRAMES = 100_000
WARM_UP = 20_000
"""Frames after which whatever is allocated once has been."""
GROWTH_KB = 4_096
"""A leak of 50 bytes a frame would show; what an allocator keeps back is less."""
AT_ONCE = 500
"""Frames on the way before their answers are read: less than a slow reader is given up for."""
SCRAPS = ["sdp", "type", "offer", "{", "}", "[", "]", '"', ":", ",", "null", "1e999", "-", "\\", "\\ud800", "\u0000", "é", "true"]


def bad_frames(seed: int) -> Iterator[bytes]:
    """What no client would send: noise, broken, cut, of wrong shape, deep, huge. For ever."""
    chance = random.Random(seed)
    good = json.dumps({"type": "offer", "sdp": "v=0\r\n" * 20, "target_id": None, "ref": "1"}).encode()
    kinds: list[Callable[[], bytes]] = [
        lambda: good[: chance.randrange(len(good) - 1)],
        lambda: chance.randbytes(chance.randrange(200)),
        lambda: "".join(chance.choices(SCRAPS, k=chance.randrange(1, 40))).encode(),
        lambda: good.replace(b"v=0", chance.choice([b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\x00", b"\\u12"])),
        lambda: b"[" * chance.randrange(1, 5_000),
        lambda: b'{"type":"quality","report":' + b'{"a":' * chance.randrange(2_000, 9_000),
        lambda: b'{"type":"%s","ref":%b%b}' % (chance.choice([b"offer", b"no"]), b"[" * 8_000, b"]" * 8_000),
        lambda: b'{"type":"mute_audio","muted":%b}' % (b"9" * chance.randrange(1, 9_000)),
        lambda: json.dumps(chance.choice([None, 1, "offer", [], [{"type": "offer"}], True, 1e308])).encode(),
        lambda: json.dumps({"type": chance.choice(["nothing", "", 5, None, [], {}, "OFFER", "welcome", "call"])}).encode(),
        lambda: json.dumps({"type": "offer", "sdp": chance.choice([None, 1, [], {}, True])}).encode(),
        lambda: json.dumps({"type": "mute_audio", "muted": chance.choice(["yes", None, 1, []]), "ref": "x" * 200}).encode(),
        lambda: json.dumps({"type": "reaction", "emoji": "x" * chance.randrange(33, 2_000)}).encode(),
        lambda: json.dumps({"type": "ice_candidate", "candidate": chance.choice(["text", 5, [], True])}).encode(),
        lambda: json.dumps({"type": "offer", "sdp": "", "target_id": "y" * 100}).encode(),
    ]
    while True:
        yield chance.choice(kinds)()


async def answered(socket: Socket, frames: Iterator[bytes], number: int) -> None:
    """Send so many, and find each answered by one error with a code and a sentence."""
    for begun in range(0, number, AT_ONCE):
        batch = min(AT_ONCE, number - begun)
        for _ in range(batch):
            await socket.connection.send(next(frames), text=True)
        for _ in range(batch):
            answer = json.loads(await socket.connection.recv())
            assert answer["type"] == "error", answer
            assert answer["code"] in ("malformed", "unknown_type"), answer
            assert answer["detail"]


def memory_kb(server: ServerProcess) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


async def test_a_hundred_thousand_malformed_frames(server: ServerProcess, world: World) -> None:
    call, (ada, _), (at_ada, at_ben) = await world.call_of("Ada", "Ben")
    await at_ada.expect("join", session_id=at_ben.welcome["session_id"])
    frames = bad_frames(seed=1)
    await answered(at_ada, frames, WARM_UP)
    before = memory_kb(server)
    await answered(at_ada, frames, FRAMES)
    grown = memory_kb(server) - before
    assert grown < GROWTH_KB, f"{grown} KB more"
    await at_ada.tell("reaction", emoji="still here")
    await at_ben.expect("reaction", emoji="still here")
    assert {frame["type"] for frame in at_ben.frames} <= {"welcome", "call", "reaction"}, "none of it has reached anybody"
    assert (await ada.look(call))["status"] == "active"


async def test_broken_utf8_is_refused_and_reaches_nobody(world: World) -> None:
    _, _, (at_ada, at_ben) = await world.call_of("Ada", "Ben")
    await at_ada.expect("join")
    for broken in (
        b"\xff",
        b'{"type":"offer","sdp":"\xc3\x28"}',
        b'{"type":"ice_candidate","candidate":{"candidate":"\xed\xa0\x80"}}',
    ):
        await at_ada.connection.send(broken, text=True)
        assert (await at_ada.expect("error"))["code"] == "malformed"
    await at_ada.tell("reaction", emoji="whole")
    await at_ben.expect("reaction", emoji="whole")
    assert not at_ben.heard("offer")


async def test_an_events_socket_bears_any_talk(world: World) -> None:
    (ada, ben) = await world.people("Ada", "Ben")
    at_ada = await ada.events()
    frames = bad_frames(seed=2)
    for _ in range(2_000):
        await at_ada.connection.send(next(frames), text=True)
    await ada.converse(ben)
    await at_ada.expect("conversation.updated")


@pytest.mark.parametrize(
    "head",
    [
        b"\x00" * 100,
        b"GET /v1/ws/events HTTP/1.1\r\n" + b"x: " + b"y" * 70_000 + b"\r\n\r\n",
        b"GET /v1/ws/events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /v1/ws/events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"
        b"Sec-WebSocket-Version: 13\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
        b"BREW /coffee HTTP/9.9\r\n\r\n",
    ],
)
async def test_no_opening_words_hurt(server: ServerProcess, world: World, head: bytes) -> None:
    reader, writer = await asyncio.open_connection("localhost", server.port)
    writer.write(head)
    answer = await asyncio.wait_for(reader.read(65_536), 20)  # not to the end: a well-formed request leaves the connection open
    writer.close()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer
    assert b"101 Switching" not in answer
    assert (await world.health())["status"] == "healthy"


async def test_half_a_handshake_holds_nobody_up(server: ServerProcess, world: World) -> None:
    halves = [await asyncio.open_connection("localhost", server.port) for _ in range(200)]
    for _, writer in halves:
        writer.write(b"GET /v1/ws/events HTTP/1.1\r\nHost: x\r\nConnection: Upgr")
    (ada,) = await world.people("Ada")
    await ada.events()
    for _, writer in halves:
        writer.close()


async def test_a_head_that_does_not_end_is_not_kept(server: ServerProcess, world: World) -> None:
    before = memory_kb(server)
    reader, writer = await asyncio.open_connection("localhost", server.port)
    writer.write(b"GET /v1/ws/events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")
    answering = asyncio.create_task(reader.read(16))
    said = 0
    with suppress(ConnectionError):
        while not answering.done():
            said += 1_000
            assert said < 50_000_000, "it listens for ever"
            writer.write(b"x: " + b"y" * 995 + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)
    with suppress(ConnectionError):
        await answering
    writer.transport.abort()
    assert memory_kb(server) - before < GROWTH_KB
    assert (await world.health())["status"] == "healthy"
