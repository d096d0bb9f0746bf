"""A deleted user goes step by step: what identifies one at once, the rest in batches, whatever fails in between."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.accounts.administration import Administration
from secureconnect.accounts.erasure import Erasure
from secureconnect.accounts.service import AccountService
from secureconnect.errors import NotFound, Unavailable
from secureconnect.ids import ConversationId, IdFactory, UserId
from secureconnect.store import Database
from secureconnect.store import chat as chat_store
from secureconnect.store import erasure as erasure_store
from secureconnect.store.chat import StoredConversation
from secureconnect.store.tables import (
    call_participants,
    calls,
    conversation_members,
    pushes,
    quality_readings,
    refresh_tokens,
    ring_receipts,
    users,
)
from tests.fakes.clock import START, ManualClock

pytestmark = pytest.mark.anyio

ADA, BEN = "ada@example.com", "ben@example.com"


class Hospital:
    """Two users in conversations and calls, and what erases them."""

    def __init__(self, accounts: AccountService, database: Database, ids: IdFactory, clock: ManualClock) -> None:
        self.accounts, self.database, self.ids, self.clock = accounts, database, ids, clock
        self.administration = Administration(database=database, ids=ids, clock=clock, revocations=accounts.sign_ins._revocations)
        self.erasure = Erasure(database=database, clock=clock, leave=self._leave)
        self.left: list[ConversationId] = []
        self.refuses_to_leave: type[Exception] | None = None

    async def open(self) -> None:
        self.ada = await self._register(ADA, "Ada")
        self.ben = await self._register(BEN, "Ben")

    async def _register(self, email: str, name: str) -> UserId:
        made = await self.accounts.register(email=email, password="correct horse", display_name=name)
        return made.user.user_id

    async def _leave(self, user_id: UserId, conversation_id: ConversationId) -> None:
        if self.refuses_to_leave is not None:
            raise self.refuses_to_leave
        await self.database.transact(lambda connection: chat_store.remove_member(connection, conversation_id, user_id))
        self.left.append(conversation_id)

    async def converse(self) -> ConversationId:
        made = self.ids.conversation()
        new = StoredConversation(made, None, START, last_activity_id=made)
        members: list[tuple[UserId, chat_store.Role]] = [(self.ada, "owner"), (self.ben, "member")]
        await self.database.transact(
            lambda connection: chat_store.insert_conversation(connection, new, members, created_by=self.ada)
        )
        return made

    async def call(self, conversation_id: ConversationId, *, is_live: bool = False) -> None:
        """Write down a call of both, with everything that is kept of one."""
        call_id, at = self.ids.call(), self.clock.now()

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(
                insert(calls).values(
                    call_id=call_id,
                    conversation_id=conversation_id,
                    call_type="audio",
                    status="active" if is_live else "ended",
                    version=1,
                    caller_id=self.ada,
                    capacity=4,
                    created_at=at,
                    due_at=at if is_live else None,
                )
            )
            for position, (user_id, name) in enumerate([(self.ada, "Ada"), (self.ben, "Ben")]):
                person = {"call_id": call_id, "user_id": user_id}
                seat = {"position": position, "display_name": name, "state": "left", "waiting": False}
                await connection.execute(insert(call_participants).values(**person, **seat, devices=f'["{uuid4()}"]'))
                reading = {"reading_id": self.ids.new(), "session_id": uuid4(), "at": at}
                await connection.execute(insert(quality_readings).values(**person, **reading))
                receipt = {"device_id": uuid4(), "kind": "shown", "reason": "", "at": at}
                await connection.execute(insert(ring_receipts).values(**person, **receipt))
                await connection.execute(
                    insert(pushes).values(
                        **person,
                        push_id=self.ids.new(),
                        device_id=uuid4(),
                        provider="log",
                        kind="ring",
                        payload='{"caller_name":"Ada"}',
                        dedupe_key=str(uuid4()),
                        created_at=at,
                        expires_at=at,
                        attempts=1,
                        done_at=at,
                    )
                )

        await self.database.transact(work)

    async def erase(self) -> int:
        """Run steps until none is left to do; how many there were."""
        steps = 0
        while await self.erasure.erase_batch():
            steps += 1
            assert steps < 100
        return steps

    async def dump(self) -> str:
        """Everything in the tables that knows of users, as one text."""
        tables = (users, refresh_tokens, conversation_members, call_participants, quality_readings, ring_receipts, pushes)

        async def work(connection: AsyncConnection) -> str:
            return "\n".join([f"{table.name} {row}" for table in tables for row in await connection.execute(select(table))])

        return await self.database.read(work)

    async def is_erased(self) -> bool:
        query = select(users.c.erased_at).where(users.c.user_id == self.ada)

        async def work(connection: AsyncConnection) -> bool:
            return (await connection.execute(query)).scalar_one() is not None

        return await self.database.read(work)


@pytest.fixture
async def hospital(accounts: AccountService, database: Database, ids: IdFactory, clock: ManualClock) -> Hospital:
    hospital = Hospital(accounts, database, ids, clock)
    await hospital.open()
    return hospital


def lines_of(dump: str, table: str, user_id: UserId) -> list[str]:
    return [line for line in dump.splitlines() if line.startswith(f"{table} ") and str(user_id) in line]


async def test_nothing_that_identifies_a_user_remains(hospital: Hospital) -> None:
    conversations = [await hospital.converse() for _ in range(3)]
    for conversation_id in conversations:
        await hospital.call(conversation_id)
    await hospital.administration.delete(hospital.ada)
    assert ADA not in await hospital.dump(), "that much goes with the command"
    await hospital.erase()
    assert sorted(hospital.left) == sorted(conversations)
    assert await hospital.is_erased()
    dump = await hospital.dump()
    assert "Ada" not in dump
    for table in ("refresh_tokens", "conversation_members", "quality_readings", "ring_receipts", "pushes"):
        assert not lines_of(dump, table, hospital.ada)
    for line in lines_of(dump, "call_participants", hospital.ada):
        assert "Deleted user" in line
        assert "'[]'" in line
    assert await hospital.erase() == 0


async def test_what_others_have_stays(hospital: Hospital) -> None:
    await hospital.call(await hospital.converse())
    await hospital.administration.delete(hospital.ada)
    await hospital.erase()
    dump = await hospital.dump()
    for table in (
        "users",
        "refresh_tokens",
        "conversation_members",
        "call_participants",
        "quality_readings",
        "ring_receipts",
        "pushes",
    ):
        assert lines_of(dump, table, hospital.ben)
    assert (await hospital.accounts.login(email=BEN, password="correct horse")).user.display_name == "Ben"


async def test_a_failure_in_between_loses_nothing(hospital: Hospital) -> None:
    conversation_id = await hospital.converse()
    await hospital.call(conversation_id)
    await hospital.administration.delete(hospital.ada)
    hospital.refuses_to_leave = Unavailable
    with pytest.raises(Unavailable):
        await hospital.erasure.erase_batch()
    assert not await hospital.is_erased()
    hospital.refuses_to_leave = None
    await hospital.erase()
    assert hospital.left == [conversation_id]
    assert await hospital.is_erased()


async def test_a_conversation_that_is_gone_holds_nothing_up(hospital: Hospital) -> None:
    await hospital.converse()
    await hospital.administration.delete(hospital.ada)
    hospital.refuses_to_leave = NotFound
    await hospital.erase()
    assert await hospital.is_erased()
    assert not lines_of(await hospital.dump(), "conversation_members", hospital.ada)


async def test_a_live_call_is_waited_for(hospital: Hospital) -> None:
    conversation_id = await hospital.converse()
    await hospital.call(conversation_id, is_live=True)
    await hospital.administration.delete(hospital.ada)
    await hospital.erase()
    assert not await hospital.is_erased()
    await hospital.database.transact(lambda connection: connection.execute(calls.update().values(due_at=None)))
    await hospital.erase()
    assert await hospital.is_erased()
    assert "Ada" not in await hospital.dump()


async def test_many_calls_go_in_batches(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure_store, "BATCH_CALLS", 2)
    conversation_id = await hospital.converse()
    for _ in range(5):
        hospital.clock.advance(timedelta(minutes=1).total_seconds())
        await hospital.call(conversation_id)
    await hospital.administration.delete(hospital.ada)
    assert await hospital.erase() == 1 + 3 + 1, "one to leave, three of calls, one to write down that it is done"
    assert "Ada" not in await hospital.dump()


async def test_a_user_whom_no_one_deleted_is_left_alone(hospital: Hospital) -> None:
    await hospital.converse()
    await hospital.administration.disable(hospital.ada)
    assert await hospital.erase() == 0
    assert ADA in await hospital.dump()
