"""What a database that cannot be reached now looks like from inside: Unavailable, whichever way the driver puts it.

Anything else would end the process: the timers go on after a ServiceError only.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.errors import OutcomeUnknown, Unavailable
from secureconnect.store import Database, open_database
from secureconnect.store.schema import migrate
from tests.fakes.postgres import running_postgres

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with running_postgres() as url:
        yield url


async def run_sql(database: Database, *statements: str) -> None:
    def run(connection: Connection) -> None:
        for statement in statements:
            connection.execute(text(statement))

    await database.run_sync(run)


async def test_a_server_that_takes_no_more_connections(postgres: str) -> None:
    admin = open_database(postgres)
    await run_sql(admin, "CREATE ROLE one_too_many LOGIN CONNECTION LIMIT 0")
    await admin.close()
    refused = open_database(postgres.replace("postgres@", "one_too_many@"))
    with pytest.raises(Unavailable):
        await refused.ping()
    await refused.close()


async def test_a_server_that_is_told_to_stop_in_the_middle(postgres: str) -> None:
    database = open_database(postgres)
    await migrate(database)

    async def work(connection: AsyncConnection) -> None:
        own = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        admin = open_database(postgres)
        await run_sql(admin, f"SELECT pg_terminate_backend({own})")
        await admin.close()
        await connection.execute(text("SELECT 1"))

    with pytest.raises(Unavailable):
        await database.transact(work)
    await database.ping()
    await database.close()


async def test_all_connections_are_in_use(tmp_path: Path) -> None:
    database = open_database(f"sqlite+aiosqlite:///{tmp_path / 'one'}", connections=1, patience=0.05)
    held, done = asyncio.Event(), asyncio.Event()

    async def hold(_connection: AsyncConnection) -> None:
        held.set()
        await done.wait()

    holding = asyncio.create_task(database.read(hold))
    await held.wait()
    with pytest.raises(Unavailable):
        await database.ping()
    done.set()
    await holding
    await database.close()


async def test_a_wrong_statement_is_our_own_fault(postgres: str) -> None:
    database = open_database(postgres)

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT nothing FROM nowhere"))

    with pytest.raises(DBAPIError):
        await database.read(work)
    await database.close()


@pytest.mark.parametrize("is_wrapped", [False, True])
async def test_a_driver_that_has_heard_the_last_word_of_its_server_has_lost_it(postgres: str, *, is_wrapped: bool) -> None:
    """asyncpg between the message that ends a connection and its end, a moment that no test can hold."""
    database = open_database(postgres)
    last_words = asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress")

    async def work(connection: AsyncConnection) -> None:
        if is_wrapped:
            wrapped = Exception("as SQLAlchemy has it")
            wrapped.__cause__ = last_words
            raise DBAPIError("SELECT 1", (), wrapped)
        raise last_words

    with pytest.raises(Unavailable) as refused:
        await database.transact(work)
    assert not isinstance(refused.value, OutcomeUnknown)
    await database.close()


async def test_a_server_that_goes_away_at_the_commit_leaves_it_open_whether_it_was_done(postgres: str) -> None:
    database = open_database(postgres)

    async def work(connection: AsyncConnection) -> None:
        own = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        admin = open_database(postgres)
        await run_sql(admin, f"SELECT pg_terminate_backend({own})")
        await admin.close()

    with pytest.raises(OutcomeUnknown):
        await database.transact(work)
    # What only reads has changed nothing, whatever happens.
    with pytest.raises(Unavailable) as refused:
        await database.read(lambda connection: connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())")))
    assert not isinstance(refused.value, OutcomeUnknown)
    await database.close()
