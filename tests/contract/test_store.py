"""What every database promises: the schema is that of the tables, transactions behave as if they came one after another, and the
services keep their word when many come at once. On SQLite and on a real PostgreSQL; CockroachDB's dialect must at least agree.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import anyio
import argon2
import httpx2
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from joserfc import jwt
from joserfc.jwk import OctKey
from msgspec import Struct
from sqlalchemy import ClauseElement, Connection, event, func, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy_cockroachdb.asyncpg import CockroachDBDialect_asyncpg  # type: ignore[import-untyped]

from secureconnect.accounts.administration import Administration
from secureconnect.accounts.credentials import PasswordHasher, TokenIssuer
from secureconnect.accounts.erasure import Erasure
from secureconnect.accounts.password import PasswordService, create_reset
from secureconnect.accounts.registration import Registration
from secureconnect.accounts.revocations import Revocations
from secureconnect.accounts.service import AccountService
from secureconnect.accounts.verification import TokenVerifier
from secureconnect.bus.memory import MemoryBus
from secureconnect.chat.service import ChatService
from secureconnect.clock import SystemClock
from secureconnect.errors import ServiceError, Unavailable
from secureconnect.ids import ConversationId, IdFactory, NodeId, UserId
from secureconnect.store import Database, idempotency, open_database
from secureconnect.store import calls as call_store
from secureconnect.store import chat as chat_store
from secureconnect.store import devices as device_store
from secureconnect.store import push as push_store
from secureconnect.store.idempotency import Idempotency
from secureconnect.store.internal_keys import derived_keys_start
from secureconnect.store.prepared import Prepared
from secureconnect.store.schema import current_revision, migrate, wanted_revision
from secureconnect.store.tables import conversations, metadata, nodes, users
from tests.fakes.clock import START, ManualClock
from tests.fakes.postgres import running_postgres

pytestmark = pytest.mark.anyio
STATEMENTS = (call_store, chat_store, device_store, idempotency, push_store)
SECRET = "a secret of the tests, longer than thirty-two characters"


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with running_postgres() as url:
        yield url


@asynccontextmanager
async def empty_postgres_database(server: str) -> AsyncIterator[str]:
    """The URL of a database of its own on the server."""
    name = f"t{uuid4().hex}"
    admin = open_database(server)

    def create(connection: Connection) -> None:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text(f"CREATE DATABASE {name}"))

    await admin.run_sync(create)
    await admin.close()
    yield server.rpartition("/")[0] + f"/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'contract.sqlite3'}"
    else:
        async with empty_postgres_database(request.getfixturevalue("postgres")) as url:
            yield url


@pytest.fixture
async def empty(url: str) -> AsyncIterator[Database]:
    """A database without a schema."""
    database = open_database(url)
    yield database
    await database.close()


@pytest.fixture
async def database(empty: Database) -> Database:
    """A database of today's schema."""
    await migrate(empty)
    return empty


@pytest.fixture
async def postgresql(postgres: str) -> AsyncIterator[Database]:
    """The same, for what only several writers at once can show."""
    async with empty_postgres_database(postgres) as url:
        database = open_database(url)
        await migrate(database)
        yield database
        await database.close()


class TestSchema:
    async def test_migrating_twice_changes_nothing(self, empty: Database) -> None:
        assert await current_revision(empty) is None
        assert await migrate(empty) == wanted_revision()
        tables = await empty.run_sync(lambda connection: sorted(inspect(connection).get_table_names()))
        assert await migrate(empty) == wanted_revision()
        assert await current_revision(empty) == wanted_revision()
        assert await empty.run_sync(lambda connection: sorted(inspect(connection).get_table_names())) == tables

    async def test_migrations_and_tables_say_the_same(self, database: Database) -> None:
        def differences(connection: Connection) -> list[Any]:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            return list(compare_metadata(context, metadata))

        assert await database.run_sync(differences) == []

    async def test_a_new_database_uses_derived_keys_from_the_start(self, database: Database) -> None:
        assert (await database.read(derived_keys_start)).timestamp() == 0

    async def test_a_database_of_0_1_uses_them_a_day_after_the_upgrade(self, empty: Database) -> None:
        await migrate(empty, to="0011")
        await empty.transact(lambda connection: call_store.renew_lease(connection, NodeId(uuid4()), START))
        await migrate(empty)
        starts_in = await empty.read(derived_keys_start) - SystemClock().now()
        assert abs(starts_in - timedelta(days=1)) < timedelta(minutes=5)

    async def test_a_reference_must_lead_somewhere(self, database: Database) -> None:
        async def dangle(connection: AsyncConnection) -> None:
            row = {"conversation_id": uuid4(), "created_by": uuid4(), "created_at": START, "last_activity_id": uuid4()}
            await connection.execute(insert(conversations).values(row))

        with pytest.raises(IntegrityError):
            await database.transact(dangle)


