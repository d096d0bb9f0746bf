"""What every bus promises, whatever it runs on. Another kind is one more parameter of `bus`.

Answers may come later than the call that asked, so the tests wait for what they expect; what must not happen is awaited behind a
marker that would have come after it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress

import pytest

from secureconnect.bus import Backlog, Bus, Entry, bounds, memory, open_bus
from secureconnect.bus.memory import IDLE_SECONDS, MemoryBus
from secureconnect.clock import SystemClock, unix_microseconds
from tests.fakes.clock import ManualClock
from tests.fakes.redis import RedisCluster, RedisSentinels, RedisServer

pytestmark = pytest.mark.anyio
TOPIC, OTHER = "call:one", "call:other"
PATIENCE_SECONDS = 15.0


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    servers = RedisCluster()
    servers.start()
    yield servers
    servers.stop()


@pytest.fixture(scope="module")
def sentinel() -> Iterator[RedisSentinels]:
    # Nobody fails here; a busy machine must not be taken for it.
    servers = RedisSentinels(down_after=60_000)
    servers.start()
    yield servers
    servers.stop()


@pytest.fixture(params=["memory", "redis", "cluster", "sentinel"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    url = "memory://"
    if request.param != "memory":
        servers: RedisServer | RedisCluster | RedisSentinels = request.getfixturevalue(request.param)
        servers.flush()
        url = servers.url
    bus = open_bus(url, SystemClock(), "a node")
    running = asyncio.create_task(bus.run())
    yield bus
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await bus.close()


async def until(holds: Callable[[], bool]) -> None:
    """Return when it holds. What happens on the other side of a network can only be asked for."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if holds():
                return
            await asyncio.sleep(0.005)


async def published(bus: Bus, *bodies: bytes, topic: str = TOPIC) -> list[int]:
    """Publish, and return the seqs once the log has given them."""
    seqs: list[int] = []
    for body in bodies:
        assert bus.publish(topic, body, acknowledge=seqs.append)
    await until(lambda: len(seqs) == len(bodies))
    return seqs


def numbered(amount: int) -> list[bytes]:
    return [b'{"n":%d}' % number for number in range(amount)]


class TestOrder:
    async def test_a_subscriber_hears_every_entry_once_and_in_order(self, bus: Bus) -> None:
        heard: list[Entry] = []
        await bus.subscribe(TOPIC, heard.append)
        await published(bus, *numbered(300))
        await until(lambda: len(heard) >= 300)
        assert [entry.body for entry in heard] == numbered(300)

    async def test_seq_strictly_increases_and_is_safe_in_javascript(self, bus: Bus) -> None:
        seqs = await published(bus, *numbered(50))
        assert seqs == sorted(set(seqs))
        assert 0 < seqs[0] < seqs[-1] < 2**53

    async def test_acknowledge_gets_the_seq_that_subscribers_hear(self, bus: Bus) -> None:
        heard: list[Entry] = []
        await bus.subscribe(TOPIC, heard.append)
        seqs = await published(bus, *numbered(20))
        await until(lambda: len(heard) == 20)
        assert [entry.seq for entry in heard] == seqs

    async def test_an_entry_arrives_as_it_was_published(self, bus: Bus) -> None:
        heard: list[Entry] = []
        await bus.subscribe(TOPIC, heard.append)
        body = '{"type":"reaction","emoji":"👍 and a space"}'.encode()
        bus.publish(TOPIC, body, sender="session", target="user")
        bus.publish(TOPIC, body)
        await until(lambda: len(heard) == 2)
        assert [(entry.sender, entry.target, entry.body) for entry in heard] == [("session", "user", body), ("", "", body)]
        backlog = await bus.read(TOPIC, heard[0].seq - 1)
        assert backlog.entries == heard

    async def test_topics_do_not_mix(self, bus: Bus) -> None:
        heard: list[Entry] = []
        await bus.subscribe(TOPIC, heard.append)
        await published(bus, b'{"n":"other"}', topic=OTHER)
        await published(bus, b'{"n":"mine"}')
        await until(lambda: len(heard) == 1)
        assert heard[0].body == b'{"n":"mine"}'
        assert (await bus.read(OTHER)).retained == {}


