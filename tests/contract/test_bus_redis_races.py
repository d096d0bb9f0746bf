"""What happens in the middle of something else on the bus between nodes: half a batch, half a subscription, a long silence."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest

from secureconnect.bus import Backlog, Entry
from secureconnect.bus.redis.bus import RedisBus
from secureconnect.bus.redis.lane import BATCH
from secureconnect.bus.redis.scripts import APPEND
from secureconnect.errors import Unavailable
from tests.contract.test_bus_redis import TOPIC, node, until
from tests.fakes.redis import RedisServer

pytestmark = pytest.mark.anyio
CHANNEL = "{" + TOPIC + "}"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _empty(redis: RedisServer) -> None:
    redis.command("FLUSHALL")


def listeners(redis: RedisServer) -> int:
    return int(redis.command("PUBSUB", "SHARDNUMSUB", CHANNEL).split()[-1])


def instead_of_reading(bus: RedisBus, happens: Callable[[Backlog], Awaitable[None]]) -> None:
    """Let this happen between the next answer to a read and its arrival."""
    read = bus.read

    async def interrupted(topic: str, after: int | None = None) -> Backlog:
        bus.read = read  # type: ignore[method-assign]
        backlog = await read(topic, after)
        await happens(backlog)
        return backlog

    bus.read = interrupted  # type: ignore[method-assign]


async def test_of_a_batch_that_was_carried_out_in_part_nothing_is_lost(redis: RedisServer) -> None:
    """Redis has forgotten its scripts, and another node teaches it again while our batch arrives."""
    stop = threading.Event()
    words = f"*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n${len(APPEND)}\r\n{APPEND}\r\n".encode()

    def teach() -> None:
        with socket.create_connection(("127.0.0.1", redis.port)) as other:
            while not stop.is_set():
                other.sendall(words)
                other.recv(4096)

    seqs: list[int] = []
    body = b'{"b":"' + b"x" * 30_000 + b'"}'
    async with node(redis, "a") as a:
        a.publish(TOPIC, b"{}", acknowledge=seqs.append)
        await until(lambda: len(seqs) == 1)
        for _ in range(10):
            redis.command("SCRIPT", "FLUSH")
            teacher = threading.Thread(target=teach)
            stop.clear()
            for _ in range(BATCH):
                a.publish(TOPIC, body, acknowledge=seqs.append)
            teacher.start()
            wanted = len(seqs) + BATCH
            await until(lambda wanted=wanted: len(seqs) == wanted)
            stop.set()
            teacher.join()
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


async def test_a_connection_cut_while_subscribing_tells_no_old_stories(redis: RedisServer) -> None:
    heard: list[Entry] = []
    async with node(redis, "a") as a, node(redis, "b") as b:
        for number in range(3):
            a.publish(TOPIC, b'{"old":%d}' % number)
        await a.flush()

        async def cut_and_go_on(_backlog: Backlog) -> None:
            redis.command("CLIENT", "KILL", "TYPE", "pubsub")
            await until(lambda: listeners(redis) == 1)
            a.publish(TOPIC, b'{"new":0}')
            await a.flush()
            await b.read(TOPIC)

        instead_of_reading(b, cut_and_go_on)
        await b.subscribe(TOPIC, heard.append)
        a.publish(TOPIC, b'{"new":1}')
        await until(lambda: any(one.body == b'{"new":1}' for one in heard))
    assert [one.body for one in heard] == [b'{"new":0}', b'{"new":1}']


async def test_a_subscription_that_failed_leaves_nothing_behind(redis: RedisServer) -> None:
    async def fail(_backlog: Backlog) -> None:
        assert listeners(redis) == 1
        raise Unavailable

    async with node(redis, "a") as a:
        instead_of_reading(a, fail)
        with pytest.raises(Unavailable):
            await a.subscribe(TOPIC, lambda _entry: None)
        await until(lambda: listeners(redis) == 0)


async def test_a_subscription_that_was_cancelled_leaves_nothing_behind(redis: RedisServer) -> None:
    async with node(redis, "a") as a:
        reading = asyncio.Event()

        async def hang(_backlog: Backlog) -> None:
            reading.set()
            await asyncio.Event().wait()

        instead_of_reading(a, hang)
        subscribing = asyncio.create_task(a.subscribe(TOPIC, lambda _entry: None))
        await reading.wait()
        subscribing.cancel()
        await until(lambda: listeners(redis) == 0)


async def test_a_call_that_is_silent_all_day_keeps_its_state(redis: RedisServer) -> None:
    async with node(redis, "a") as a:
        a.publish(TOPIC, b"{}", retain=("somebody", b"{}"))
        await a.flush()
    for kept in ("head", "state"):
        assert int(redis.command("TTL", f"{CHANNEL}:{kept}")) > 24 * 3600
    assert int(redis.command("TTL", f"{CHANNEL}:log")) <= 900


async def test_connections_cut_while_many_subscribe_do_not_deafen_the_node(redis: RedisServer) -> None:
    heard: list[Entry] = []

    async def come_and_go(bus: RedisBus, number: int) -> None:
        for turn in range(25):
            topic = f"call:{number}-{turn}"
            with contextlib.suppress(Unavailable):
                await bus.subscribe(topic, lambda _entry: None)
                await bus.unsubscribe(topic)

    async with node(redis, "a") as a:
        coming = asyncio.gather(*(come_and_go(a, number) for number in range(8)))
        while not coming.done():
            redis.command("CLIENT", "KILL", "TYPE", "pubsub")
            await asyncio.sleep(0.05)
        await coming
        await until(lambda: subscribed(a, heard))
        a.publish(TOPIC, b"{}")
        await until(lambda: len(heard) == 1)


async def subscribed(bus: RedisBus, heard: list[Entry]) -> bool:
    try:
        await bus.subscribe(TOPIC, heard.append)
    except Unavailable:
        return False
    return True