class TestValues:
    async def test_a_time_comes_back_as_the_same_moment_in_utc(self, database: Database) -> None:
        moment = datetime(2026, 3, 29, 1, 59, 59, 123456, tzinfo=timezone(timedelta(hours=5, minutes=45)))
        node_id = NodeId(uuid4())
        await database.transact(lambda connection: call_store.renew_lease(connection, node_id, moment))
        kept = await database.read(lambda connection: _scalar(connection, select(nodes.c.lease_until)))
        assert kept == moment
        assert kept.tzinfo is UTC

    async def test_a_time_without_a_zone_is_refused(self, database: Database) -> None:
        naive = datetime(2026, 1, 1)  # noqa: DTZ001  (the point)
        with pytest.raises(StatementError, match="without a zone"):
            await database.transact(lambda connection: call_store.renew_lease(connection, NodeId(uuid4()), naive))

    async def test_ids_sort_as_time_does(self, database: Database) -> None:
        clock = ManualClock()
        ids = IdFactory(clock.now_ms, os.urandom)
        made: list[UUID] = []
        for _ in range(20):
            clock.advance(0.001)
            made.append(ids.new())

        async def keep(connection: AsyncConnection) -> None:
            rows = [{"node_id": node_id, "lease_until": START} for node_id in reversed(made)]
            await connection.execute(insert(nodes), rows)

        await database.transact(keep)
        ordered = await database.read(lambda connection: _column(connection, select(nodes.c.node_id).order_by(nodes.c.node_id)))
        assert ordered == made


class TestTransactions:
    async def test_what_raises_leaves_nothing_behind(self, database: Database) -> None:
        async def fail(connection: AsyncConnection) -> None:
            await connection.execute(insert(nodes).values(node_id=uuid4(), lease_until=START))
            raise Unavailable("on purpose")

        with pytest.raises(Unavailable, match="on purpose"):
            await database.transact(fail)
        assert await database.read(lambda connection: _scalar(connection, select(func.count()).select_from(nodes))) == 0

    async def test_many_at_once_come_out_as_if_one_by_one(self, database: Database) -> None:
        """Each adds a second to what it reads: with any weaker isolation some would be lost."""
        node_id = NodeId(uuid4())
        await database.transact(lambda connection: call_store.renew_lease(connection, node_id, START))

        async def add_a_second(connection: AsyncConnection) -> None:
            lease: datetime = await _scalar(connection, select(nodes.c.lease_until))
            await call_store.renew_lease(connection, node_id, lease + timedelta(seconds=1))

        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(database.transact, add_a_second)
        assert await database.read(lambda connection: _scalar(connection, select(nodes.c.lease_until))) == START + timedelta(
            seconds=6
        )

    async def test_reading_does_not_wait_for_a_writer(self, database: Database) -> None:
        async def read_meanwhile(connection: AsyncConnection) -> int:
            await connection.execute(insert(nodes).values(node_id=uuid4(), lease_until=START))
            with anyio.fail_after(5):
                return await database.read(lambda other: _scalar(other, select(func.count()).select_from(nodes)))

        assert await database.transact(read_meanwhile) == 0

    async def test_losing_a_race_runs_the_whole_transaction_again(self, postgresql: Database) -> None:
        """Write skew (Berenson et al. 1995): both look, both see nothing, both write. PostgreSQL answers one of them with 40001."""
        attempts, both_have_looked = 0, anyio.Event()

        async def add_if_none(connection: AsyncConnection) -> bool:
            nonlocal attempts
            attempts += 1
            count = await _scalar(connection, select(func.count()).select_from(nodes))
            if attempts == 2:
                both_have_looked.set()
            await both_have_looked.wait()
            if count:
                return False
            await connection.execute(insert(nodes).values(node_id=uuid4(), lease_until=START))
            return True

        outcomes: list[bool] = []

        async def run() -> None:
            outcomes.append(await postgresql.transact(add_if_none))

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            group.start_soon(run)
        assert sorted(outcomes) == [False, True]
        assert attempts == 3

    @pytest.mark.parametrize("code", ["40001", "40P01"])
    async def test_a_database_that_keeps_refusing_is_unavailable(self, postgresql: Database, code: str) -> None:
        attempts = 0

        async def refuse(connection: AsyncConnection) -> None:
            nonlocal attempts
            attempts += 1
            await connection.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END $$"))

        with pytest.raises(Unavailable):
            await postgresql.transact(refuse)
        assert attempts > 2
        with pytest.raises(Unavailable):
            await postgresql.read(refuse)

    async def test_a_database_that_is_not_there_is_unavailable(self) -> None:
        database = open_database("postgresql+asyncpg://nobody@127.0.0.1:1/nothing")
        try:
            with pytest.raises(Unavailable):
                await database.ping()
            with pytest.raises(Unavailable):
                await database.transact(lambda connection: _scalar(connection, text("SELECT 1")))
        finally:
            await database.close()

    async def test_a_server_that_was_restarted_is_found_again(self, postgresql: Database, postgres: str) -> None:
        """Every pooled connection is cut; the next use of the pool must not notice."""
        await postgresql.ping()
        admin = open_database(postgres)
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname LIKE 't%'"
        await admin.transact(lambda connection: _column(connection, text(cut)))
        await admin.close()
        await postgresql.ping()


