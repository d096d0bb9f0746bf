"""`make cluster`: start it, say where everything is, and end all of it on Ctrl-C."""

import asyncio
import resource
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from secureconnect.config import Settings
from secureconnect.server import SPARE_FILES
from tests.cluster import Cluster, running_cluster
from tests.fakes.ports import free_port
from tests.fakes.prometheus import Prometheus
from tests.fakes.server import SECRET

GATEWAY_PORT = 8443
PROMETHEUS_PORT = 9095
console = Console()


async def main() -> int:
    """Run until told to stop."""
    stop = asyncio.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, stop.set)
    with tempfile.TemporaryDirectory(prefix="secureconnect-cluster-") as folder:
        limits = {"connections_per_address": 50_000, "requests_per_address": 1_000_000, "requests_per_subject": 100_000}
        async with (
            running_cluster(
                Path(folder),
                gateway_port=free_port(GATEWAY_PORT),
                gateway_limits=limits,
                TURN="auto",
                # The gateway's are wide, too: `bench` speaks for many from one address, and faster than anybody may.
                RATE_LIMITS="off",
                MAX_SOCKETS=str(max_sockets()),
            ) as cluster,
            Prometheus([node.metrics_port for node in cluster.nodes], port=free_port(PROMETHEUS_PORT)) as prometheus,
        ):
            _say(cluster, prometheus)
            await stop.wait()
            console.print("ending …")
    return 0


def max_sockets() -> int:
    """What a node may hold here: as many as it would by itself, or as this machine lets a process open."""
    wanted = int(Settings.model_fields["max_sockets"].default)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard - SPARE_FILES)


def _say(cluster: Cluster, prometheus: Prometheus) -> None:
    nodes = " ".join(one.url for one in cluster.nodes)
    console.print(
        f"""[bold]SecureConnect, {len(cluster.nodes)} nodes behind HAProxy[/]
  gateway     {cluster.url}   (its certificate signed itself: {cluster.gateway.certificate})
  nodes       {nodes}
  PostgreSQL  {cluster.database_url}
  Redis       {cluster.redis.url}
  Prometheus  {prometheus.url}   (/alerts has the rules, /targets the nodes)
  admin       {cluster.gateway.admin}   (show stat · set server video/video1 state drain · … ready)

Ask it:
  export SECURECONNECT_JWT_SECRET={SECRET} SSL_CERT_FILE={cluster.gateway.certificate}
  export SECURECONNECT_DATABASE_URL={cluster.database_url} SECURECONNECT_BUS_URL={cluster.redis.url}
  export SECURECONNECT_MAX_SOCKETS={max_sockets()}
  .venv/bin/secureconnect bench calls --url {cluster.url}     (or relay, initiates; nothing is limited here)
  .venv/bin/secureconnect doctor --port {cluster.nodes[0].port}

Ctrl-C ends all of it.""",
        highlight=False,
        soft_wrap=True,
    )


sys.exit(asyncio.run(main()))