class TestSubscription:
    async def test_what_was_said_before_is_not_heard(self, bus: Bus) -> None:
        heard: list[Entry] = []
        await published(bus, *numbered(3))
        await bus.subscribe(TOPIC, heard.append)
        (seq,) = await published(bus, b'{"n":"after"}')
        await until(lambda: bool(heard))
        assert [entry.seq for entry in heard] == [seq]

    async def test_after_unsubscribe_nothing_is_heard(self, bus: Bus) -> None:
        heard: list[Entry] = []
        marker: list[Entry] = []
        await bus.subscribe(TOPIC, heard.append)
        await bus.subscribe(OTHER, marker.append)
        await published(bus, b"{}")
        await until(lambda: len(heard) == 1)
        await bus.unsubscribe(TOPIC)
        await published(bus, b"{}")
        await published(bus, b"{}", topic=OTHER)
        await until(lambda: len(marker) == 1)
        assert len(heard) == 1

    async def test_unsubscribe_from_what_one_does_not_listen_to_is_fine(self, bus: Bus) -> None:
        await bus.unsubscribe("call:never heard of")

    async def test_a_new_subscription_goes_on_where_the_log_is(self, bus: Bus) -> None:
        first: list[Entry] = []
        second: list[Entry] = []
        await bus.subscribe(TOPIC, first.append)
        await published(bus, b'{"n":1}')
        await until(lambda: len(first) == 1)
        await bus.unsubscribe(TOPIC)
        (between,) = await published(bus, b'{"n":2}')
        await bus.subscribe(TOPIC, second.append)
        await published(bus, b'{"n":3}')
        await until(lambda: bool(second))
        assert [entry.body for entry in first + second] == [b'{"n":1}', b'{"n":3}']
        assert first[0].seq < between < second[0].seq


class TestRead:
    async def test_a_topic_that_nobody_has_spoken_in_has_nothing(self, bus: Bus) -> None:
        backlog = await bus.read(TOPIC)
        assert (backlog.entries, backlog.retained) == (None, {})

    async def test_without_a_position_there_are_no_entries(self, bus: Bus) -> None:
        seqs = await published(bus, *numbered(3))
        assert await bus.read(TOPIC) == Backlog(seqs[-1], None, {}, [])

    async def test_it_gives_what_came_after_the_position(self, bus: Bus) -> None:
        seqs = await published(bus, *numbered(5))
        for number, seq in enumerate(seqs):
            backlog = await bus.read(TOPIC, seq)
            assert backlog.head == seqs[-1]
            assert backlog.entries is not None
            assert [entry.body for entry in backlog.entries] == numbered(5)[number + 1 :]

    async def test_the_position_of_a_subscription_is_the_last_entry_that_it_delivered(self, bus: Bus) -> None:
        (first,) = await published(bus, b'{"n":0}')
        heard: list[Entry] = []
        await bus.subscribe(TOPIC, heard.append)
        assert bus.position(TOPIC) == first
        *_, last = await published(bus, *numbered(3))
        await until(lambda: len(heard) == 3)
        assert bus.position(TOPIC) == last
        assert (await bus.read(TOPIC, first)).kept == heard

    async def test_what_is_kept_is_given_even_when_something_is_gone(self, bus: Bus) -> None:
        await bus.subscribe(TOPIC, lambda _: None)
        assert bus.position(TOPIC) < (seqs := await published(bus, *numbered(2)))[0]
        backlog = await bus.read(TOPIC, 1)
        assert backlog.entries is None
        assert [entry.seq for entry in backlog.kept] == seqs

    async def test_a_position_that_the_log_never_gave_is_not_answered(self, bus: Bus) -> None:
        seqs = await published(bus, *numbered(2))
        assert (await bus.read(TOPIC, seqs[-1] + 1)).entries is None
        assert (await bus.read(TOPIC, 1)).entries is None

    async def test_what_is_read_and_what_is_heard_fit_without_gap(self, bus: Bus) -> None:
        """Subscribe, then read while others talk: the log up to its head and what is heard above it are everything, once."""
        first, *_ = await published(bus, *numbered(10))
        heard: list[Entry] = []
        await bus.subscribe(TOPIC, heard.append)
        for body in numbered(100)[10:50]:
            bus.publish(TOPIC, body)
        backlog = await bus.read(TOPIC, first - 1)
        await published(bus, *numbered(100)[50:])
        await until(lambda: bool(heard) and heard[-1].body == numbered(100)[-1])
        assert backlog.entries is not None
        told = [*backlog.entries, *(entry for entry in heard if entry.seq > backlog.head)]
        assert [entry.body for entry in told] == numbered(100)