class Node:
    """The services of one node; several on one database are a cluster."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database = database
        self.clock = clock
        self.ids = IdFactory(clock.now_ms, os.urandom)
        self.http = httpx2.AsyncClient()
        self.accounts = AccountService(
            database=database,
            ids=self.ids,
            clock=clock,
            passwords=PasswordHasher(argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)),
            issuer=TokenIssuer(secret=SECRET, issuer="us", audience="us", lifetime=timedelta(minutes=15)),
            verifier=TokenVerifier(secret=SECRET, issuer="us", audience="us", outside={}, http=self.http, clock=clock),
            refresh_lifetime=timedelta(days=30),
            revocations=Revocations(database=database, bus=MemoryBus(clock), clock=clock, lifetime=timedelta(minutes=15)),
            registration=Registration(database, clock, "open", "application", demo=False),
        )
        self.chat = ChatService(
            database=database, bus=MemoryBus(clock), ids=self.ids, clock=clock, on_member_removed=self._on_member_removed
        )

        revocations = self.accounts.sign_ins._revocations
        self.passwords = PasswordService(
            sign_ins=self.accounts.sign_ins,
            database=database,
            clock=clock,
            passwords=self.accounts._passwords,
            revocations=revocations,
        )
        self.administration = Administration(database=database, ids=self.ids, clock=clock, revocations=revocations)
        self.erasure = Erasure(database=database, clock=clock, leave=self.chat.leave)

    async def _on_member_removed(self, conversation_id: ConversationId, user_id: UserId) -> None:
        return

    async def register(self, name: str, key: str | None = None) -> UserId:
        signed_in = await self.accounts.register(
            email=f"{name}@example.com", password="long enough", display_name=name.title(), idempotency_key=key
        )
        return signed_in.user.user_id


@pytest.fixture
async def cluster(url: str, database: Database) -> AsyncIterator[list[Node]]:
    """Three nodes: of their own pools on PostgreSQL, of three processes' connections on an SQLite file."""
    clock = ManualClock()
    others = [open_database(url) for _ in range(2)]
    yield [Node(one, clock) for one in (database, *others)]
    for other in others:
        await other.close()


def token_of(subject: str) -> str:
    claims = {"iss": "us", "aud": "us", "sub": subject, "exp": int(START.timestamp()) + 3600}
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET), algorithms=["HS256"])


class Body(Struct):
    """Stands for a request's body."""


