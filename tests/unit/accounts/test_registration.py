"""Registration: who may make an account, invitations, what an upgrade keeps, and whom a search finds."""

from datetime import timedelta
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.access_errors import InvitationRequired, RegistrationClosed
from secureconnect.accounts.registration import Directory, Registration, RegistrationMode, invite
from secureconnect.accounts.service import AccountService
from secureconnect.errors import EmailTaken
from secureconnect.ids import ConversationId, IdFactory, UserId
from secureconnect.store import Database, open_database, schema
from secureconnect.store import chat as chat_store
from secureconnect.store.access_tables import registration_invitations
from secureconnect.store.chat import StoredConversation
from secureconnect.store.tables import users
from tests.fakes.clock import ManualClock
from tests.unit.accounts.conftest import MakeService

pytestmark = pytest.mark.anyio

ADA: dict[str, Any] = {"email": "ada@example.com", "password": "analytical engine", "display_name": "Ada"}


def rule(
    database: Database,
    clock: ManualClock,
    mode: RegistrationMode | None = None,
    directory: Directory | None = None,
    *,
    demo: bool = False,
) -> Registration:
    return Registration(database, clock, mode, directory, demo=demo)


@pytest.fixture
def invited(accounts: AccountService, database: Database, clock: ManualClock) -> AccountService:
    accounts.registration = rule(database, clock, "invited")
    return accounts


async def test_a_fresh_server_makes_no_accounts(accounts: AccountService, database: Database, clock: ManualClock) -> None:
    accounts.registration = rule(database, clock)
    await accounts.registration.load()
    assert accounts.registration.public.registration == "off"
    assert accounts.registration.directory == "conversations"
    with pytest.raises(RegistrationClosed):
        await accounts.register(**ADA)


async def test_a_demo_is_open_and_a_setting_wins(database: Database, clock: ManualClock) -> None:
    demo = rule(database, clock, demo=True)
    assert (demo.public.registration, demo.public.demo, demo.directory) == ("open", True, "application")
    closed = rule(database, clock, "off", "off", demo=True)
    await closed.load()
    assert (closed.public.registration, closed.directory) == ("off", "off")


async def test_an_invitation_admits_one_account(invited: AccountService, database: Database, clock: ManualClock) -> None:
    token = await invite(database, clock.now(), timedelta(days=7))
    signed_in = await invited.register(**ADA, invitation=token, idempotency_key="once")
    again = await invited.register(**ADA, invitation=token, idempotency_key="once")
    assert again.user == signed_in.user
    with pytest.raises(InvitationRequired):
        await invited.register(**ADA | {"email": "eve@example.com"}, invitation=token)


@pytest.mark.parametrize("token", [None, "", "made up", "\ud800"])
async def test_without_an_invitation_there_is_no_account(
    invited: AccountService, token: str | None, database: Database, clock: ManualClock
) -> None:
    await invite(database, clock.now(), timedelta(days=7))
    with pytest.raises(InvitationRequired):
        await invited.register(**ADA, invitation=token)


async def test_an_invitation_expires(invited: AccountService, clock: ManualClock, database: Database) -> None:
    token = await invite(database, clock.now(), timedelta(days=7))
    clock.advance(timedelta(days=7).total_seconds())
    with pytest.raises(InvitationRequired):
        await invited.register(**ADA, invitation=token)


async def test_of_two_registrations_with_one_invitation_one_succeeds(
    invited: AccountService, database: Database, clock: ManualClock
) -> None:
    token = await invite(database, clock.now(), timedelta(days=7))
    made: list[str] = []

    async def try_one(number: int) -> None:
        try:
            await invited.register(**ADA | {"email": f"{number}@example.com"}, invitation=token)
            made.append(f"{number}@example.com")
        except InvitationRequired:
            pass

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(try_one, number)
    assert len(made) == 1


async def test_a_failed_registration_leaves_the_invitation(invited: AccountService, database: Database, clock: ManualClock) -> None:
    first, second = [await invite(database, clock.now(), timedelta(days=7)) for _ in range(2)]
    await invited.register(**ADA, invitation=first)
    with pytest.raises(EmailTaken):
        await invited.register(**ADA, invitation=second)
    await invited.register(**ADA | {"email": "grace@example.com"}, invitation=second)


