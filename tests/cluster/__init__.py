"""The whole cluster from Debian's packages, without containers: PostgreSQL, Redis, nodes, and HAProxy as we ship it before them.

`make cluster` runs it for people (`python -m tests.cluster`); scenarios run on it too.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from tests.fakes.haproxy import SHIPPED, Gateway
from tests.fakes.postgres import PostgresServer
from tests.fakes.redis import KEPT, RedisServer
from tests.fakes.server import SECRET, ServerProcess

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
    gateway_configuration: Path = SHIPPED,
    python: str = sys.executable,
    **settings: str,
) -> AsyncIterator[Cluster]:
    """Run nodes on one PostgreSQL and one Redis behind one gateway, all answering, and take them down in reverse order.

    `python` is the interpreter of the version that makes the schema and runs on the nodes.
    """
    with ExitStack() as stack:
        postgres, redis = PostgresServer(), RedisServer(*KEPT, directory=folder / "redis")
        (folder / "redis").mkdir()
        stack.callback(postgres.close)
        postgres.start()
        redis.start()
        stack.callback(redis.stop)
        await migrate(postgres.url, python=python)
        settings = {"DATABASE_URL": postgres.url, "BUS_URL": redis.url, "DRAIN_SECONDS": "2", **settings}
        processes = [ServerProcess(folder / f"node{number}", python=python, **settings) for number in range(1, nodes + 1)]
        try:
            await asyncio.gather(*(one.start() for one in processes))
            gateway = Gateway([node.port for node in processes], port=gateway_port, **gateway_limits or {})
            gateway.configure(gateway_configuration)
            async with gateway:
                yield Cluster(postgres, redis, processes, gateway)
        finally:
            await asyncio.gather(*(one.stop() for one in processes if one.is_running))


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
