"""The outbox between nodes that know of each other only through the database: on SQLite and on a real PostgreSQL."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import anyio
import pytest

from secureconnect.clock import SystemClock
from secureconnect.push import Provider
from secureconnect.push.outbox import LEASE
from secureconnect.store import Database, open_database
from secureconnect.store.schema import migrate
from tests.contract.test_store import empty_postgres_database, postgres  # noqa: F401  (a fixture)
from tests.unit.push.conftest import Phone, Switchboard

pytestmark = pytest.mark.anyio
CALLS = 12
HANGS_FOR = LEASE.total_seconds() + 1.5
INHERITED_WITHIN = LEASE.total_seconds() + 2.0
"""The lease, a second until the next look, and one for a machine that is busy."""


@pytest.fixture
async def postgresql(postgres: str) -> AsyncIterator[list[Database]]:  # noqa: F811
    """Two nodes' pools."""
    async with empty_postgres_database(postgres) as url:
        databases = [open_database(url) for _ in range(2)]
        await migrate(databases[0])
        yield databases
        for database in databases:
            await database.close()


async def test_two_nodes_share_the_work_and_send_each_push_once(postgresql: list[Database]) -> None:
    boards = [Switchboard(database, SystemClock()) for database in postgresql]
    phones = [Phone(), Phone()]
    ada, linus = await boards[0].person("Ada"), await boards[0].person("Linus")
    for _ in range(2):
        await boards[0].device(linus)
    async with boards[0].sending({Provider.LOG: phones[0]}), boards[1].sending({Provider.LOG: phones[1]}):
        conversation = await boards[0].chat.create(ada, [linus])

        async def call(board: Switchboard) -> None:
            ringing = await board.ring_in(conversation.conversation_id, ada, linus)
            await board.calls.end(ada, ringing.call_id)

        async with anyio.create_task_group() as group:
            for number in range(CALLS):
                group.start_soon(call, boards[number % 2])
        outcomes = await boards[0].outcomes(CALLS * 4)
    sent = Counter(push.push_id for phone in phones for push in phone.pushes)
    assert set(sent.values()) == {1}
    assert len(sent) == outcomes.count("delivered")
    assert set(outcomes) <= {"delivered", "overtaken"}
    assert sum(push.kind == "missed" for phone in phones for push in phone.pushes) == CALLS * 2


async def test_what_a_node_had_in_hand_is_nobody_elses_while_it_lives_and_anothers_soon_after_its_death(
    postgresql: list[Database],
) -> None:
    boards = [Switchboard(database, SystemClock()) for database in postgresql]
    slow, heir = Phone(), Phone()
    slow.may_answer.clear()
    ada, linus = await boards[0].person("Ada"), await boards[0].person("Linus")
    await boards[0].device(linus)
    async with boards[0].sending({Provider.LOG: slow}):
        await boards[0].ring(ada, linus)
        await slow.heard(1)
        async with boards[1].sending({Provider.LOG: heir}):
            await asyncio.sleep(HANGS_FOR)  # what is looked for is what does not happen meanwhile
            assert heir.pushes == []
    async with boards[1].sending({Provider.LOG: heir}), asyncio.timeout(INHERITED_WITHIN):
        await heir.heard(1)
    assert [push.attempts for push in (*slow.pushes, *heir.pushes)] == [1, 2]
