"""Redis answers and refuses: a replica, no memory, no disk, too few replicas, another password. Nothing is lost, probes know."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from secureconnect.bus import Entry
from secureconnect.bus.redis.bus import WATCH_SECONDS, RedisBus
from secureconnect.bus.redis.counts import RedisCounts
from secureconnect.clock import SystemClock
from secureconnect.errors import Unavailable
from tests.contract.test_bus_redis import TOPIC, node, until
from tests.fakes.redis import RedisServer, wait_until
from tests.fakes.switch import Switch

pytestmark = pytest.mark.anyio
HEALTH_SECONDS = 5.0


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(directory=tmp_path)
    server.start()
    yield server
    server.stop()


def be_replica(redis: RedisServer) -> None:
    redis.command("REPLICAOF", "127.0.0.1", "1")


def be_master(redis: RedisServer) -> None:
    redis.command("REPLICAOF", "NO", "ONE")


def lose_memory(redis: RedisServer) -> None:
    redis.command("CONFIG", "SET", "maxmemory", "1")


def have_memory(redis: RedisServer) -> None:
    redis.command("CONFIG", "SET", "maxmemory", "0")


def lose_replicas(redis: RedisServer) -> None:
    redis.command("CONFIG", "SET", "min-replicas-to-write", "1")


def need_no_replicas(redis: RedisServer) -> None:
    redis.command("CONFIG", "SET", "min-replicas-to-write", "0")


def lose_disk(redis: RedisServer) -> None:
    """A snapshot that cannot be written: from then on it refuses writes (MISCONF)."""
    redis.command("CONFIG", "SET", "stop-writes-on-bgsave-error", "yes", "save", "3600 1")
    snapshot = Path(redis.command("CONFIG", "GET", "dir").split()[1], "dump.rdb")
    snapshot.mkdir()
    (snapshot / "in the way").touch()
    redis.command("BGSAVE")
    wait_until(lambda: "rdb_last_bgsave_status:err" in redis.command("INFO", "persistence"), "the snapshot fails")


def have_disk(redis: RedisServer) -> None:
    redis.command("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")


STATES: dict[str, tuple[Callable[[RedisServer], None], Callable[[RedisServer], None]]] = {
    "READONLY": (be_replica, be_master),
    "OOM": (lose_memory, have_memory),
    "NOREPLICAS": (lose_replicas, need_no_replicas),
    "MISCONF": (lose_disk, have_disk),
}


async def until_ping(bus: RedisBus, *, works: bool) -> None:
    async with asyncio.timeout(HEALTH_SECONDS):
        while True:
            try:
                await bus.ping()
            except Unavailable:
                if not works:
                    return
            else:
                if works:
                    return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("state", STATES)
async def test_what_is_said_while_redis_refuses_arrives_afterwards(redis: RedisServer, state: str) -> None:
    heard: list[Entry] = []
    acknowledged: list[int] = []
    refuse, recover = STATES[state]
    async with node(redis, "a") as a, node(redis, "b") as b:
        await b.subscribe(TOPIC, heard.append)
        a.publish(TOPIC, b'{"n":0}', acknowledge=acknowledged.append)
        await until(lambda: len(heard) == 1)
        await a.ping()
        refuse(redis)
        await until_ping(a, works=False)
        for number in range(1, 10):
            assert a.publish(TOPIC, b'{"n":%d}' % number, acknowledge=acknowledged.append)
        await asyncio.sleep(0.5)
        assert len(acknowledged) == 1
        recover(redis)
        await until_ping(a, works=True)
        await until(lambda: len(heard) == 10)
        await until(lambda: len(acknowledged) == 10)
    assert [entry.body for entry in heard] == [b'{"n":%d}' % number for number in range(10)]
    assert [entry.seq for entry in heard] == acknowledged


async def test_a_password_that_changes_is_a_refusal_that_passes(redis: RedisServer) -> None:
    heard: list[Entry] = []
    async with node(redis, "a") as a:
        await a.subscribe(TOPIC, heard.append)
        redis.command("ACL", "SETUSER", "default", "resetpass", ">secret")
        redis.command("--no-auth-warning", "-a", "secret", "CLIENT", "KILL", "TYPE", "normal")
        await until_ping(a, works=False)
        a.publish(TOPIC, b"{}")
        redis.command("--no-auth-warning", "-a", "secret", "ACL", "SETUSER", "default", "nopass")
        await until_ping(a, works=True)
        await until(lambda: len(heard) == 1)


async def test_connections_to_a_master_of_before_are_replaced() -> None:
    """The address leads to the replica that was promoted; the old master follows it, and keeps what is open."""
    first = RedisServer("--repl-diskless-sync-delay", "0")
    first.start()
    second = RedisServer("--repl-diskless-sync-delay", "0", "--replicaof", f"127.0.0.1 {first.port}")
    second.start()
    heard: list[Entry] = []
    try:
        wait_until(lambda: "master_link_status:up" in second.command("INFO", "replication"), "the replica follows")
        async with Switch(first.port) as switch:
            url = f"redis://127.0.0.1:{switch.port}"
            a, b = RedisBus(url, SystemClock(), "a"), RedisBus(url, SystemClock(), "b")
            running = [asyncio.create_task(bus.run()) for bus in (a, b)]
            counts = RedisCounts(url)
            await b.subscribe(TOPIC, heard.append)
            a.publish(TOPIC, b'{"n":0}')
            await until(lambda: len(heard) == 1)
            await counts.hit([("key", 5, 60.0)], 0.0)
            second.command("REPLICAOF", "NO", "ONE")
            first.command("REPLICAOF", "127.0.0.1", str(second.port))
            switch.lead_to(second.port, cut=False)
            # `b` publishes nothing: it must notice that where it listens no one speaks any more.
            for number in range(1, 20):
                a.publish(TOPIC, b'{"n":%d}' % number)
                await asyncio.sleep(WATCH_SECONDS / 10)
            await until(lambda: len(heard) == 20, seconds=3 * WATCH_SECONDS)
            await until_ping(a, works=True)
            await until_ping(b, works=True)
            async with asyncio.timeout(HEALTH_SECONDS):
                while True:
                    try:
                        await counts.hit([("key", 5, 60.0)], 0.0)
                    except Unavailable:
                        await asyncio.sleep(0.05)
                    else:
                        break
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            for part in (a, b, counts):
                await part.close()
    finally:
        second.stop()
        first.stop()
    assert [entry.body for entry in heard] == [b'{"n":%d}' % number for number in range(20)]


async def test_what_a_master_did_not_pass_on_is_sent_to_the_next_one() -> None:
    """It was acknowledged and heard. Who comes back must find it in the log, and who heard it hears it once."""
    first = RedisServer("--repl-diskless-sync-delay", "0")
    first.start()
    second = RedisServer("--repl-diskless-sync-delay", "0", "--replicaof", f"127.0.0.1 {first.port}")
    second.start()
    heard: list[Entry] = []
    acknowledged: list[int] = []
    try:
        wait_until(lambda: "master_link_status:up" in second.command("INFO", "replication"), "the replica follows")
        async with Switch(first.port) as switch:
            bus = RedisBus(f"redis://127.0.0.1:{switch.port}", SystemClock(), "a")
            running = asyncio.create_task(bus.run())
            await bus.subscribe(TOPIC, heard.append)
            bus.publish(TOPIC, b'{"n":0}', acknowledge=acknowledged.append)
            await until(lambda: len(heard) == 1)
            wait_until(lambda: second.command("EXISTS", "{" + TOPIC + "}:head").strip() == "1", "the replica has it")
            second.command("REPLICAOF", "NO", "ONE")  # from here on it gets nothing
            for number in (1, 2):
                bus.publish(TOPIC, b'{"n":%d}' % number, retain=(f"{number}", b"{}"), acknowledge=acknowledged.append)
            await until(lambda: len(acknowledged) == len(heard) == 3)
            first.stop()
            switch.lead_to(second.port, cut=True)
            bus.publish(TOPIC, b'{"n":3}')
            await until(lambda: len(heard) == 4)
            backlog = await bus.read(TOPIC, acknowledged[0])
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await bus.close()
    finally:
        second.stop()
    assert backlog.entries is not None
    assert [entry.body for entry in backlog.entries] == [b'{"n":%d}' % number for number in (1, 2, 3)]
    assert set(backlog.retained) == {"1", "2"}
    assert [entry.body for entry in heard] == [b'{"n":%d}' % number for number in range(4)]


async def test_a_subscriber_with_a_fault_keeps_no_other_from_hearing(redis: RedisServer) -> None:
    heard: list[Entry] = []

    def fail(_entry: Entry) -> None:
        raise LookupError("a fault of a subscriber")

    async with node(redis, "a") as a:
        await a.subscribe("call:bad", fail)
        await a.subscribe(TOPIC, heard.append)
        for number in range(5):
            a.publish("call:bad", b"{}")
            a.publish(TOPIC, b'{"n":%d}' % number)
        await until(lambda: len(heard) == 5)
