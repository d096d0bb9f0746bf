"""A real Prometheus with the configuration and rules that we ship, on a free loopback port. Debian's package; nothing is kept."""

import asyncio
import contextlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2
import yaml

from tests.fakes.ports import free_port

SHIPPED = Path(__file__).parents[2] / "deploy/prometheus"
START_SECONDS = 20.0


class Prometheus:
    """It asks the nodes at these ports of localhost, every `interval` (a duration as Prometheus writes it)."""

    def __init__(self, nodes: Sequence[int], *, port: int | None = None, interval: str = "10s") -> None:
        if shutil.which("prometheus") is None:
            raise RuntimeError("prometheus is not installed: run tests/engines")
        self.port = port or free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="secureconnect-prometheus-"))
        configuration = (SHIPPED / "prometheus.yml").read_text().replace("_interval: 10s", f"_interval: {interval}")
        if interval != "10s":
            configuration = configuration.replace("scrape_timeout: 5s", f"scrape_timeout: {interval}")
        (self._folder / "prometheus.yml").write_text(configuration)
        shutil.copy(SHIPPED / "alerts.yml", self._folder)
        (self._folder / "targets").mkdir()
        targets = [{"targets": [f"localhost:{node}" for node in nodes]}]
        (self._folder / "targets/cluster.yml").write_text(yaml.safe_dump(targets))
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start, and return once it answers. Raises RuntimeError when that takes too long."""
        words = self._folder / "words"
        with words.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                "prometheus",
                f"--config.file={self._folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                stdout=output,
                stderr=output,
            )
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._until_ready()
        except TimeoutError:
            said = words.read_text()[-2000:]
            await self.stop()
            raise RuntimeError(f"prometheus does not start:\n{said}") from None

    async def ask(self, path: str, **query: str) -> Any:
        """What its API answers under `/api/v1/` (https://prometheus.io/docs/prometheus/latest/querying/api/)."""
        async with httpx2.AsyncClient(trust_env=False) as http:
            answer = json.loads((await http.get(f"{self.url}/api/v1/{path}", params=query)).content)
        assert answer["status"] == "success", answer
        return answer["data"]

    async def _until_ready(self) -> None:
        async with httpx2.AsyncClient(trust_env=False) as http:
            while True:
                with contextlib.suppress(httpx2.TransportError):
                    if (await http.get(f"{self.url}/-/ready")).status_code == 200:
                        return
                await asyncio.sleep(0.05)  # it can only be asked

    async def stop(self) -> None:
        """End it, and forget what it measured."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def __aenter__(self) -> "Prometheus":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()
