"""A server of the bus dies, forgets, or hands its topics over, while nodes publish: everything arrives, once and in order.

Redis replicates after it has answered. What a master took with it that its replica never got is gone from the log; here a test
waits for the replica before it ends the master, or looks at exactly that loss.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from secureconnect.bus import Bus, Entry
from secureconnect.bus.redis.topics import slot_of
from secureconnect.errors import Unavailable
from tests.contract.test_bus_redis import TOPIC, node, until
from tests.fakes.redis import RedisCluster, RedisSentinels, RedisServer

pytestmark = pytest.mark.anyio
CHANNEL = "{" + TOPIC + "}"


def numbered(first: int, last: int) -> list[bytes]:
    return [b'{"n":%d}' % number for number in range(first, last)]


def publish(bus: Bus, topic: str, first: int, last: int) -> None:
    for body in numbered(first, last):
        assert bus.publish(topic, body)


def bodies(heard: list[Entry]) -> list[bytes]:
    return [one.body for one in heard]


def is_rising(heard: list[Entry]) -> bool:
    seqs = [one.seq for one in heard]
    return seqs == sorted(set(seqs))


@pytest.fixture
def sentinels() -> Iterator[RedisSentinels]:
    servers = RedisSentinels()
    servers.start()
    yield servers
    servers.stop()


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    servers = RedisCluster(replicas=1, node_timeout=1_500)
    servers.start()
    yield servers
    servers.stop()


async def until_replicated(master: RedisServer) -> None:
    """Return when a replica has all that the master wrote until now. WAIT on a connection of its own would not say so."""
    written = int(replication(master)["master_repl_offset"])
    await until(lambda: int(dict(pair.split("=") for pair in replication(master)["slave0"].split(","))["offset"]) >= written)


def replication(master: RedisServer) -> dict[str, str]:
    """What a master says of its replicas (INFO, section replication)."""
    lines = master.command("INFO", "replication").splitlines()
    return dict(line.strip().split(":", 1) for line in lines if ":" in line)


async def test_a_replica_that_takes_over_goes_on_where_the_master_was(sentinels: RedisSentinels) -> None:
    here: list[Entry] = []
    there: list[Entry] = []
    async with node(sentinels, "a") as a, node(sentinels, "b") as b:
        await a.subscribe(TOPIC, here.append)
        await b.subscribe(TOPIC, there.append)
        publish(a, TOPIC, 0, 50)
        await until(lambda: len(there) == 50)
        await until_replicated(sentinels.master)
        sentinels.master.stop()
        publish(a, TOPIC, 50, 100)
        await until(lambda: len(here) == len(there) == 100, seconds=40)
        backlog = await b.read(TOPIC, here[0].seq)
    assert here == there
    assert bodies(here) == numbered(0, 100)
    assert is_rising(here)
    assert backlog.entries == here[1:]
    sentinels.master.start()


async def test_seqs_that_a_server_has_forgotten_are_not_given_again(tmp_path: Path) -> None:
    """It comes back with what it had some entries ago, as a replica does that was behind."""
    server = RedisServer("--dbfilename", "kept.rdb", directory=tmp_path)
    server.start()
    here: list[Entry] = []
    there: list[Entry] = []
    async with node(server, "a") as a, node(server, "b") as b:
        await a.subscribe(TOPIC, here.append)
        await b.subscribe(TOPIC, there.append)
        publish(a, TOPIC, 0, 3)
        await until(lambda: len(there) == 3)
        server.command("SAVE")
        publish(a, TOPIC, 3, 6)
        await until(lambda: len(here) == len(there) == 6)
        server.stop()
        server.start()
        publish(a, TOPIC, 6, 9)
        publish(b, TOPIC, 9, 12)
        await until(lambda: len(here) == len(there) == 12)
    server.stop()
    assert here == there
    assert bodies(here[:6]) == numbered(0, 6)
    assert sorted(bodies(here[6:])) == sorted(numbered(6, 12))
    assert is_rising(here)


async def test_one_master_of_a_cluster_dies(cluster: RedisCluster) -> None:
    """Topics of the others do not notice; its own wait, and go on at the replica that takes its place."""
    master = cluster.master_of(CHANNEL)
    other = next(name for name in (f"call:{n}" for n in range(100)) if cluster.master_of("{" + name + "}") is not master)
    heard: dict[str, list[Entry]] = {TOPIC: [], other: []}
    async with node(cluster, "a") as a, node(cluster, "b") as b:
        for topic, entries in heard.items():
            await b.subscribe(topic, entries.append)
            publish(a, topic, 0, 50)
        await until(lambda: all(len(entries) == 50 for entries in heard.values()))
        await until_replicated(master)
        master.stop()
        for topic in heard:
            publish(a, topic, 50, 100)
        await until(lambda: len(heard[other]) == 100)
        await until(lambda: len(heard[TOPIC]) == 100, seconds=40)
        assert (await b.read(TOPIC, heard[TOPIC][0].seq)).entries == heard[TOPIC][1:]
    for entries in heard.values():
        assert bodies(entries) == numbered(0, 100)
        assert is_rising(entries)
    master.start()
    await until(cluster.is_whole, seconds=40)


async def test_a_slot_moves_from_one_master_to_another(cluster: RedisCluster) -> None:
    """Key by key, while its topic is written. What needs keys on both sides waits until all are on one, which Redis asks for; then
    the node goes after them, and listens where they are.
    """
    source = cluster.master_of(CHANNEL)
    target = next(one for one in cluster.masters() if one is not source)
    slot, source_id, target_id = str(slot_of(TOPIC)), *(one.command("CLUSTER", "MYID").strip() for one in (source, target))
    heard: list[Entry] = []
    async with node(cluster, "c") as a, node(cluster, "d") as b:
        await b.subscribe(TOPIC, heard.append)
        publish(a, TOPIC, 0, 20)
        await until(lambda: len(heard) == 20)
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        for number, key in enumerate(source.command("CLUSTER", "GETKEYSINSLOT", slot, "100").split()):
            publish(a, TOPIC, 20 + 20 * number, 40 + 20 * number)
            source.command("MIGRATE", "127.0.0.1", str(target.port), key, "0", "5000")
        moving = 20 + 20 * (number + 1)
        publish(a, TOPIC, moving, moving + 20)
        for one in (target, source):
            one.command("CLUSTER", "SETSLOT", slot, "NODE", target_id)
        publish(a, TOPIC, moving + 20, moving + 40)
        await until(lambda: len(heard) == moving + 40)
        assert (await b.read(TOPIC, heard[0].seq)).entries == heard[1:]
    assert bodies(heard) == numbered(0, moving + 40)
    assert is_rising(heard)


async def test_what_is_published_before_anything_is_there_waits() -> None:
    """Nodes may start before their Redis; nothing is lost for that, and health says so meanwhile."""
    servers = RedisCluster()
    heard: list[Entry] = []
    async with node(servers, "a") as a, node(servers, "b") as b:
        publish(a, TOPIC, 0, 10)
        with pytest.raises(Unavailable):
            await a.ping()
        with pytest.raises(Unavailable):
            await b.read(TOPIC)
        await until(lambda: a.figures().lag > 0.1)
        servers.start()
        await a.flush()
        await b.subscribe(TOPIC, heard.append)
        publish(a, TOPIC, 10, 20)
        await until(lambda: len(heard) == 10)
        assert bodies((await b.read(TOPIC, heard[0].seq - 10)).entries or []) == numbered(1, 20)
        await a.ping()
    servers.stop()
