"""The door to the database: opening it, transactions that retry, and the schema's version.

Services hold a `Database` and pass whole-transaction functions to it; the SQL itself lives in the modules of this room,
beside the functions that run it. Nobody else writes SQL.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar
from uuid import uuid4

import structlog
from sqlalchemy import Connection, delete, event, insert, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from secureconnect.errors import OutcomeUnknown, Unavailable
from secureconnect.store.failures import is_full, is_refusal, is_temporary, is_undone, lost_a_race, sqlstate_of
from secureconnect.store.pool import Pool
from secureconnect.store.prepared import SqliteConnection
from secureconnect.store.tables import nodes

T = TypeVar("T")
Isolation = Literal["serializable", "snapshot", "committed"]
Kind = Isolation | Literal["read"]
log = structlog.get_logger(__name__)

BEGIN: dict[str, dict[Kind, str]] = {
    "sqlite": {
        # IMMEDIATE takes the write lock at once: a transaction that reads first could not be upgraded after another wrote.
        **dict.fromkeys(("serializable", "snapshot", "committed"), "BEGIN IMMEDIATE"),
        "read": "BEGIN",
    },
    "postgresql": {
        "serializable": "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "snapshot": "BEGIN ISOLATION LEVEL REPEATABLE READ",
        "committed": "BEGIN ISOLATION LEVEL READ COMMITTED",
        "read": "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    },
    "cockroachdb": {
        **dict.fromkeys(("serializable", "snapshot", "committed"), "BEGIN ISOLATION LEVEL SERIALIZABLE"),
        "read": "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY",
    },
}
"""How a transaction of each kind begins where. We say it ourselves, in one round trip, to a driver that is left in autocommit."""
ATTEMPTS = 8
FIRST_BACKOFF = 0.005
"""Seconds before the second attempt, doubled each time and spread by half: short for a user, long for the winner."""
STATEMENT_TIMEOUT_MS = 5_000
POOL_SIZE = 10
POOL_SECONDS = 5.0
REFUSED_SECONDS = 2.0
"""How long a store counts as full after it had no room for a change: what a probe writes is small, and may fit all the same."""
SPARE_BYTES = 256 * 1024
"""A file system with less room than this takes no more changes of ordinary size."""
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class Database:
    """One database: SQLite in this process, or PostgreSQL or CockroachDB over the network."""

    def __init__(self, engine: AsyncEngine, *, connections: int = POOL_SIZE, patience: float = POOL_SECONDS) -> None:
        """`patience`: seconds to wait for one of the `connections` when all are in use."""
        self._engine = engine
        self._pool = Pool(engine, connections, patience)
        self.dialect = engine.dialect.name
        name = engine.url.database if self.dialect == "sqlite" else None
        self._file = Path(name) if name and name != ":memory:" else None
        self.retries: Counter[str] = Counter()
        """Transactions run again since the start, by the SQLSTATE that said so."""
        self.failures: Counter[str] = Counter()
        """Work given up since the start: `unavailable`, `outcome_unknown`, or `contended` after the last retry."""
        self.on_done: Callable[[Kind, float], None] = lambda kind, seconds: None
        """Told of everything that went through: how it was isolated, and the seconds it took from the wait for a connection on."""
        self._refused_at = -REFUSED_SECONDS
        self._refusal = ""
        # SQLite has one writer; waiting for it here is fair and cheap, waiting in the library is a poll.
        self._writer = asyncio.Lock() if self.dialect == "sqlite" else None

    @property
    def is_shared(self) -> bool:
        """Whether other nodes may use this database too."""
        return self.dialect != "sqlite"

    async def transact(self, work: Callable[[AsyncConnection], Awaitable[T]], *, isolation: Isolation = "serializable") -> T:
        """Run `work` in one transaction, again from its start when the database says it lost a race.

        `snapshot` (REPEATABLE READ) is for work on one thing that has a version, and that holds under locks what else it decides
        by: PostgreSQL counts conflicts of serializable transactions by pages, and neighbours in an index cost each other theirs.
        `committed` (READ COMMITTED) is for work that takes rows under locks of its own, such as claims of a queue, or changes of a
        conversation, which hold it. Where there is no such level (SQLite, CockroachDB), all are serializable.

        Whatever `work` raises rolls back. Raises Unavailable when the database cannot be reached or keeps refusing, and
        OutcomeUnknown when it went away while it was told to commit.
        """
        return await self._run(work, isolation)

    async def read(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run `work`, which only reads, beside whoever is writing. Raises Unavailable as `transact` does."""
        return await self._run(work, "read")

    @property
    def connections(self) -> tuple[int, int]:
        """Connections in use now, and how many there may be."""
        return self._pool.in_use, self._pool.size

    async def _run(self, work: Callable[[AsyncConnection], Awaitable[T]], kind: Kind) -> T:
        delay = FIRST_BACKOFF
        time = asyncio.get_running_loop().time
        begun = time()
        for _ in range(ATTEMPTS):
            is_worked = False
            try:
                async with self._begun(kind) as connection:
                    result = await work(connection)
                    is_worked = True
            except Exception as failure:
                if is_temporary(failure):
                    raise self._give_up(failure, is_unknown=is_worked and kind != "read" and not is_undone(failure)) from failure
                if not lost_a_race(failure):
                    raise
                self.retries[sqlstate_of(failure)] += 1
            else:
                if kind != "read":
                    self._refused_at = -REFUSED_SECONDS
                self.on_done(kind, time() - begun)
                return result
            await asyncio.sleep(delay * random.uniform(0.5, 1.5))  # noqa: S311  (jitter, not a secret)
            delay *= 2
        self.failures["contended"] += 1
        raise Unavailable("The database keeps refusing this change; nothing was changed.")

    def _give_up(self, failure: Exception, *, is_unknown: bool) -> Unavailable:
        """Note and log a failure that time may heal; returns what to raise instead."""
        detail = str(failure).partition("\n")[0][:200]
        log.warning("database unavailable", error=type(failure).__name__, sqlstate=sqlstate_of(failure), detail=detail)
        self.failures["outcome_unknown" if is_unknown else "unavailable"] += 1
        if is_unknown:
            return OutcomeUnknown("The database went away at the last moment; look whether it was done.")
        if is_full(failure):
            self._refused_at, self._refusal = asyncio.get_running_loop().time(), detail
        if not is_refusal(failure):
            return Unavailable("The database does not answer; nothing was changed.")
        return Unavailable("The database takes no changes now; nothing was changed.")

    async def ping(self) -> None:
        """Write a row and delete it again. Needs the schema.

        Raises:
            Unavailable: The database does not answer or takes no changes; it had no room for a change in the last
                `REFUSED_SECONDS`; the file system of an SQLite file is full.
        """

        async def write(connection: AsyncConnection) -> None:
            node_id = uuid4()
            await connection.execute(insert(nodes).values(node_id=node_id, lease_until=LONG_AGO))
            await connection.execute(delete(nodes).where(nodes.c.node_id == node_id))

        if asyncio.get_running_loop().time() < self._refused_at + REFUSED_SECONDS:  # and took none since
            raise Unavailable(f"It refused a change: {self._refusal}")
        if self._file is not None and _free_bytes(self._file) < SPARE_BYTES:
            raise Unavailable("The file system of the database is full.")
        await self._run(write, "committed")

    async def run_sync(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a plain connection, outside any transaction of ours: for migrations."""
        async with self._engine.connect() as connection:
            if self.dialect == "sqlite":  # the driver begins nothing there
                await connection.exec_driver_sql(BEGIN["sqlite"]["serializable"])
            result = await connection.run_sync(work)
            await connection.commit()
            return result

    async def close(self) -> None:
        """Close every connection. Without it aiosqlite's threads keep the process alive."""
        await self._pool.close()
        await self._engine.dispose()

    @asynccontextmanager
    async def _begun(self, kind: Kind) -> AsyncIterator[AsyncConnection]:
        async with self._turn(kind), self._pool.begun(BEGIN[self.dialect][kind]) as connection:
            yield connection

    @asynccontextmanager
    async def _turn(self, kind: Kind) -> AsyncIterator[None]:
        """Stand in line for SQLite's writer. Raises TimeoutError when the line does not move."""
        if self._writer is None or kind == "read":
            yield
            return
        async with asyncio.timeout(STATEMENT_TIMEOUT_MS / 1000):
            await self._writer.acquire()
        try:
            yield
        finally:
            self._writer.release()


def open_database(url: str, *, connections: int = POOL_SIZE, patience: float = POOL_SECONDS) -> Database:
    """A Database from an SQLAlchemy URL (`sqlite+aiosqlite`, `postgresql+asyncpg`, `cockroachdb+asyncpg`). Connects when used."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        path = parsed.database or ":memory:"
        if path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)

        async def connect() -> SqliteConnection:
            connection = SqliteConnection(path)
            await connection
            return connection

        engine = create_async_engine(parsed, poolclass=NullPool, async_creator=connect)
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    else:
        engine = create_async_engine(
            parsed,
            isolation_level="SERIALIZABLE",
            poolclass=NullPool,
            connect_args={"timeout": 5, "command_timeout": STATEMENT_TIMEOUT_MS / 1000},
        )
    return Database(engine, connections=connections, patience=patience)


def _free_bytes(file: Path) -> int:
    """Return what this user may still write beside a file: some file systems keep the last blocks for root."""
    found = os.statvfs(file.parent)
    return found.f_frsize * (found.f_bfree if os.geteuid() == 0 else found.f_bavail)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={STATEMENT_TIMEOUT_MS}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