async def test_the_database_keeps_no_token(invited: AccountService, database: Database, clock: ManualClock) -> None:
    token = await invite(database, clock.now(), timedelta(days=7))
    rows = await database.read(_invitations)
    assert len(rows) == 1
    assert token not in str(rows)


async def _invitations(connection: AsyncConnection) -> list[sa.Row[tuple[object, ...]]]:
    return list((await connection.execute(sa.select(registration_invitations))).all())


async def test_the_conversations_directory_finds_people_one_talks_with(
    make_service: MakeService, database: Database, ids: IdFactory, clock: ManualClock
) -> None:
    accounts = make_service(database)
    ada, grace, linus = [
        (await accounts.register(email=f"{name}@example.com", password="long enough", display_name=f"Dr. {name}")).user.user_id
        for name in ("ada", "grace", "linus")
    ]
    accounts.registration = rule(database, clock, "open", "conversations")
    assert await accounts.search(ada, "dr", limit=10) == ([], None)
    await database.transact(lambda connection: _converse(connection, ids.conversation(), ada, grace, clock))
    found, _ = await accounts.search(ada, "dr", limit=10)
    assert [person.user_id for person in found] == [grace]
    assert await accounts.search(ada, "linus@example.com", limit=10) == ([], None)
    assert await accounts.search(linus, "", limit=10) == ([], None)
    accounts.registration = rule(database, clock, "open", "off")
    assert await accounts.search(ada, "dr", limit=10) == ([], None)


async def _converse(
    connection: AsyncConnection, conversation_id: ConversationId, owner: UserId, other: UserId, clock: ManualClock
) -> None:
    row = StoredConversation(conversation_id, None, clock.now(), last_activity_id=conversation_id)
    await chat_store.insert_conversation(connection, row, [(owner, "owner"), (other, "member")], created_by=owner)


class TestUpgrade:
    """From the schema of 0.1, revision 0011."""

    @pytest.fixture
    async def old(self, tmp_path: object) -> Database:
        database = open_database(f"sqlite+aiosqlite:///{tmp_path}/old.sqlite3")

        def go_to_0_1(connection: Connection) -> None:
            config = schema._config()
            config.attributes["connection"] = connection
            command.upgrade(config, "0011")

        await database.run_sync(go_to_0_1)
        return database

    async def test_registration_stays_open(self, old: Database, clock: ManualClock) -> None:
        await schema.migrate(old)
        registration = rule(old, clock)
        await registration.load()
        assert registration.public.registration == "open"
        assert registration.directory == "conversations"
        await old.close()

    async def test_emails_leave_the_search(
        self, old: Database, make_service: MakeService, clock: ManualClock, ids: IdFactory
    ) -> None:
        await old.transact(lambda connection: _insert_as_0_1(connection, ids.user(), "ada@example.com", "Ada", clock))
        await old.transact(lambda connection: _insert_as_0_1(connection, ids.user(), "straße@example.com", "Groß", clock))
        await schema.migrate(old)
        # A node of 0.1 beside the new ones.
        await old.transact(lambda connection: _insert_as_0_1(connection, ids.user(), "late@example.com", "Late", clock))
        accounts = make_service(old)
        me = UserId(ids.new())
        assert await accounts.search(me, "late@e", limit=10) == ([], None)
        for words, names in {
            "ada@e": [],
            "stra": [],
            "strasse@": [],
            "ada@example.com": ["Ada"],
            "gro": ["Groß"],
            "la": ["Late"],
        }.items():
            found, _ = await accounts.search(me, words, limit=10)
            assert [person.display_name for person in found] == names, words
        await old.close()


async def _insert_as_0_1(connection: AsyncConnection, user_id: UserId, email: str, name: str, clock: ManualClock) -> None:
    folded = f" {name.casefold()} {email.casefold()}"
    row = {"user_id": user_id, "email": email, "display_name": name, "search_text": folded, "created_at": clock.now()}
    await connection.execute(sa.insert(users).values(row))
