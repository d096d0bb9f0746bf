"""A media server as our child process: started in a folder of its own, seen to listen, started again when it dies.

Used by coturn and janus_server; knows nothing of what the server does. It ends with us, however we end, and never runs as root.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from secureconnect.clock import Clock
from secureconnect.sandbox import Sandbox

log = structlog.get_logger(__name__)

NOBODY = 65534
START_SECONDS = 10.0
LOOK_SECONDS = 0.05
STOP_SECONDS = 3.0
WAIT_SECONDS = (0.5, 30.0)
"""How long before one that died is started again: first, and at most; each wait is twice the one before."""
STEADY_SECONDS = 60.0
"""Whoever lived so long begins again with the first wait."""
MAX_WORDS = 200


@dataclass(frozen=True)
class Program:
    """What to start: its name in our log, what to run given its folder, what to put there first, and where it must listen.

    Where it listens is a TCP `port` of `address`, or the Unix socket `socket` in its folder. `folder` is that folder when others
    must know it before the start; else each start has another one. `links` are symbolic links in folders of its folder, by what
    they lead to. `writes_to` is a folder given to it whose files outlive it. `sandbox` says what it may do, given its folder.
    """

    name: str
    arguments: Callable[[Path], tuple[str, ...]]
    files: Callable[[Path], Mapping[str, bytes]]
    address: str = ""
    port: int = 0
    socket: str | None = None
    folder: Path | None = None
    links: Callable[[Path], Mapping[str, Path]] = lambda folder: {}
    writes_to: Path | None = None
    sandbox: Callable[[Path], Sandbox] | None = None


def is_installed(program: str) -> bool:
    """Whether there is such a program, and what starts it."""
    return all(shutil.which(one) for one in (program, "setpriv"))


class Child:
    """One such process at a time. `pid` is None while it does not listen; `failure` is why the last start failed."""

    def __init__(
        self,
        program: Program,
        clock: Clock,
        *,
        on_change: Callable[[bool], None] = lambda is_up: None,
        wait: tuple[float, float] = WAIT_SECONDS,
    ) -> None:
        """`wait`: how long before one that died is started again, first and at most, seconds."""
        self.pid: int | None = None
        self.failure = ""
        self._program = program
        self._clock = clock
        self._on_change = on_change
        self._wait = wait

    async def run(self) -> None:
        """Keep one running, until cancelled."""
        first, longest = self._wait
        wait = first
        while True:
            begun = self._clock.monotonic()
            await self.run_once()
            if self._clock.monotonic() - begun > STEADY_SECONDS:
                wait = first
            await self._clock.sleep(wait)
            wait = min(2 * wait, longest)

    async def run_once(self) -> None:
        """Start one, and return when it has ended; cancelled, end it. What goes wrong is logged."""
        process: asyncio.subprocess.Process | None = None
        with _made(self._program) as folder:
            try:
                process = await self._start(folder)
                await self._wait_until_it_listens(process, folder)
                self._changed(process.pid)
                log.info(f"{self._program.name} started", **self._whereabouts(folder))
                await self._read_to_the_end(process)
                log.warning(f"{self._program.name} ended", status=await process.wait())
            except (OSError, TimeoutError) as failure:
                self.failure = str(failure) or "it does not listen"
                log.warning(f"{self._program.name} did not start", reason=self.failure)
            finally:
                self._changed(None)
                await _end(process)

    def _changed(self, pid: int | None) -> None:
        if pid != self.pid:
            self.pid = pid
            self._on_change(pid is not None)

    async def _start(self, folder: Path) -> asyncio.subprocess.Process:
        as_nobody = ("--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups") if os.geteuid() == 0 else ()
        for name, content in self._program.files(folder).items():
            _write(folder / name, content, give_away=bool(as_nobody))
        for name, target in self._program.links(folder).items():
            _link(folder / name, target, give_away=bool(as_nobody))
        if as_nobody:
            os.chown(folder, NOBODY, NOBODY)
        if self._program.writes_to is not None:
            _give(self._program.writes_to, give_away=bool(as_nobody))
        program, *arguments = self._program.arguments(folder)
        command = (shutil.which(program) or program, *arguments)
        if self._program.sandbox is not None:
            command = self._program.sandbox(folder).command(command)
        else:
            command = ("setpriv", *as_nobody, "--no-new-privs", "--pdeathsig", "KILL", "--", *command)
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # Our environment holds secrets that are none of its business.
            env={"PATH": os.defpath},
            cwd=folder,
        )

    def _whereabouts(self, folder: Path) -> dict[str, object]:
        program = self._program
        return {"socket": str(folder / program.socket)} if program.socket else {"address": program.address, "port": program.port}

    async def _connect(self, folder: Path) -> asyncio.StreamWriter:
        program = self._program
        if program.socket is not None:
            return (await asyncio.open_unix_connection(folder / program.socket))[1]
        return (await asyncio.open_connection(program.address, program.port))[1]

    async def _wait_until_it_listens(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        """Raises TimeoutError, or ConnectionError with its last words when it ended instead."""
        async with asyncio.timeout(START_SECONDS):
            while process.returncode is None:
                try:
                    writer = await self._connect(folder)
                except OSError:
                    await self._clock.sleep(LOOK_SECONDS)
                else:
                    writer.close()
                    return
        assert process.stdout is not None
        words = (await process.stdout.read(4096)).decode(errors="replace").strip().splitlines()
        raise ConnectionError(words[-1][:MAX_WORDS] if words else f"it ended with {process.returncode}")

    async def _read_to_the_end(self, process: asyncio.subprocess.Process) -> None:
        """A pipe that nobody reads stops the one who writes."""
        assert process.stdout is not None
        while chunk := await process.stdout.read(65536):
            for line in chunk.decode(errors="replace").splitlines():
                if "ERROR" in line or "FATAL" in line:
                    log.debug(f"{self._program.name} says", words=line.strip()[:MAX_WORDS])


@contextmanager
def _made(program: Program) -> Iterator[Path]:
    """The folder of one start, for its user alone, gone at the end. Raises FileExistsError for a named one that is there."""
    if program.folder is None:
        name = Path(program.arguments(Path())[0]).name
        with tempfile.TemporaryDirectory(prefix=f"secureconnect-{name}-") as folder:
            yield Path(folder)
        return
    program.folder.mkdir(mode=0o700)
    try:
        yield program.folder
    finally:
        shutil.rmtree(program.folder, ignore_errors=True)


def _write(path: Path, content: bytes, *, give_away: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    if give_away:
        os.chown(path, NOBODY, NOBODY)


def _link(path: Path, target: Path, *, give_away: bool) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.symlink_to(target)
    if give_away:
        os.chown(path.parent, NOBODY, NOBODY)


def _give(folder: Path, *, give_away: bool) -> None:
    """Raises PermissionError for a folder of somebody else's, which would read along."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if folder.is_symlink() or folder.lstat().st_uid not in (NOBODY, os.geteuid()):
            raise PermissionError(f"{folder} belongs to somebody else") from None
    if give_away:
        os.chown(folder, NOBODY, NOBODY, follow_symlinks=False)


async def _end(process: asyncio.subprocess.Process | None) -> None:
    if process is None or process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
