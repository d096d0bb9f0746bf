"""The whole cluster from Debian's packages, without containers: PostgreSQL, Redis, nodes, and HAProxy as we ship it before them.

`make cluster` runs it for people (`python -m tests.cluster`); scenarios run on it too.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

from tests.cluster.pairs import PostgresPair, RedisPair
from tests.fakes.haproxy import SHIPPED, Gateway
from tests.fakes.postgres import PostgresServer
from tests.fakes.redis import KEPT, RedisSentinels, RedisServer
from tests.fakes.server import SECRET, ServerProcess

NODES = 3


Stores = Literal["single", "pair", "sentinel", "sqlite"]
"""What the nodes run on: PostgreSQL and Redis; a pair of each behind one address; PostgreSQL and Redis with sentinels; or one node
alone, with SQLite on a small file system."""
DISK_MIB = 64


class Cluster:
    """What runs, by name. Each part may be stopped and started by a test. A part that such a cluster lacks is None."""

    def __init__(
        self,
        nodes: list[ServerProcess],
        gateway: Gateway,
        *,
        postgres: PostgresServer | PostgresPair | None,
        redis: RedisServer | RedisPair | RedisSentinels | None,
    ) -> None:
        self.nodes = nodes
        self.gateway = gateway
        self._postgres = postgres
        self._redis = redis

    @property
    def postgres(self) -> PostgresServer:
        assert isinstance(self._postgres, PostgresServer)
        return self._postgres

    @property
    def postgres_pair(self) -> PostgresPair:
        assert isinstance(self._postgres, PostgresPair)
        return self._postgres

    @property
    def redis(self) -> RedisServer:
        assert isinstance(self._redis, RedisServer)
        return self._redis

    @property
    def redis_pair(self) -> RedisPair:
        assert isinstance(self._redis, RedisPair)
        return self._redis

    @property
    def sentinels(self) -> RedisSentinels:
        assert isinstance(self._redis, RedisSentinels)
        return self._redis

    @property
    def database_url(self) -> str:
        return self.postgres.url

    @property
    def url(self) -> str:
        return self.gateway.url


@asynccontextmanager
async def running_cluster(
    folder: Path,
    *,
    nodes: int = NODES,
    gateway_port: int | None = None,
    gateway_limits: dict[str, int] | None = None,
    gateway_configuration: Path = SHIPPED,
    python: str = sys.executable,
    stores: Stores = "single",
    **settings: str,
) -> AsyncIterator[Cluster]:
    """Run nodes on their stores behind one gateway, all answering, and take them down in reverse order.

    `python` is the interpreter of the version that makes the schema and runs on the nodes.
    """
    async with AsyncExitStack() as stack:
        postgres, redis = await _begin_stores(stores, folder, stack)
        settings = {"DRAIN_SECONDS": "2", **settings}
        if postgres is not None and redis is not None:
            await migrate(postgres.url, python=python)
            settings = {"DATABASE_URL": postgres.url, "BUS_URL": redis.url, **settings}
        count = 1 if stores == "sqlite" else nodes
        processes = [ServerProcess(folder / f"node{number}", python=python, **settings) for number in range(1, count + 1)]
        for process in processes:
            process.disk_mib = DISK_MIB if stores == "sqlite" else None
        try:
            await asyncio.gather(*(one.start() for one in processes))
            gateway = Gateway([node.port for node in processes], port=gateway_port, **gateway_limits or {})
            gateway.configure(gateway_configuration)
            async with gateway:
                yield Cluster(processes, gateway, postgres=postgres, redis=redis)
        finally:
            await asyncio.gather(*(one.stop() for one in processes if one.is_running))


async def _begin_stores(
    stores: Stores, folder: Path, stack: AsyncExitStack
) -> tuple[PostgresServer | PostgresPair | None, RedisServer | RedisPair | RedisSentinels | None]:
    """Start what the nodes need; the stack ends it."""
    if stores == "sqlite":
        return None, None
    if stores == "pair":
        return await stack.enter_async_context(PostgresPair()), await stack.enter_async_context(RedisPair(folder / "redis"))
    postgres = PostgresServer()
    stack.callback(postgres.close)
    postgres.start()
    if stores == "sentinel":
        sentinels = RedisSentinels(down_after=10_000)  # it is switched over by hand; a busy machine must not be taken for it
        stack.callback(sentinels.stop)
        await asyncio.to_thread(sentinels.start)
        return postgres, sentinels
    (folder / "redis").mkdir()
    redis = RedisServer(*KEPT, directory=folder / "redis")
    redis.start()
    stack.callback(redis.stop)
    return postgres, redis


async def migrate(database_url: str, *, python: str = sys.executable) -> None:
    """Bring the schema to the version whose interpreter `python` is. Raises RuntimeError with what it printed."""
    environment = os.environ | {"SECURECONNECT_DATABASE_URL": database_url, "SECURECONNECT_JWT_SECRET": SECRET}
    process = await asyncio.create_subprocess_exec(
        *(python, "-m", "secureconnect", "migrate"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"the schema was not migrated:\n{printed.decode()}")