class TestRetained:
    async def test_a_key_is_kept_changed_and_removed(self, bus: Bus) -> None:
        bus.publish(TOPIC, b"{}", retain=("ann", b"1"))
        bus.publish(TOPIC, b"{}", retain=("bob", b"2"))
        bus.publish(TOPIC, b"{}", retain=("ann", b"3"))
        await published(bus, b"{}")
        assert (await bus.read(TOPIC)).retained == {"ann": b"3", "bob": b"2"}
        bus.publish(TOPIC, b"{}", retain=("ann", None))
        bus.publish(TOPIC, b"{}", retain=("never there", None))
        await published(bus, b"{}")
        assert (await bus.read(TOPIC)).retained == {"bob": b"2"}

    async def test_it_changes_in_the_same_step_as_the_log(self, bus: Bus) -> None:
        """Whenever it is read, it is what the entry at the head says."""
        (first,) = await published(bus, b'{"n":-1}')
        done: list[int] = []
        for number in range(200):
            bus.publish(TOPIC, b'{"n":%d}' % number, retain=("n", b"%d" % number), acknowledge=done.append)
        while True:
            finished = len(done) == 200
            backlog = await bus.read(TOPIC, first)
            assert backlog.entries is not None
            last = backlog.entries[-1].body if backlog.entries else None
            assert last == (b'{"n":%s}' % backlog.retained["n"] if backlog.retained else None)
            if finished:
                break
            await asyncio.sleep(0)
        assert backlog.retained == {"n": b"199"}

    async def test_what_was_read_is_not_changed_later(self, bus: Bus) -> None:
        bus.publish(TOPIC, b"{}", retain=("ann", b"1"))
        await published(bus, b"{}")
        backlog = await bus.read(TOPIC)
        bus.publish(TOPIC, b"{}", retain=("ann", b"2"))
        await published(bus, b"{}")
        assert backlog.retained == {"ann": b"1"}


async def test_the_log_is_bounded(bus: Bus) -> None:
    seqs = await published(bus, *numbered(2 * bounds.LOG_ENTRIES))
    assert (await bus.read(TOPIC, seqs[0])).entries is None
    backlog = await bus.read(TOPIC, seqs[-bounds.LOG_ENTRIES])
    assert backlog.entries is not None
    assert [entry.seq for entry in backlog.entries] == seqs[-bounds.LOG_ENTRIES + 1 :]


async def all_kept(bus: Bus, topic: str, seqs: list[int]) -> list[Entry]:
    """The entries from the first after which the log is complete."""
    for seq in seqs:
        entries = (await bus.read(topic, seq)).entries
        if entries is not None:
            return entries
    raise AssertionError("the log keeps nothing")


