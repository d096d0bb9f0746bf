"""A real PostgreSQL on a free loopback port, for as long as a test session needs it. Debian's package, nothing installed by us."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BINARIES = Path("/usr/lib/postgresql/15/bin")


@contextmanager
def running_postgres() -> Iterator[str]:
    """Yields the SQLAlchemy URL of a fresh server's `postgres` database. Nothing is left behind."""
    folder = Path(tempfile.mkdtemp(prefix="secureconnect-postgres-"))
    data, port = folder / "data", _free_port()
    as_owner = _as_owner(folder)
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    try:
        _run(*as_owner, BINARIES / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")
        # -w returns once the server answers: nobody has to guess how long that takes.
        _run(*as_owner, BINARIES / "pg_ctl", "-D", data, "-l", folder / "log", "-w", "-o", settings, "start")
        try:
            yield f"postgresql+asyncpg://postgres@127.0.0.1:{port}/postgres"
        finally:
            _run(*as_owner, BINARIES / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)


def _as_owner(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root: then the folder and the processes are its own user's."""
    if os.geteuid() != 0:
        return []
    shutil.chown(folder, "postgres", "postgres")
    return ["runuser", "-u", "postgres", "--"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _run(*command: str | Path) -> None:
    finished = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, timeout=60)
    if finished.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{finished.stdout}{finished.stderr}")
