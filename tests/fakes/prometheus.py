"""A real Prometheus with the configuration and rules that we ship, on a free loopback port. Debian's package; nothing is kept."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import yaml

from tests.fakes.program import Program

SHIPPED = Path(__file__).parents[2] / "deploy/prometheus"


class Prometheus(Program):
    """It asks for metrics at these ports of localhost, every `interval` (a duration as Prometheus writes it)."""

    name = "prometheus"
    start_seconds = 20.0
    does_not_start = "prometheus does not start"

    def __init__(self, nodes: Sequence[int], *, port: int | None = None, interval: str = "10s") -> None:
        super().__init__(port)
        configuration = (SHIPPED / "prometheus.yml").read_text().replace("_interval: 10s", f"_interval: {interval}")
        if interval != "10s":
            configuration = configuration.replace("scrape_timeout: 5s", f"scrape_timeout: {interval}")
        (self.folder / "prometheus.yml").write_text(configuration)
        shutil.copy(SHIPPED / "alerts.yml", self.folder)
        (self.folder / "targets").mkdir()
        targets = [{"targets": [f"localhost:{node}" for node in nodes]}]
        (self.folder / "targets/cluster.yml").write_text(yaml.safe_dump(targets))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def command(self) -> Sequence[str]:
        return (
            self.name,
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        )

    async def ask(self, path: str, **query: str) -> Any:
        """What its API answers under `/api/v1/` (https://prometheus.io/docs/prometheus/latest/querying/api/)."""
        async with httpx2.AsyncClient(trust_env=False) as http:
            answer = json.loads((await http.get(f"{self.url}/api/v1/{path}", params=query)).content)
        assert answer["status"] == "success", answer
        return answer["data"]

    async def until_ready(self) -> None:
        async with httpx2.AsyncClient(trust_env=False) as http:
            while True:
                with contextlib.suppress(httpx2.TransportError):
                    if (await http.get(f"{self.url}/-/ready")).status_code == 200:
                        return
                await asyncio.sleep(0.05)  # it can only be asked