@pytest.mark.parametrize(("topic", "limit"), [("user:one", bounds.USER_LOG_BYTES), (TOPIC, bounds.CALL_LOG_BYTES)])
async def test_the_log_is_bounded_in_bytes(bus: Bus, topic: str, limit: int) -> None:
    size = 40_000
    seqs = await published(bus, *[b"x" * size] * (limit // size + 20), topic=topic)
    assert (await bus.read(topic, seqs[0])).entries is None
    entries = await all_kept(bus, topic, seqs)
    assert [entry.seq for entry in entries] == seqs[-len(entries) :]
    assert limit / 3 < sum(len(entry.body) for entry in entries) <= limit


async def test_small_entries_are_bounded_in_bytes_too(bus: Bus) -> None:
    topic = "user:small"
    seqs = await published(bus, *[b"x" * 1000] * 600, topic=topic)
    entries = await all_kept(bus, topic, seqs)
    assert bounds.USER_LOG_BYTES / 3 < sum(len(entry.body) for entry in entries) <= bounds.USER_LOG_BYTES + 64 * 1100


async def test_it_answers_when_it_is_there(bus: Bus) -> None:
    await bus.ping()


def test_there_is_a_bus_only_for_the_schemes_that_are_known() -> None:
    with pytest.raises(ValueError, match="carrier-pigeon"):
        open_bus("carrier-pigeon://loft", SystemClock(), "a node")


class TestMemory:
    """Exactly how much the bus of one process keeps, and for how long."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def bus(self, clock: ManualClock) -> MemoryBus:
        return MemoryBus(clock)

    async def seq_of_next(self, bus: MemoryBus, topic: str = TOPIC) -> int:
        (seq,) = await published(bus, b"{}", topic=topic)
        return seq

    async def test_the_number_of_entries_is_exact(self, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "LOG_ENTRIES", 3)
        seqs = await published(bus, *numbered(5))
        assert (await bus.read(TOPIC, seqs[0])).entries is None
        backlog = await bus.read(TOPIC, seqs[1])
        assert backlog.entries is not None
        assert [entry.seq for entry in backlog.entries] == seqs[2:]

    async def test_so_is_the_number_of_bytes(self, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "bytes_of_log", lambda _topic: 20 + 2 * memory.ENTRY_BYTES)
        seqs = await published(bus, b"x" * 10, b"x" * 10, b"x")
        assert (await bus.read(TOPIC, seqs[0] - 1)).entries is None
        assert (await bus.read(TOPIC, seqs[0])).entries is not None
        await published(bus, b"x" * (21 + memory.ENTRY_BYTES))
        assert (await bus.read(TOPIC, seqs[-1])).entries is None

    async def test_all_logs_together_have_a_limit_and_those_without_subscribers_go_first(self, clock: ManualClock) -> None:
        bus = MemoryBus(clock, log_bytes=400_000)
        await bus.subscribe("call:heard", lambda _: None)
        [heard] = await published(bus, b"x" * 50_000, topic="call:heard")
        bus.publish("call:rested", b"x" * 100_000, retain=("ann", b"1"))
        resting = (await bus.read("call:rested")).head
        for number in range(100):
            await published(bus, b"x" * 30_000, topic=f"user:{number}")
            figures = bus.figures()
            assert figures.log_bytes <= figures.log_max_bytes == 400_000
        backlog = await bus.read("call:rested", resting - 1)
        assert (backlog.entries, backlog.head, backlog.retained) == (None, resting, {"ann": b"1"})
        assert (await bus.read("call:rested", resting)).entries == []
        entries = (await bus.read("call:heard", heard - 1)).entries
        assert entries is not None
        assert [len(entry.body) for entry in entries] == [50_000]
        assert bus.figures().cut > 0

    async def test_of_logs_that_are_heard_the_largest_are_cut(self, clock: ManualClock) -> None:
        bus = MemoryBus(clock, log_bytes=400_000)
        for topic in ("call:small", "call:large"):
            await bus.subscribe(topic, lambda _: None)
        [small] = await published(bus, b"x" * 10_000, topic="call:small")
        await published(bus, *[b"x" * 10_000] * 100, topic="call:large")
        assert bus.figures().log_bytes <= 400_000
        assert (await bus.read("call:small", small - 1)).entries is not None

    async def test_a_topic_at_rest_is_forgotten(self, bus: MemoryBus, clock: ManualClock) -> None:
        seq = await self.seq_of_next(bus)
        clock.advance(IDLE_SECONDS - 1)
        await self.seq_of_next(bus, OTHER)
        assert (await bus.read(TOPIC, seq)).entries == []
        clock.advance(1)
        await self.seq_of_next(bus, "call:third")
        assert (await bus.read(TOPIC, seq)).entries is None

    async def test_a_topic_somebody_listens_to_is_not(self, bus: MemoryBus, clock: ManualClock) -> None:
        await bus.subscribe(TOPIC, lambda _: None)
        seq = await self.seq_of_next(bus)
        clock.advance(10 * IDLE_SECONDS)
        await self.seq_of_next(bus, OTHER)
        assert (await bus.read(TOPIC, seq)).entries == []

    async def test_the_rest_begins_when_the_last_listener_goes(self, bus: MemoryBus, clock: ManualClock) -> None:
        await bus.subscribe(TOPIC, lambda _: None)
        seq = await self.seq_of_next(bus)
        clock.advance(10 * IDLE_SECONDS)
        await bus.unsubscribe(TOPIC)
        clock.advance(IDLE_SECONDS - 1)
        await self.seq_of_next(bus, OTHER)
        assert (await bus.read(TOPIC, seq)).entries == []

    async def test_topics_do_not_pile_up(self, bus: MemoryBus, clock: ManualClock) -> None:
        for number in range(1000):
            await bus.subscribe(f"call:{number}", lambda _: None)
            await bus.unsubscribe(f"call:{number}")
            clock.advance(IDLE_SECONDS / 10)
        assert len(bus._topics) <= 11

    async def test_seq_does_not_go_back_when_a_topic_is_made_again(self, bus: MemoryBus, clock: ManualClock) -> None:
        seqs = await published(bus, *numbered(1000))
        clock.advance(IDLE_SECONDS)
        await self.seq_of_next(bus, OTHER)
        assert await self.seq_of_next(bus) > seqs[-1]

    async def test_nor_after_a_restart(self, bus: MemoryBus, clock: ManualClock) -> None:
        seqs = await published(bus, *numbered(1000))
        clock.advance(0.01)
        assert await self.seq_of_next(MemoryBus(clock)) > seqs[-1]
        assert seqs[0] == unix_microseconds(ManualClock().now()) + 1
