"""What the chat promises when many use it at once, on a real PostgreSQL with three nodes: strangers cost each other nothing, and of
two who change one conversation the second decides by what the first one left. In line: which of the two is first is no luck.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, cast

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.chat.conversation import Conversation
from secureconnect.chat.service import Rules
from secureconnect.clock import SystemClock
from secureconnect.errors import NotFound, ServiceError
from secureconnect.ids import ConversationId, UserId
from secureconnect.store import Database, open_database
from secureconnect.store import chat as store
from secureconnect.store.idempotency import Idempotency
from secureconnect.store.schema import migrate
from secureconnect.store.tables import calls, conversation_members, messages
from tests.contract.test_store import Body, empty_postgres_database, kind, postgres  # noqa: F401  (a fixture)
from tests.unit.push.conftest import Switchboard

pytestmark = pytest.mark.anyio
MANY = 100
PATIENCE = 30.0
ANYONE_ADDS = Rules(members_may_add=True)


class Cluster:
    """Three nodes that know of each other only through the database, and the people who use them."""

    def __init__(self, databases: list[Database]) -> None:
        self.nodes = [Switchboard(database, SystemClock()) for database in databases]
        self.ada: UserId
        self.grace: UserId
        self.hedy: UserId
        self.room: ConversationId

    async def furnish(self) -> None:
        """Three people in one room, which is Ada's."""
        self.ada, self.grace, self.hedy = await self.people(3)
        self.room = (await self.nodes[0].chat.create(self.ada, [self.grace, self.hedy], rules=ANYONE_ADDS)).conversation_id

    async def people(self, count: int) -> list[UserId]:
        return [await self.nodes[0].person(f"Person {number}") for number in range(count)]

    @property
    def retries(self) -> dict[str, int]:
        """How many transactions had to be run again, by why."""
        return dict(sum((node.database.retries for node in self.nodes[1:]), self.nodes[0].database.retries))

    async def in_line(self, *deeds: Awaitable[Any]) -> list[Any]:
        """What came of each, when all want the room at the same instant and get it in this order."""
        running: list[asyncio.Future[Any]] = []

        async def hold(connection: AsyncConnection) -> None:
            await store.hold_conversation(connection, self.room, self.ada)
            for deed in deeds:
                running.append(asyncio.ensure_future(_outcome(deed)))
                while True:
                    if await _scalar(connection, _WAITING) == len(running):
                        break
                    await asyncio.sleep(0.005)  # it can only be asked

        async with asyncio.timeout(PATIENCE):
            await self.nodes[2].database.transact(hold, isolation="committed")
            return await asyncio.gather(*running)

    async def written(self) -> list[str]:
        """The kinds of the room's entries, oldest first."""
        query = select(messages.c.kind).where(messages.c.conversation_id == self.room).order_by(messages.c.message_id)
        return await self.nodes[0].database.read(lambda connection: _column(connection, query))

    async def roles(self) -> list[tuple[UserId, str]]:
        members = await self.nodes[0].database.read(lambda connection: store.members_of(connection, self.room))
        return [(member.user_id, member.role) for member in members]


@pytest.fixture
async def cluster(postgres: str) -> AsyncIterator[Cluster]:  # noqa: F811
    async with empty_postgres_database(postgres) as url:
        databases = [open_database(url, patience=PATIENCE) for _ in range(3)]
        await migrate(databases[0])
        cluster = Cluster(databases)
        await cluster.furnish()
        yield cluster
        for database in databases:
            await database.close()


