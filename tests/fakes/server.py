"""A real server for tests: `secureconnect serve` as a child process on a free port, which a test may kill and start again."""

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tests.fakes.ports import free_port

START_SECONDS = 30.0
STOP_SECONDS = 20.0
SECRET = "a-secret-of-the-tests_forty-characters.."


NOT_IN_0_1 = {"METRICS_PORT", "REGISTRATION", "DIRECTORY"}
"""Settings that a server of 0.1 refuses."""


class ServerProcess:
    """One server. Its data and its port stay the same from one start to the next.

    `python` is the interpreter that runs it; that of another checkout runs another version from its next start on.
    """

    def __init__(self, data_dir: Path, *, python: str = sys.executable, **settings: str) -> None:
        self.data_dir = data_dir
        self.disk_mib: int | None = None
        """Unless None, its data are on a file system of this size in memory, which only this process sees. Set before the start."""
        self.python = python
        self.port = free_port()
        self.metrics_port = 0
        """Where it serves /metrics, once it listens."""
        quiet = {"LOG_FORMAT": "json", "TURN": "off", "SFU": "off", "RECORDING": "off", "METRICS_PORT": "0"}
        # Scenarios begin with people who register and find each other; those about these settings name their own.
        ours = {"REGISTRATION": "open", "DIRECTORY": "application"}
        self._settings = {"JWT_SECRET": SECRET, **quiet, **ours, **settings}
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self.lines: list[dict[str, object]] = []
        self.said: list[str] = []
        """Everything it wrote, word for word."""

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def metrics_url(self) -> str:
        return f"http://localhost:{self.metrics_port}/metrics"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def change(self, **settings: str) -> None:
        """What it is started with from the next time on."""
        self._settings |= settings

    async def start(self) -> None:
        """Start, and return when it listens. Raises RuntimeError with its last words when it does not."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SECURECONNECT_")}
        known = self._settings.keys() - (NOT_IN_0_1 if self.python != sys.executable else set())
        environment |= {f"SECURECONNECT_{name}": self._settings[name] for name in known}
        self._process = await asyncio.create_subprocess_exec(
            *self._own_disk(),
            *(self.python, "-m", "secureconnect", "serve"),
            *("--port", str(self.port), "--data-dir", str(self.data_dir)),
            env=environment,
            stderr=asyncio.subprocess.PIPE,
            limit=2**20,
        )
        listening = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(listening))
        async with asyncio.timeout(START_SECONDS):
            self.port = await listening

    def _own_disk(self) -> list[str]:
        """What runs it in a mount namespace of its own, with a small file system where its data are."""
        if self.disk_mib is None:
            return []
        self.data_dir.mkdir(parents=True, exist_ok=True)
        mount = f'mount -t tmpfs -o size={self.disk_mib}m none "$0" && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", mount, str(self.data_dir)]

    def fill_disk(self) -> None:
        """Leave no room on its own file system, until `free_disk`."""
        with self._ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free_disk(self) -> None:
        self._ballast.unlink()

    @property
    def _ballast(self) -> Path:
        return Path(f"/proc/{self.pid}/root{self.data_dir.absolute()}/ballast")

    async def stop(self) -> int:
        """Ask it to end, and return its exit status."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """End it as a power cut would."""
        await self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stop it in the middle of whatever it does: its connections stay open and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    async def _end(self, how: signal.Signals) -> int:
        assert self._process is not None
        assert self._reader is not None
        if self._process.returncode is None:
            # Not send_signal, which would take the exit status of one that has just ended away from who waits for it.
            with suppress(ProcessLookupError):
                os.kill(self.pid, how)
        async with asyncio.timeout(STOP_SECONDS):
            status = await self._process.wait()
            await self._reader
        return status

    async def _read(self, listening: "asyncio.Future[int]") -> None:
        """Its log is read to the end: a pipe that nobody reads stops the one who writes."""
        assert self._process is not None
        assert self._process.stderr is not None
        words = self.said
        async for line in self._process.stderr:
            words.append(line.decode())
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            self.lines.append(entry)
            if entry.get("event") == "listening" and not listening.done():
                self.metrics_port = int(entry.get("metrics_port", entry["port"]))
                listening.set_result(int(entry["port"]))
        if not listening.done():
            listening.set_exception(RuntimeError("the server did not start:\n" + "".join(words[-40:])))

    async def __aenter__(self) -> "ServerProcess":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()
