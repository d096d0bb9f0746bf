"""What the bus between nodes promises beyond the suite that every bus passes: nothing is lost when Redis or a connection is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from secureconnect.bus import Entry
from secureconnect.bus.bounds import CALL_LOG_BYTES
from secureconnect.bus.redis.bus import QUEUE_BYTES, QUEUE_ENTRIES, TOPIC_QUEUE_BYTES, RedisBus
from secureconnect.bus.redis.scripts import APPEND
from secureconnect.bus.redis.subscription import HELD_ENTRIES, Subscription
from secureconnect.bus.redis.topics import Pending, append_arguments
from secureconnect.clock import SystemClock
from secureconnect.errors import Unavailable
from tests.chaos.network import Network
from tests.fakes.mute import muted_way_to
from tests.fakes.redis import RedisCluster, RedisSentinels, RedisServer

pytestmark = pytest.mark.anyio
TOPIC = "call:0193e5a0"
PATIENCE_SECONDS = 15.0


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.stop()


@asynccontextmanager
async def node(redis: RedisServer | RedisCluster | RedisSentinels, name: str) -> AsyncIterator[RedisBus]:
    bus = RedisBus(redis.url, SystemClock(), name)
    running = asyncio.create_task(bus.run())
    try:
        yield bus
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await bus.close()


async def until(holds: Callable[[], bool] | Callable[[], Awaitable[bool]], seconds: float = PATIENCE_SECONDS) -> None:
    """Return when it holds. What happens on the other side of a network can only be asked for."""
    async with asyncio.timeout(seconds):
        while True:
            found = holds()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.01)


async def test_two_nodes_hear_the_same_in_the_same_order(redis: RedisServer) -> None:
    here: list[Entry] = []
    there: list[Entry] = []
    async with node(redis, "a") as a, node(redis, "b") as b:
        await a.subscribe(TOPIC, here.append)
        await b.subscribe(TOPIC, there.append)
        for number in range(1_000):
            (a, b)[number % 2].publish(TOPIC, b'{"n":%d}' % number, sender="ab"[number % 2])
        await until(lambda: len(here) == len(there) == 1_000)
    assert here == there
    assert [one.seq for one in here] == list(range(here[0].seq, here[0].seq + 1_000))
    for sender in "ab":
        bodies = [one.body for one in here if one.sender == sender]
        assert bodies == [b'{"n":%d}' % number for number in range("ab".index(sender), 1_000, 2)]


async def test_a_listener_whose_connection_is_cut_misses_nothing(redis: RedisServer) -> None:
    heard: list[Entry] = []
    async with node(redis, "a") as a, node(redis, "b") as b:
        await b.subscribe(TOPIC, heard.append)
        for turn in range(20):
            for number in range(20):
                a.publish(TOPIC, b'{"n":%d}' % (20 * turn + number))
            await until(lambda: len(heard) > 0)
            redis.command("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: len(heard) == 400)
        await until(lambda: b.figures().lost > 0)
        assert (a.figures().published, a.figures().waiting, a.figures().lag) == (400, 0, 0)
    assert [one.body for one in heard] == [b'{"n":%d}' % number for number in range(400)]


async def test_what_is_published_while_redis_is_away_arrives_once_and_in_order(redis: RedisServer) -> None:
    heard: list[Entry] = []
    seqs: list[int] = []
    async with node(redis, "a") as a, node(redis, "b") as b:
        await b.subscribe(TOPIC, heard.append)
        a.publish(TOPIC, b'{"n":-1}')
        await until(lambda: len(heard) == 1)
        redis.stop()
        for number in range(300):
            assert a.publish(TOPIC, b'{"n":%d}' % number, retain=("key", b"%d" % number), acknowledge=seqs.append)
        with pytest.raises(Unavailable):
            await a.ping()
        redis.start()
        await until(lambda: len(heard) == 301)
        assert [one.body for one in heard[1:]] == [b'{"n":%d}' % number for number in range(300)]
        await until(lambda: len(seqs) == 300)
        assert [one.seq for one in heard[1:]] == seqs
        assert seqs[0] > heard[0].seq, "a Redis that forgot everything must not count from the beginning"
        assert (await b.read(TOPIC)).retained == {"key": b"299"}
        await a.ping()


async def test_a_node_is_not_deaf_for_long_when_packets_vanish(redis: RedisServer) -> None:
    """Nothing breaks the connection that hears: by itself it would be waited on until TCP gives up, a quarter of an hour later."""
    heard: list[Entry] = []
    async with muted_way_to(redis.port) as way, node(redis, "a") as a:
        b = RedisBus(f"redis://127.0.0.1:{way.port}", SystemClock(), "b")
        running = asyncio.create_task(b.run())
        await b.subscribe(TOPIC, heard.append)
        a.publish(TOPIC, b'{"n":0}')
        await until(lambda: len(heard) == 1)
        way.mute()
        a.publish(TOPIC, b'{"n":1}')
        b.publish(TOPIC, b'{"n":2}')
        await until(lambda: len(heard) == 3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await b.close()
    assert sorted(one.body for one in heard) == [b'{"n":%d}' % number for number in range(3)]


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})])
async def test_connections_that_the_kernel_gave_up_are_replaced(redis: RedisServer) -> None:
    """As on the server: uvloop has an error of its own for a transport that closed under an idle connection of the pool."""
    heard: list[Entry] = []
    async with node(redis, "a") as a, node(redis, "b") as b:
        await b.subscribe(TOPIC, heard.append)
        for turn in range(5):
            a.publish(TOPIC, b'{"n":%d}' % (2 * turn))
            await until(lambda wanted=2 * turn + 1: len(heard) == wanted)
            await asyncio.gather(*(b.read(TOPIC) for _ in range(8)), return_exceptions=True)
            Network().reset(redis.port, (1024, 65_534))
            # The last one arrives by the log, not by the doorbell: what reads it must not give up either.
            a.publish(TOPIC, b'{"n":%d}' % (2 * turn + 1))
            await until(lambda wanted=2 * turn + 2: len(heard) == wanted)
    assert [one.body for one in heard] == [b'{"n":%d}' % number for number in range(10)]


async def test_a_batch_sent_twice_is_counted_once(redis: RedisServer) -> None:
    heard: list[Entry] = []
    async with node(redis, "a") as a:
        await a.subscribe(TOPIC, heard.append)
        a.publish(TOPIC, b'{"n":0}')
        await until(lambda: len(heard) == 1)
        # The answer to the first attempt was lost: the same numbers come again, with one more behind them.
        a._number = 0
        a.publish(TOPIC, b'{"n":0}')
        a.publish(TOPIC, b'{"n":1}')
        await until(lambda: len(heard) == 2)
    assert [one.body for one in heard] == [b'{"n":0}', b'{"n":1}']


async def test_more_than_may_wait_is_refused(redis: RedisServer) -> None:
    async with node(redis, "a") as a:
        redis.stop()
        accepted = [a.publish(TOPIC, b"{}") for _ in range(QUEUE_ENTRIES + 1)]
        assert accepted == [True] * QUEUE_ENTRIES + [False]
        await until(lambda: a.figures().failed > 0)
        figures = a.figures()
        assert (figures.waiting, figures.published, figures.refused) == (QUEUE_ENTRIES, QUEUE_ENTRIES, 1)
        assert figures.lag > 0
        redis.start()


async def test_a_log_that_a_node_of_0_1_filled_is_cut_by_the_next_entry_of_this_version(redis: RedisServer) -> None:
    """0.1 limits a log in entries, not in bytes, and both versions append to the same keys during an upgrade."""
    async with node(redis, "new") as new:
        seqs: list[int] = []
        new.publish(TOPIC, b"{}", acknowledge=seqs.append)
        await until(lambda: len(seqs) == 1)
        for number in range(80):
            pending = Pending(number + 1, TOPIC, b"x" * 60_000, "", "", None, None)
            arguments = list(append_arguments("old", "", TOPIC, [pending]))
            arguments[10] = 1_000_000_000  # no limit in bytes
            await new._places.eval(APPEND, *arguments)
        log = f"{{{TOPIC}}}:log"
        assert int(redis.command("MEMORY", "USAGE", log, "SAMPLES", "0")) > 2 * CALL_LOG_BYTES
        new.publish(TOPIC, b"x" * 5_000, acknowledge=seqs.append)
        await until(lambda: len(seqs) == 2)
        assert int(redis.command("MEMORY", "USAGE", log, "SAMPLES", "0")) <= CALL_LOG_BYTES
        backlog = await new.read(TOPIC, seqs[0])
        assert (backlog.entries, backlog.head) == (None, seqs[1])
        assert (await new.read(TOPIC, seqs[1])).entries == []


async def test_what_waits_for_redis_has_a_limit_in_bytes_and_of_each_topic(redis: RedisServer) -> None:
    async with node(redis, "a") as a:
        await until(lambda: bool(a._lanes))
        redis.pause()
        frame = b"x" * 60_000
        refused_at = next(number for number in range(1_000) if not a.publish(TOPIC, frame))
        assert refused_at == TOPIC_QUEUE_BYTES // len(frame)
        assert a.publish("call:other", frame)
        refused = [a.publish(f"call:{number % 40}", frame) for number in range(1_200)]
        assert not refused[-1]
        figures = a.figures()
        assert QUEUE_BYTES - len(frame) <= figures.waiting_bytes <= figures.waiting_max_bytes == QUEUE_BYTES
        redis.resume()
        await a.flush()
        assert a.figures().waiting_bytes == 0
        assert a.publish(TOPIC, frame)


async def test_a_reader_that_catches_up_holds_few_entries_and_hears_all() -> None:
    heard: list[Entry] = []
    subscription = Subscription(TOPIC, heard.append)
    entries = [Entry(seq, "", "", b"{}") for seq in range(1, 3 * HELD_ENTRIES)]
    for entry in entries:
        subscription.hear(entry)
        assert subscription.held is not None
        assert len(subscription.held) <= HELD_ENTRIES
    assert not subscription.catch_up(entries[:10])
    assert subscription.catch_up(entries[10:])
    assert heard == entries
    subscription.hear(Entry(entries[-1].seq + 1, "", "", b"{}"))
    assert len(heard) == len(entries) + 1