class TestStrangers:
    async def test_a_hundred_who_begin_conversations_at_once_cost_each_other_nothing(self, cluster: Cluster) -> None:
        people = await cluster.people(2 * MANY)
        pairs = list(zip(people[::2], people[1::2], strict=True))
        made = await asyncio.gather(
            *(cluster.nodes[number % 3].chat.create(one, [other]) for number, (one, other) in enumerate(pairs))
        )
        assert len({one.conversation_id for one in made}) == MANY
        assert [{member.user_id for member in one.participants} for one in made] == [set(pair) for pair in pairs]
        assert cluster.retries == {}

    async def test_nor_do_a_hundred_conversations_between_the_same_two(self, cluster: Cluster) -> None:
        pair = (cluster.ada, cluster.grace)
        made = await asyncio.gather(
            *(cluster.nodes[number % 3].chat.create(pair[number % 2], [pair[number % 2 - 1]]) for number in range(MANY))
        )
        assert len({one.conversation_id for one in made}) == MANY
        assert cluster.retries == {}

    async def test_nor_do_they_when_they_write_read_and_bring_people_in(self, cluster: Cluster) -> None:
        people = await cluster.people(3 * 20)

        async def talk(node: Switchboard, one: UserId, other: UserId, third: UserId) -> None:
            room = (await node.chat.create(one, [other], rules=ANYONE_ADDS)).conversation_id
            message = await node.chat.send(one, room, "hello")
            await node.chat.mark_read(other, room, message.message_id)
            await node.chat.add(other, room, [third])
            await node.chat.rename(third, room, "The three of us")
            await node.chat.remove(one, room, third)
            await node.chat.delete(one, room)

        trios = list(zip(people[::3], people[1::3], people[2::3], strict=True))
        await asyncio.gather(*(talk(cluster.nodes[number % 3], *trio) for number, trio in enumerate(trios)))
        assert cluster.retries == {}


