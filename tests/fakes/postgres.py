"""A real PostgreSQL on a free loopback port, which a test may kill, stall and start again. Debian's package."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.fakes.ports import free_port

BINARIES = Path("/usr/lib/postgresql/15/bin")
END_SECONDS = 10.0
FOLLOW_SECONDS = 30.0


class PostgresServer:
    """One server, its port and what it holds the same from one start to the next. `close` leaves nothing behind.

    With `primary` it begins as a hot standby of that server, which must run, by streaming replication.
    """

    def __init__(self, primary: "PostgresServer | None" = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="secureconnect-postgres-"))
        self._data = self._folder / "data"
        self.port = free_port()
        self._as_owner = _as_owner(self._folder)
        if primary is None:
            self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")
        else:
            self.follow(primary)

    def follow(self, primary: "PostgresServer") -> None:
        """Become a hot standby with a copy of all that a running server holds. Must not run itself."""
        if self._data.exists():
            shutil.rmtree(self._data)
        self._run("pg_basebackup", "-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres", "-R", "-c", "fast", "-N")

    def promote(self) -> None:
        """Make a standby the primary; returns once it takes writes."""
        self._run("pg_ctl", "-w", "promote")

    def sql(self, statement: str) -> str:
        """What it answers to one statement of its superuser."""
        where = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres")
        return subprocess.run(["psql", *where, "-Atc", statement], capture_output=True, text=True, check=True).stdout.strip()

    def wait_for_standby(self) -> None:
        """Return once a standby of this primary has everything."""
        has_all = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()"
        deadline = time.monotonic() + FOLLOW_SECONDS
        while self.sql(has_all) == "0":
            if time.monotonic() > deadline:
                raise RuntimeError("no standby follows")
            time.sleep(0.02)

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the `postgres` database."""
        return f"postgresql+asyncpg://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start, and return once it answers: nobody has to guess how long that takes."""
        settings = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._run("pg_ctl", "-l", self._folder / "log", "-w", "-o", settings, "start")

    def stop(self) -> None:
        """Ask it to end: open transactions are rolled back, nobody is waited for."""
        self._run("pg_ctl", "-m", "fast", "-w", "stop")

    def kill(self) -> None:
        """End all its processes as a crash would."""
        processes = self._processes()
        for pid in processes:
            _signal(pid, signal.SIGKILL)
        deadline = time.monotonic() + END_SECONDS
        # A new server refuses to start while one of the old still holds the memory that they share.
        while any(_is_alive(pid) for pid in processes):
            if time.monotonic() > deadline:
                raise RuntimeError("PostgreSQL does not die")
            time.sleep(0.01)
        (self._data / "postmaster.pid").unlink()

    def pause(self) -> None:
        """Stop all its processes in the middle of whatever they do: connections stay open and nobody answers."""
        for pid in self._processes():
            _signal(pid, signal.SIGSTOP)

    def resume(self) -> None:
        for pid in self._processes():
            _signal(pid, signal.SIGCONT)

    def close(self) -> None:
        """End it, whatever state it is in, and remove what it kept."""
        if (self._data / "postmaster.pid").exists():
            self.kill()
        shutil.rmtree(self._folder)

    def _processes(self) -> list[int]:
        """The postmaster and its children, in this order: a stopped one begets no more."""
        postmaster = int((self._data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children")
        return [postmaster, *map(int, children.read_text().split())] if children.exists() else [postmaster]

    def _run(self, program: str, *words: str | Path) -> None:
        command = [*self._as_owner, BINARIES / program, "-D", self._data, *words]
        finished = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, timeout=60)
        if finished.returncode != 0:
            log = self._folder / "log"
            last_words = log.read_text()[-2000:] if log.exists() else ""
            raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{finished.stdout}{finished.stderr}{last_words}")


@contextmanager
def running_postgres() -> Iterator[str]:
    """Yields the SQLAlchemy URL of a fresh server's `postgres` database. Nothing is left behind."""
    server = PostgresServer()
    try:
        server.start()
        yield server.url
    finally:
        server.close()


def _as_owner(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root: then the folder and the processes are its own user's."""
    if os.geteuid() != 0:
        return []
    shutil.chown(folder, "postgres", "postgres")
    return ["runuser", "-u", "postgres", "--"]


def _signal(pid: int, what: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, what)


def _is_alive(pid: int) -> bool:
    """Whether it still runs; one that is dead and not yet buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False