class TestServicesUnderRaces:
    """The same promises as in the unit tests, kept between nodes that know of each other only through the database."""

    async def test_one_email_is_one_account(self, cluster: list[Node]) -> None:
        outcomes = await on_each(cluster, lambda node: node.register("ada"))
        assert sorted(map(kind, outcomes)) == ["EmailTaken", "EmailTaken", "UUID"]

    async def test_one_key_is_one_account(self, cluster: list[Node]) -> None:
        outcomes = await on_each(cluster, lambda node: node.register("ada", "k-1"))
        assert len(set(outcomes)) == 1
        assert kind(outcomes[0]) == "UUID"

    async def test_racing_refreshes_are_one_exchange_and_its_repeats(self, cluster: list[Node]) -> None:
        await cluster[0].register("ada")
        signed_in = await cluster[0].accounts.login(email="ada@example.com", password="long enough")
        token = signed_in.refresh_token or ""
        outcomes = await on_each(cluster, lambda node: node.accounts.refresh(token))
        assert list(map(kind, outcomes)) == ["SignIn"] * 3
        successors = [outcome.refresh_token for outcome in outcomes]
        await cluster[1].accounts.refresh(successors[0])
        assert kind((await on_each(cluster[:1], lambda node: node.accounts.refresh(successors[1])))[0]) == "RefreshReused"

    async def test_of_racing_changes_of_a_password_exactly_one_wins(self, cluster: list[Node]) -> None:
        await cluster[0].register("ada")
        signed_in = await cluster[0].accounts.login(email="ada@example.com", password="long enough")
        principal = await cluster[0].accounts.authenticate(signed_in.access_token)
        outcomes = await on_each(cluster, lambda node: node.passwords.change(principal, "long enough", "longer still"))
        kinds = [kind(outcome) for outcome in outcomes]
        assert kinds.count("SignIn") == 1
        assert set(kinds) <= {"SignIn", "Conflict", "WrongPassword"}, "the others came at the same time, or after it"

    async def test_a_link_for_a_new_password_works_once(self, cluster: list[Node]) -> None:
        ada = await cluster[0].register("ada")
        token = await create_reset(cluster[0].database, cluster[0].clock.now(), ada)
        outcomes = await on_each(cluster, lambda node: node.passwords.reset(token, "longer still"))
        assert sorted(map(kind, outcomes)) == ["LinkExpired", "LinkExpired", "SignIn"]

    async def test_nodes_that_erase_the_same_user_do_not_disturb_each_other(self, cluster: list[Node]) -> None:
        ada, grace = [await cluster[0].register(name) for name in ("ada", "grace")]
        made = [await cluster[0].chat.create(ada, [grace]) for _ in range(3)]
        await cluster[1].administration.delete(ada)

        async def erase(node: Node) -> None:
            while await node.erasure.erase_batch():
                pass

        assert await on_each(cluster, erase) == [None] * 3
        for conversation in made:
            [member] = (await cluster[0].chat.get(grace, conversation.conversation_id)).participants
            assert (member.user_id, member.role) == (grace, "owner")

    @pytest.mark.parametrize("subject", [str(UUID(int=77)), "employee 7"])
    async def test_a_first_sight_makes_one_user(self, cluster: list[Node], subject: str) -> None:
        token = token_of(subject)
        outcomes = await on_each(cluster, lambda node: node.accounts.authenticate(token))
        assert len(set(outcomes)) == 1
        count = select(func.count()).select_from(users)
        assert await cluster[0].database.read(lambda connection: _scalar(connection, count)) == 1

    async def test_strangers_who_are_new_at_once_cost_each_other_nothing(self, cluster: list[Node]) -> None:
        """As users of an embedding application are after a rollout: a hundred in a second, at any node."""
        newcomers = [cluster[number % 3].accounts.authenticate(token_of(f"employee {number}")) for number in range(60)]
        seen = await asyncio.gather(*newcomers)
        assert len({one.user_id for one in seen}) == 60
        assert sum(node.database.retries["40001"] for node in cluster) == 0

    async def test_whoever_is_being_taken_out_is_not_let_in(self, postgresql: Database) -> None:
        """On a snapshot one would see a member who is none any more, were members not held: then all of it is run again."""
        node = Node(postgresql, ManualClock())
        ada, grace = await node.register("ada"), await node.register("grace")
        conversation_id = (await node.chat.create(ada, [grace])).conversation_id
        seen: list[set[UserId]] = []

        async def let_in(connection: AsyncConnection) -> None:
            seen.append({member.user_id for member in await chat_store.members_of(connection, conversation_id)})
            if len(seen) == 1:
                await node.chat.remove(ada, conversation_id, grace)
            await chat_store.hold_members(connection, conversation_id)

        await postgresql.transact(let_in, isolation="snapshot")
        assert seen == [{ada, grace}, {ada}]

    async def test_whoever_is_taken_out_while_members_are_held_waits(self, postgresql: Database) -> None:
        node = Node(postgresql, ManualClock())
        ada, grace = await node.register("ada"), await node.register("grace")
        conversation_id = (await node.chat.create(ada, [grace])).conversation_id
        done: list[str] = []

        async def take_out() -> None:
            await node.chat.remove(ada, conversation_id, grace)
            done.append("taken out")

        async with anyio.create_task_group() as group:

            async def hold(connection: AsyncConnection) -> None:
                await chat_store.hold_members(connection, conversation_id)
                group.start_soon(take_out)
                waiting = select(func.count()).select_from(text("pg_locks")).where(text("NOT granted"))
                while True:
                    if await _scalar(connection, waiting):
                        break
                    await anyio.sleep(0.01)  # it can only be asked
                done.append("held")

            with anyio.fail_after(10):
                await postgresql.transact(hold, isolation="snapshot")
        assert done == ["held", "taken out"]

    async def test_a_conversation_written_to_by_many_keeps_every_message_in_one_order(self, cluster: list[Node]) -> None:
        node = cluster[0]
        ada, grace = await node.register("ada"), await node.register("grace")
        made = await node.chat.create(ada, [grace])
        numbers = iter(range(6))
        outcomes = await on_each(cluster * 2, lambda node: node.chat.send(ada, made.conversation_id, str(next(numbers))))
        assert {kind(outcome) for outcome in outcomes} == {"Message"}
        messages, _ = await node.chat.timeline(grace, made.conversation_id, limit=100, after=None)
        assert sorted(message.content for message in messages) == [str(number) for number in range(6)]
        assert (await node.chat.get(grace, made.conversation_id)).unread_count == 6

    async def test_one_key_is_one_message(self, cluster: list[Node]) -> None:
        node = cluster[0]
        ada, grace = await node.register("ada"), await node.register("grace")
        made = await node.chat.create(ada, [grace])
        promise = Idempotency.of(ada, "message", "k-1", Body())
        outcomes = await on_each(cluster, lambda node: node.chat.send(ada, made.conversation_id, "once", promise))
        assert len(set(outcomes)) == 1
        assert kind(outcomes[0]) == "Message"

    async def test_of_two_owners_leaving_at_once_somebody_inherits(self, cluster: list[Node]) -> None:
        node = cluster[0]
        ada, grace, hedy = [await node.register(name) for name in ("ada", "grace", "hedy")]
        made = await node.chat.create(ada, [grace, hedy])
        leaving = iter([ada, grace])

        async def leave(node: Node) -> None:
            user_id = next(leaving)
            await node.chat.remove(user_id, made.conversation_id, user_id)

        await on_each(cluster[:2], leave)
        [left] = (await node.chat.get(hedy, made.conversation_id)).participants
        assert (left.user_id, left.role) == (hedy, "owner")

    async def test_text_of_every_script_is_found_and_comes_back(self, cluster: list[Node]) -> None:
        node = cluster[0]
        me = await node.register("me")
        name = "Łukasz Groß 👩‍🚀 ユキ"
        await node.accounts.register(email="l@example.org", password="long enough", display_name=name)
        for words in ("ŁUK", "gross", "ﾕｷ", "l@EXAMPLE.org"):
            found, _ = await node.accounts.search(me, words, limit=10)
            assert [user.display_name for user in found] == [name], words
        assert (await node.accounts.search(me, "l@ex", limit=10))[0] == [], "an email is found as a whole, or not at all"


