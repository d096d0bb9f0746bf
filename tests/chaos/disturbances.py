"""What is done to the cluster, each by its name. A disturbance returns once what it took away is there again."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx2
from msgspec import Struct, field

from tests.chaos.network import Network
from tests.cluster import Cluster, Stores
from tests.fakes.server import ServerProcess

READY_SECONDS = 60.0
HEALTH_SECONDS = 5.0
"""How soon /health must tell of a store that refuses, and of one that is there again."""


class Stage(Struct, frozen=True):
    """What a disturbance may lay hands on. `pace` shortens the times that it lasts: less than 1 is for a short form."""

    cluster: Cluster
    network: Network
    pace: float
    faults: list[str] = field(default_factory=list)
    """What a disturbance itself finds wrong."""

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self.pace)

    async def expect_health(self, status: str) -> None:
        """Note a fault for each node whose /health does not say so in time."""
        await asyncio.gather(*(self._expect_health(node, status) for node in self.cluster.nodes))

    async def _expect_health(self, node: ServerProcess, status: str) -> None:
        found = "nothing"
        async with httpx2.AsyncClient(base_url=node.url, trust_env=False, timeout=HEALTH_SECONDS) as http:
            try:
                async with asyncio.timeout(HEALTH_SECONDS):
                    while found != status:
                        found = str((await http.get("/health")).json()["status"])
                        await asyncio.sleep(0.1)
            except (TimeoutError, httpx2.HTTPError) as failure:
                self.faults.append(f"{node.url}: /health says {found} and not {status}: {failure!r}")


class Disturbance(Struct, frozen=True):
    """One kind of disturbance. `what` describes it in the table."""

    name: str
    what: str
    do: Callable[[Stage], Awaitable[None]]
    forgets: bool = False
    """Whether it takes from the cluster what it remembers: then sockets may come back to a fresh start, and talk is void."""
    stores: Stores = "single"
    """What the nodes must run on for it."""


def _busiest(stage: Stage) -> ServerProcess:
    """The node with most connections: one that was started a moment ago has hardly any, and nobody would miss it."""
    return max(stage.cluster.nodes, key=lambda node: len(stage.network.clients_of(node.port)))


async def kill_node(stage: Stage) -> None:
    node = _busiest(stage)
    await node.kill()
    await stage.wait(2)
    await node.start()
    await _all_ready(stage)


async def stop_node(stage: Stage) -> None:
    node = _busiest(stage)
    node.pause()
    try:
        await stage.wait(20)
    finally:
        node.resume()
    await _all_ready(stage)


async def kill_redis(stage: Stage) -> None:
    await asyncio.to_thread(stage.cluster.redis.stop)
    await stage.wait(2)
    await asyncio.to_thread(stage.cluster.redis.start)
    await _all_ready(stage)


async def empty_redis(stage: Stage) -> None:
    await asyncio.to_thread(stage.cluster.redis.stop)
    await asyncio.to_thread(stage.cluster.redis.forget)
    await stage.wait(2)
    await asyncio.to_thread(stage.cluster.redis.start)
    await _all_ready(stage)


async def cut_redis(stage: Stage) -> None:
    with stage.network.unreachable(stage.cluster.redis.port):
        await stage.wait(30)
    await _all_ready(stage)


async def kill_postgres(stage: Stage) -> None:
    await asyncio.to_thread(stage.cluster.postgres.kill)
    await stage.wait(2)
    await asyncio.to_thread(stage.cluster.postgres.start)
    await _all_ready(stage)


async def stall_postgres(stage: Stage) -> None:
    stage.cluster.postgres.pause()
    try:
        await stage.wait(10)
    finally:
        stage.cluster.postgres.resume()
    await _all_ready(stage)


async def reload_gateway(stage: Stage) -> None:
    await stage.cluster.gateway.reload()
    await _all_ready(stage)


async def roll(stage: Stage) -> None:
    """Every process of the cluster, one after the other, each asked to end."""
    cluster = stage.cluster
    for node in cluster.nodes:
        await node.stop()
        await node.start()
        await _all_ready(stage)
    await cluster.gateway.reload()
    await asyncio.to_thread(cluster.redis.restart)
    await _all_ready(stage)
    await asyncio.to_thread(cluster.postgres.stop)
    await asyncio.to_thread(cluster.postgres.start)
    await _all_ready(stage)


async def cut_sockets(stage: Stage) -> None:
    """A third of the clients' connections is reset, of another third nothing arrives for a while."""
    port, network = stage.cluster.gateway.port, stage.network
    ports = network.clients_of(port)
    third = len(ports) // 3
    network.reset(port, (ports[0], ports[third]))
    with network.unreachable(port, (ports[third + 1], ports[2 * third])):
        await stage.wait(10)


