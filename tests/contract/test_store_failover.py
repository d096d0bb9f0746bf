"""A database that becomes read-only, is switched over, is full, or refuses in another way: what services and probes are told."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.errors import OutcomeUnknown, Unavailable
from secureconnect.store import Database, Isolation, open_database
from secureconnect.store import failures as judged
from secureconnect.store.schema import migrate
from tests.fakes.postgres import PostgresServer
from tests.fakes.switch import Switch

pytestmark = pytest.mark.anyio

REPLACED = (
    *("08006", "0A000", "25006", "25P03", "26000", "28000", "28P01", "3D000", "42501", "55000", "55006"),
    *("57P01", "57P02", "57P03", "57P05", "58000", "58030", "F0000", "XX000", "XX001", "72000"),
)
KEPT = ("53000", "53100", "53200", "53300", "57014")
OURS = ("22001", "22P02", "23502", "23514", "42601", "42P01", "42703", "P0001")


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.start()
    yield server
    server.close()


@pytest.fixture
async def database(postgres: PostgresServer) -> Iterator[Database]:  # type: ignore[misc]
    database = open_database(postgres.url)
    await migrate(database)
    yield database
    await database.close()


async def backend_of(database: Database) -> int:
    async def ask(connection: AsyncConnection) -> int:
        return int((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())

    return await database.read(ask)


def refuse(state: str) -> text:  # type: ignore[valid-type]
    return text(f"DO $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{state}'; END $$")


async def until_well(database: Database) -> None:
    async with asyncio.timeout(5):
        while True:
            try:
                await database.ping()
            except Unavailable:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.mark.parametrize("state", [*REPLACED, *KEPT])
async def test_a_server_that_refuses_is_unavailable(database: Database, state: str) -> None:
    before = await backend_of(database)
    with pytest.raises(Unavailable) as refused:
        await database.transact(lambda connection: connection.execute(refuse(state)))
    assert not isinstance(refused.value, OutcomeUnknown)
    assert refused.value.retry_after
    assert (await backend_of(database) == before) is (state in KEPT)


@pytest.mark.parametrize("state", OURS)
async def test_a_wrong_statement_is_our_own_fault(database: Database, state: str) -> None:
    before = await backend_of(database)
    with pytest.raises(DBAPIError):
        await database.transact(lambda connection: connection.execute(refuse(state)))
    assert await backend_of(database) == before


async def test_a_probe_finds_a_database_that_takes_no_writes(database: Database, postgres: PostgresServer) -> None:
    await database.ping()
    postgres.sql("ALTER SYSTEM SET default_transaction_read_only = on")
    postgres.sql("SELECT pg_reload_conf()")
    try:
        async with asyncio.timeout(5):
            while True:
                try:
                    await database.ping()
                    await asyncio.sleep(0.05)
                except Unavailable:
                    break
    finally:
        postgres.sql("ALTER SYSTEM RESET default_transaction_read_only")
        postgres.sql("SELECT pg_reload_conf()")
    await until_well(database)


async def test_connections_to_a_primary_of_before_are_replaced() -> None:
    """The address leads to the new primary; the old one comes back as a standby and keeps what was open."""
    first = PostgresServer()
    first.start()
    second = PostgresServer(first)
    try:
        second.start()
        async with Switch(first.port) as switch:
            database = open_database(first.url.replace(str(first.port), str(switch.port)))
            await migrate(database)
            await database.ping()
            first.wait_for_standby()
            first.sql("ALTER SYSTEM SET default_transaction_read_only = on")
            first.sql("SELECT pg_reload_conf()")
            second.promote()
            switch.lead_to(second.port, cut=False)
            await until_well(database)
            assert await database.read(lambda connection: scalar(connection, "SELECT inet_server_port()")) == second.port
            await database.close()
    finally:
        second.close()
        first.close()


async def test_a_hot_standby_is_unavailable() -> None:
    first = PostgresServer()
    first.start()
    second = PostgresServer(first)
    try:
        second.start()
        database = open_database(first.url)
        await migrate(database)
        await database.close()
        first.wait_for_standby()
        database = open_database(second.url)
        isolations: tuple[Isolation, ...] = ("serializable", "snapshot", "committed")
        for isolation in isolations:
            with pytest.raises(Unavailable):
                await database.transact(
                    lambda connection: connection.execute(text("DELETE FROM nodes")),
                    isolation=isolation,
                )
        with pytest.raises(Unavailable):
            await database.ping()
        await database.close()
    finally:
        second.close()
        first.close()


async def test_a_commit_that_the_server_refuses_has_changed_nothing(database: Database) -> None:
    """A deferred check fails at the COMMIT, with a state that speaks of the server."""
    await database.run_sync(
        lambda connection: connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$"
        )
    )
    await database.run_sync(lambda connection: connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS late (n int)"))
    await database.run_sync(
        lambda connection: connection.exec_driver_sql(
            "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON late INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    )
    with pytest.raises(Unavailable) as refused:
        await database.transact(lambda connection: connection.execute(text("INSERT INTO late VALUES (1)")))
    assert not isinstance(refused.value, OutcomeUnknown)
    with pytest.raises(Unavailable, match="refused a change"):
        await database.ping()
    assert await database.read(lambda connection: scalar(connection, "SELECT count(*) FROM late")) == 0


async def test_an_sqlite_file_that_cannot_grow_is_unavailable_and_recovers(tmp_path: Path) -> None:
    """`max_page_count` refuses with SQLITE_FULL, as a full disk does."""
    database = open_database(f"sqlite+aiosqlite:///{tmp_path / 'database'}")
    await migrate(database)

    async def fill(connection: AsyncConnection) -> None:
        pages = await scalar(connection, "PRAGMA page_count")
        await connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        await connection.execute(text("CREATE TABLE more AS SELECT zeroblob(1000000) AS x"))

    with pytest.raises(Unavailable) as refused:
        await database.transact(fill)
    assert not isinstance(refused.value, OutcomeUnknown)
    with pytest.raises(Unavailable, match="full"):
        await database.ping()
    await until_well(database)
    await database.close()


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "database").write_bytes(b"no database at all" * 1000)
    database = open_database(f"sqlite+aiosqlite:///{tmp_path / 'database'}")
    with pytest.raises(Unavailable):
        await database.ping()
    await database.close()


def test_states_are_judged_by_class() -> None:
    class Failure(Exception):
        def __init__(self, state: str) -> None:
            self.sqlstate = state

    assert [state for state in REPLACED if not judged.is_of_the_server(Failure(state))] == []
    assert [state for state in (*KEPT, *OURS, "40001", "23505") if judged.is_of_the_server(Failure(state))] == []
    assert [state for state in ("08006", "57P01", "58030", "40003", "XX000") if judged.is_undone(Failure(state))] == []
    assert all(judged.is_undone(Failure(state)) for state in ("53100", "25006", "23514"))


async def scalar(connection: AsyncConnection, statement: str) -> int:
    return int((await connection.execute(text(statement))).scalar_one())