class TestCockroach:
    """No CockroachDB runs here; that its dialect takes our schema and every statement the services make is what can be said."""

    DIALECT = CockroachDBDialect_asyncpg()

    def test_the_schema_compiles(self) -> None:
        for table in metadata.sorted_tables:
            assert f"CREATE TABLE {table.name}" in str(CreateTable(table).compile(dialect=self.DIALECT))
            for index in table.indexes:
                assert "INDEX" in str(CreateIndex(index).compile(dialect=self.DIALECT))

    async def test_every_statement_of_the_services_compiles(self, tmp_path: Path) -> None:
        database = open_database(f"sqlite+aiosqlite:///{tmp_path / 'statements.sqlite3'}")
        await migrate(database)
        statements: list[ClauseElement] = []

        def collect(_connection: object, statement: ClauseElement, *_: object) -> None:
            statements.append(statement)

        event.listen(database._engine.sync_engine, "before_execute", collect)
        try:
            await _a_day_of_use(Node(database, ManualClock()))
        finally:
            await database.close()
        compiled = {str(statement.compile(dialect=self.DIALECT)) for statement in statements}
        assert len(compiled) > 20
        for table in ("users", "refresh_tokens", "conversations", "conversation_members", "messages"):
            assert any(table in sql for sql in compiled)

    def test_every_prepared_statement_compiles(self) -> None:
        prepared = [one for module in STATEMENTS for one in vars(module).values() if isinstance(one, Prepared)]
        assert len(prepared) > 20
        for one in prepared:
            one.compile(self.DIALECT)