async def switch_postgres(stage: Stage) -> None:
    """A planned switch-over: connections to the primary of before stay open, and it refuses their writes."""
    pair = stage.cluster.postgres_pair
    await asyncio.to_thread(pair.switch_over)
    await stage.expect_health("healthy")
    await stage.wait(2)
    await asyncio.to_thread(pair.follow)
    await _all_ready(stage)


async def refuse_writes(stage: Stage) -> None:
    pair = stage.cluster.postgres_pair
    await asyncio.to_thread(pair.refuse_writes)
    await stage.expect_health("degraded")
    await stage.wait(10)
    await asyncio.to_thread(pair.take_writes)
    await stage.expect_health("healthy")
    await _all_ready(stage)


async def switch_redis(stage: Stage) -> None:
    """A planned switch-over: connections to the master of before stay open, and it is a replica."""
    pair = stage.cluster.redis_pair
    await asyncio.to_thread(pair.switch_over)
    await stage.expect_health("healthy")
    await stage.wait(2)
    await asyncio.to_thread(pair.follow)
    await _all_ready(stage)


async def fail_redis_over(stage: Stage) -> None:
    pair = stage.cluster.redis_pair
    await asyncio.to_thread(pair.fail_over)
    await stage.expect_health("healthy")
    await stage.wait(2)
    await asyncio.to_thread(pair.follow)
    await _all_ready(stage)


async def switch_sentinel(stage: Stage) -> None:
    sentinels = stage.cluster.sentinels
    await asyncio.to_thread(sentinels.fail_over)
    await stage.expect_health("healthy")
    await stage.wait(2)
    await asyncio.to_thread(sentinels.until_followed)
    await _all_ready(stage)


async def fill_disk(stage: Stage) -> None:
    (node,) = stage.cluster.nodes
    await asyncio.to_thread(node.fill_disk)
    try:
        await stage.expect_health("degraded")
        await stage.wait(20)
    finally:
        node.free_disk()
    await stage.expect_health("healthy")
    await _all_ready(stage)


async def _all_ready(stage: Stage) -> None:
    """Return when the gateway sends requests to every node. Raises TimeoutError when that does not come about."""
    async with asyncio.timeout(READY_SECONDS):
        await stage.cluster.gateway.until_all_up()


ALL = (
    Disturbance("kill-node", "a node killed (SIGKILL), started again after 2 s", kill_node),
    Disturbance("stop-node", "a node stopped (SIGSTOP) for 20 s", stop_node),
    Disturbance("kill-redis", "Redis killed, started again after 2 s", kill_redis),
    Disturbance("empty-redis", "the same, and what it kept is gone", empty_redis, forgets=True),
    Disturbance("cut-redis", "Redis unreachable for 30 s: packets vanish", cut_redis),
    Disturbance("kill-postgres", "PostgreSQL killed, started again after 2 s", kill_postgres),
    Disturbance("stall-postgres", "PostgreSQL stopped (SIGSTOP) for 10 s", stall_postgres),
    Disturbance("reload-gateway", "HAProxy reloaded", reload_gateway),
    Disturbance("roll", "everything restarted: each node, HAProxy, Redis, PostgreSQL", roll),
    Disturbance("cut-sockets", "a third of all client sockets reset, a third without packets for 10 s", cut_sockets),
    Disturbance(
        "switch-postgres", "PostgreSQL switched over to its standby, the old primary read-only", switch_postgres, stores="pair"
    ),
    Disturbance("refuse-writes", "PostgreSQL read-only for 10 s", refuse_writes, stores="pair"),
    Disturbance("switch-redis", "Redis switched over to its replica behind one address", switch_redis, stores="pair"),
    Disturbance(
        "fail-redis-over", "a Redis master killed, its replica promoted behind one address", fail_redis_over, stores="pair"
    ),
    Disturbance("switch-sentinel", "Redis switched over by its sentinels", switch_sentinel, stores="sentinel"),
    Disturbance("fill-disk", "one node with SQLite, its disk full for 20 s", fill_disk, stores="sqlite"),
)
