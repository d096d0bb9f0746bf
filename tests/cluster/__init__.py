"""The whole cluster from Debian's packages, without containers: PostgreSQL, Redis, nodes, and HAProxy as we ship it before them.

`make cluster` runs it for people (`python -m tests.cluster`); scenarios run on it too.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from secureconnect.store import open_database
from secureconnect.store.schema import migrate
from tests.fakes.haproxy import Gateway
from tests.fakes.postgres import PostgresServer
from tests.fakes.redis import KEPT, RedisServer
from tests.fakes.server import ServerProcess

NODES = 3


class Cluster:
    """What runs, by name. Each part may be stopped and started by a test."""

    def __init__(self, postgres: PostgresServer, redis: RedisServer, nodes: list[ServerProcess], gateway: Gateway) -> None:
        self.postgres = postgres
        self.redis = redis
        self.nodes = nodes
        self.gateway = gateway

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
    **settings: str,
) -> AsyncIterator[Cluster]:
    """So many nodes on one PostgreSQL and one Redis behind one gateway, all answering; taken down in the other order."""
    with ExitStack() as stack:
        postgres, redis = PostgresServer(), RedisServer(*KEPT, directory=folder / "redis")
        (folder / "redis").mkdir()
        stack.callback(postgres.close)
        postgres.start()
        redis.start()
        stack.callback(redis.stop)
        database = open_database(postgres.url)
        await migrate(database)
        await database.close()
        settings = {"DATABASE_URL": postgres.url, "BUS_URL": redis.url, "DRAIN_SECONDS": "2", **settings}
        processes = [ServerProcess(folder / f"node{number}", **settings) for number in range(1, nodes + 1)]
        try:
            await asyncio.gather(*(one.start() for one in processes))
            async with Gateway([one.port for one in processes], port=gateway_port, **gateway_limits or {}) as gateway:
                yield Cluster(postgres, redis, processes, gateway)
        finally:
            await asyncio.gather(*(one.stop() for one in processes if one.is_running))
