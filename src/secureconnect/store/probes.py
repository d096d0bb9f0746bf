"""Questions to a database about itself: its file, how strictly it isolates, what time it has, does it take a write."""

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.ids import NodeId
from secureconnect.store.calls import end_lease, renew_lease


def sqlite_file(url: str) -> Path | None:
    """Where an SQLite URL keeps its data; None in memory."""
    name = make_url(url).database
    return None if not name or name == ":memory:" else Path(name)


def sqlite_stamp(file: Path) -> tuple[int, ...]:
    """Return a value that changes with each commit to an SQLite file, by whatever process; cheaper than a question to it.

    Two commits within a tick of the kernel's clock (some 4 ms) may give the same one.
    """
    found: list[int] = []
    for path in (file, file.with_name(file.name + "-wal")):
        try:
            status = path.stat()
        except OSError:
            continue
        found += [status.st_mtime_ns, status.st_size]
    return tuple(found)


async def isolation(connection: AsyncConnection) -> str:
    """The isolation level of this transaction, in lower case. SQLite knows one only."""
    if connection.dialect.name == "sqlite":
        return "serializable"
    return str((await connection.execute(text("SHOW transaction_isolation"))).scalar_one()).lower()


async def clock(connection: AsyncConnection) -> datetime:
    """What time it is there, now and not when the transaction began. PostgreSQL and CockroachDB."""
    moment: datetime = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
    return moment.astimezone(UTC)


async def write_and_take_back(connection: AsyncConnection, node_id: NodeId, now: datetime) -> None:
    """Insert and delete the lease of a node that does not exist."""
    await renew_lease(connection, node_id, now)
    await end_lease(connection, node_id)