async def _a_day_of_use(node: Node) -> None:
    """Every function of the account and chat services, at least once."""
    ada, grace, hedy = [await node.register(name, name) for name in ("ada", "grace", "hedy")]
    signed_in = await node.accounts.login(email="ada@example.com", password="long enough")
    signed_in = await node.accounts.refresh(signed_in.refresh_token or "")
    await node.accounts.logout(signed_in.refresh_token or "")
    await node.accounts.authenticate(await node.accounts.mint(ada))
    await node.accounts.mint("ada@example.com")
    found, after = await node.accounts.search(ada, "", limit=1)
    await node.accounts.search(ada, "g%", limit=1, after=after)
    made = await node.chat.create(ada, [grace], "Engines", Idempotency.of(ada, "conversation", "k", Body()))
    conversation_id = made.conversation_id
    message = await node.chat.send(ada, conversation_id, "hello", Idempotency.of(ada, "message", "k", Body()))
    await node.chat.mark_read(grace, conversation_id, message.message_id)
    await node.chat.timeline(grace, conversation_id, limit=1, after=message.message_id)
    await node.chat.conversations(grace, limit=1, after=message.message_id)
    await node.chat.rename(grace, conversation_id, None)
    node.clock.advance(1)  # so that Grace is longer in it than Hedy, and inherits
    await node.chat.add(ada, conversation_id, [hedy])
    await node.chat.remove(ada, conversation_id, ada)
    await node.chat.delete(grace, conversation_id)
    await node.chat.purge_batch()
    assert found
    await _a_day_of_the_operator(node, grace, hedy)


async def _a_day_of_the_operator(node: Node, grace: UserId, hedy: UserId) -> None:
    """Every function by which accounts are managed, at least once."""
    signed_in = await node.accounts.login(email="grace@example.com", password="long enough")
    principal = await node.accounts.authenticate(signed_in.access_token)
    await node.passwords.change(principal, "long enough", "longer still")
    await node.passwords.reset(await create_reset(node.database, node.clock.now(), grace), "long enough")
    listed = await node.administration.list_users("g", limit=10, after=UUID(int=0))
    assert [user.user_id for user in listed] == [grace]
    await node.administration.create("ida@example.com", "Ida")
    for deed in (node.administration.sign_out, node.administration.disable, node.administration.enable):
        await deed(grace)
    await node.chat.create(grace, [hedy])
    await node.administration.delete(grace)
    while await node.erasure.erase_batch():
        pass


async def on_each(cluster: list[Node], call: Callable[[Node], Awaitable[Any]]) -> list[Any]:
    """Call all nodes at the same time; what each returned or was refused with."""
    outcomes: list[Any] = []

    async def run(node: Node) -> None:
        try:
            outcomes.append(await call(node))
        except ServiceError as refusal:
            outcomes.append(refusal)

    async with anyio.create_task_group() as group:
        for node in cluster:
            group.start_soon(run, node)
    return outcomes


def kind(outcome: object) -> str:
    return type(outcome).__name__


async def _scalar(connection: AsyncConnection, query: Any) -> Any:
    return (await connection.execute(query)).scalar_one()


async def _column(connection: AsyncConnection, query: Any) -> list[Any]:
    return list((await connection.execute(query)).scalars())