class TestOneConversation:
    async def test_whoever_write_at_once_wait_for_each_other_and_none_is_run_again(self, cluster: Cluster) -> None:
        people = [cluster.ada, cluster.grace, cluster.hedy]
        sent = await asyncio.gather(
            *(cluster.nodes[number % 3].chat.send(people[number % 2], cluster.room, str(number)) for number in range(MANY))
        )
        assert len({message.message_id for message in sent}) == MANY
        assert (await cluster.nodes[0].chat.get(cluster.hedy, cluster.room)).unread_count == MANY
        assert cluster.retries == {}

    async def test_one_key_is_one_conversation(self, cluster: Cluster) -> None:
        promise = Idempotency.of(cluster.ada, "conversation", "k-1", Body())
        made = await asyncio.gather(
            *(cluster.nodes[number % 3].chat.create(cluster.ada, [cluster.grace], promise=promise) for number in range(9))
        )
        assert len({one.conversation_id for one in made}) == 1

    async def test_who_was_taken_out_writes_no_more(self, cluster: Cluster) -> None:
        one, other, _ = (node.chat for node in cluster.nodes)
        outcomes = await cluster.in_line(
            one.remove(cluster.ada, cluster.room, cluster.grace), other.send(cluster.grace, cluster.room, "too late")
        )
        assert list(map(kind, outcomes)) == ["NoneType", "NotFound"]
        assert await cluster.written() == []
        assert cluster.retries == {}

    async def test_what_was_written_first_stays(self, cluster: Cluster) -> None:
        one, other, _ = (node.chat for node in cluster.nodes)
        outcomes = await cluster.in_line(
            other.send(cluster.grace, cluster.room, "in time"), one.remove(cluster.ada, cluster.room, cluster.grace)
        )
        assert list(map(kind, outcomes)) == ["Message", "NoneType"]
        assert await cluster.written() == ["text"]
        assert await cluster.roles() == [(cluster.ada, "owner"), (cluster.hedy, "member")]

    async def test_who_was_taken_out_neither_calls_nor_is_called(self, cluster: Cluster) -> None:
        one, two, three = cluster.nodes
        outcomes = await cluster.in_line(
            one.chat.remove(cluster.ada, cluster.room, cluster.grace),
            two.ring_in(cluster.room, cluster.grace, cluster.hedy),
            three.ring_in(cluster.room, cluster.ada, cluster.grace),
        )
        assert list(map(kind, outcomes)) == ["NoneType", "NotFound", "NotAMember"]
        assert await cluster.written() == []
        assert await one.database.read(lambda connection: _scalar(connection, select(func.count()).select_from(calls))) == 0
        assert cluster.retries == {}

    async def test_whoever_is_taken_out_of_a_conversation_is_found_in_the_call_that_began_before(self, cluster: Cluster) -> None:
        one, two, _ = cluster.nodes
        call, gone = await cluster.in_line(
            two.ring_in(cluster.room, cluster.ada, cluster.grace), one.chat.remove(cluster.ada, cluster.room, cluster.grace)
        )
        assert (kind(call), gone) == ("Call", None)
        await one.calls.member_removed(cluster.room, cluster.grace)
        assert [str(person.state) for person in (await one.calls.get(cluster.ada, call.call_id)).participants][1] != "ringing"
        assert cluster.retries == {}

    async def test_the_last_owner_leaves_once(self, cluster: Cluster) -> None:
        leaving = [node.chat.remove(cluster.ada, cluster.room, cluster.ada) for node in cluster.nodes[:2]]
        assert list(map(kind, await cluster.in_line(*leaving))) == ["NoneType", "NotFound"]
        assert sorted(role for _, role in await cluster.roles()) == ["member", "owner"]
        assert cluster.retries == {}

    async def test_of_all_who_leave_at_once_the_last_one_ends_it(self, cluster: Cluster) -> None:
        one, two, three = (node.chat for node in cluster.nodes)
        outcomes = await cluster.in_line(
            one.remove(cluster.ada, cluster.room, cluster.ada),
            two.remove(cluster.grace, cluster.room, cluster.grace),
            three.remove(cluster.hedy, cluster.room, cluster.hedy),
        )
        assert outcomes == [None, None, None]
        found = await cluster.nodes[0].database.read(lambda connection: store.find_conversation(connection, cluster.room))
        assert found is None
        assert cluster.retries == {}

    async def test_whom_two_bring_in_is_in_once(self, cluster: Cluster) -> None:
        [guest] = await cluster.people(1)
        one, two, _ = (node.chat for node in cluster.nodes)
        outcomes = await cluster.in_line(one.add(cluster.ada, cluster.room, [guest]), two.add(cluster.grace, cluster.room, [guest]))
        for seen in cast("list[Conversation]", outcomes):
            assert [member.user_id for member in seen.participants].count(guest) == 1
        count = select(func.count()).select_from(conversation_members).where(conversation_members.c.user_id == guest)
        assert await cluster.nodes[0].database.read(lambda connection: _scalar(connection, count)) == 1
        assert cluster.retries == {}

    async def test_nothing_is_written_into_what_was_deleted(self, cluster: Cluster) -> None:
        one, two, three = cluster.nodes
        outcomes = await cluster.in_line(
            one.chat.delete(cluster.ada, cluster.room),
            two.chat.send(cluster.grace, cluster.room, "too late"),
            three.ring_in(cluster.room, cluster.grace, cluster.hedy),
            two.chat.add(cluster.grace, cluster.room, await cluster.people(1)),
        )
        assert list(map(kind, outcomes)) == ["NoneType", "NotFound", "NotFound", "NotFound"]
        assert await cluster.written() == []
        assert cluster.retries == {}

    async def test_what_was_written_first_is_deleted_with_it(self, cluster: Cluster) -> None:
        one, two, _ = (node.chat for node in cluster.nodes)
        outcomes = await cluster.in_line(two.send(cluster.grace, cluster.room, "in time"), one.delete(cluster.ada, cluster.room))
        assert list(map(kind, outcomes)) == ["Message", "NoneType"]
        assert await cluster.written() == []
        with pytest.raises(NotFound):
            await one.timeline(cluster.grace, cluster.room, limit=1, after=None)

    async def test_of_two_read_marks_the_later_one_stays(self, cluster: Cluster) -> None:
        one, two, _ = (node.chat for node in cluster.nodes)
        sent = [await one.send(cluster.ada, cluster.room, str(number)) for number in range(9)]
        await asyncio.gather(
            *(
                (one, two)[number % 2].mark_read(cluster.grace, cluster.room, message.message_id)
                for number, message in enumerate(sent)
            )
        )
        assert (await one.get(cluster.grace, cluster.room)).unread_count == 0
        assert cluster.retries == {}


async def _outcome(deed: Awaitable[Any]) -> Any:
    try:
        return await deed
    except ServiceError as refusal:
        return refusal


async def _scalar(connection: AsyncConnection, query: Any) -> Any:
    return (await connection.execute(query)).scalar_one()


async def _column(connection: AsyncConnection, query: Any) -> list[Any]:
    return list((await connection.execute(query)).scalars())


_WAITING = select(func.count()).select_from(text("pg_locks")).where(text("NOT granted"))
