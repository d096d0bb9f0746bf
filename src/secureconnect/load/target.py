"""The server a run measures: one that is there already, or a `secureconnect serve` of our own for the time of the run.

Called by the runs. A server of our own starts empty, in a temporary directory, and takes none of this shell's settings, so that a
load test never writes into somebody's database.
"""

import asyncio
import os
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from secureconnect.load.options import Options
from secureconnect.load.proc import Process, cores, running_on
from secureconnect.load.rest import LoadError, Rest

READY_SECONDS = 30.0
STOP_SECONDS = 15.0


class Target(msgspec.Struct, frozen=True):
    """A server that answers."""

    url: str
    secret: str | None
    process: Process | None
    """Where its CPU and memory are read, when it runs on this machine."""

    @property
    def socket_url(self) -> str:
        """The origin for sockets: ws:// or wss://."""
        return "ws" + self.url.removeprefix("http")


@asynccontextmanager
async def open_target(options: Options) -> AsyncIterator[Target]:
    """The server given by the options, or a fresh one. Raises LoadError when it does not answer."""
    if options.url is not None:
        url = options.url.rstrip("/")
        await _ready(url, None)
        yield Target(url, options.secret, Process.of(options.server_pid) if options.server_pid is not None else None)
        return
    apart = cores() if options.pin else None
    with TemporaryDirectory(prefix="secureconnect-bench-") as folder:
        async with _own_server(Path(folder), apart[0] if apart else None) as target:
            with running_on(apart[1] if apart else None):
                yield target


@asynccontextmanager
async def _own_server(folder: Path, chosen: set[int] | None) -> AsyncIterator[Target]:
    secret = secrets.token_urlsafe(48)
    url = f"http://127.0.0.1:{free_port()}"
    with running_on(chosen):
        child = await _serve(folder, url, secret)
    try:
        await _ready(url, child, folder / "server.log")
        yield Target(url, secret, Process.of(child.pid))
    finally:
        await stop(child)


async def _serve(folder: Path, url: str, secret: str) -> asyncio.subprocess.Process:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SECURECONNECT_")}
    environment |= {"SECURECONNECT_JWT_SECRET": secret, "SECURECONNECT_RATE_LIMITS": "off"}
    start = "from secureconnect.cli import main; main()"
    port = url.rpartition(":")[2]
    with (folder / "server.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", start, "serve", "--port", port, "--data-dir", str(folder / "data")),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


async def stop(child: asyncio.subprocess.Process) -> None:
    """Ask a child to end, and end it when it does not."""
    if child.returncode is not None:
        return
    child.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()


def free_port() -> int:
    """A port of the loopback address that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _ready(url: str, child: asyncio.subprocess.Process | None, log: Path | None = None) -> None:
    """Wait until the server says it is ready. One that is not ours has to be there at once."""
    rest = Rest(url, connections=1, timeout=5.0)
    deadline = time.monotonic() + (READY_SECONDS if child else 0.0)
    try:
        while True:
            try:
                answer = await rest.ask("GET", "/health/ready")
                if answer.status == 200:
                    return
                reason = f"/health/ready answers {answer.status}"
            except LoadError as error:
                reason = str(error)
            if child is not None and child.returncode is not None:
                reason, deadline = f"it ended with status {child.returncode}", 0.0
            if time.monotonic() > deadline:
                raise LoadError(f"the server at {url} is not ready: {reason}{_last_words(log)}")
            await asyncio.sleep(0.1)
    finally:
        rest.close()


def _last_words(log: Path | None) -> str:
    if log is None or not log.is_file():
        return ""
    return "\n" + log.read_text(encoding="utf-8", errors="replace")[-2000:]
