"""Prepared statements write and find what SQLAlchemy would, whatever their shape; on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.store import Database, open_database
from secureconnect.store.prepared import Prepared, given
from secureconnect.store.schema import migrate
from secureconnect.store.tables import users
from tests.fakes.clock import START
from tests.fakes.postgres import running_postgres

pytestmark = pytest.mark.anyio

PEOPLE = [uuid4() for _ in range(5)]
ROWS = [
    {"user_id": user_id, "display_name": f"Person {place}", "search_text": "", "created_at": START}
    for place, user_id in enumerate(PEOPLE)
]
INSERT = Prepared(insert(users))
SOME = Prepared(
    select(users)
    .where(users.c.user_id.in_(given("user_ids", many=True)), users.c.search_text.in_(["", "renamed"]))
    .order_by(users.c.display_name)
)
RENAME = Prepared(
    update(users)
    .where(users.c.user_id == given("of"), users.c.created_at == given("made_at"))
    .values(display_name=given("display_name"), search_text="renamed")
)
REMOVE = Prepared(delete(users).where(users.c.user_id.in_(given("user_ids", many=True))))
RETURNING = Prepared(update(users).values(email=users.c.display_name).returning(users.c.user_id, users.c.email))


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with running_postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    is_file = request.param == "sqlite"
    database = open_database(f"sqlite+aiosqlite:///{tmp_path / 'one'}" if is_file else request.getfixturevalue("postgres"))
    await migrate(database)
    await database.transact(lambda connection: INSERT.run_each(connection, ROWS))
    yield database
    await database.transact(lambda connection: REMOVE.run(connection, user_ids=PEOPLE))
    await database.close()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
async def test_a_list_of_any_length_finds_its_rows_once(database: Database, count: int) -> None:
    wanted = PEOPLE[:count]

    async def both(connection: AsyncConnection) -> None:
        prepared = await SOME.all(connection, user_ids=wanted)
        built = (await connection.execute(select(users).where(users.c.user_id.in_(wanted)).order_by("display_name"))).all()
        assert [row._asdict() for row in prepared] == [row._asdict() for row in built]
        assert [row.user_id for row in prepared] == wanted
        assert {row.created_at for row in prepared} == {START}

    await database.read(both)


async def test_a_write_says_how_many_rows_it_met(database: Database) -> None:
    async def write(connection: AsyncConnection) -> list[int]:
        met = await RENAME.run(connection, of=PEOPLE[0], made_at=START, display_name="Ada")
        missed = await RENAME.run(connection, of=uuid4(), made_at=START, display_name="nobody")
        removed = await REMOVE.run(connection, user_ids=PEOPLE[3:])
        return [met, missed, removed]

    assert await database.transact(write) == [1, 0, 2]
    left = await database.read(lambda connection: SOME.all(connection, user_ids=PEOPLE))
    assert [(row.user_id, row.display_name, row.search_text) for row in left] == [
        (PEOPLE[0], "Ada", "renamed"),
        (PEOPLE[1], "Person 1", ""),
        (PEOPLE[2], "Person 2", ""),
    ]


async def test_a_write_returns_its_rows(database: Database) -> None:
    found = await database.transact(RETURNING.all)
    assert {(row.user_id, row.email) for row in found} == {(row["user_id"], row["display_name"]) for row in ROWS}


async def test_what_failed_leaves_nothing_behind(database: Database) -> None:
    async def write(connection: AsyncConnection) -> None:
        await REMOVE.run(connection, user_ids=PEOPLE)
        raise LookupError

    for _ in range(20):  # more often than there are connections
        with pytest.raises(LookupError):
            await database.transact(write)
    assert len(await database.read(lambda connection: SOME.all(connection, user_ids=PEOPLE))) == 5
    assert database.connections[0] == 0


def test_an_empty_list_is_not_asked_for() -> None:
    with pytest.raises(AssertionError):
        SOME._for(None, {"user_ids": []})  # type: ignore[arg-type]
