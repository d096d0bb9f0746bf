"""What a deleted conversation leaves behind: nothing that was written in it, however much that was."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.errors import NotFound, Unavailable
from secureconnect.ids import ConversationId
from secureconnect.purge import LOOK_SECONDS, Purge
from secureconnect.store import purge as purge_store
from secureconnect.store.tables import conversations, messages
from tests.fakes.clock import ManualClock
from tests.unit.chat.conftest import Office

pytestmark = pytest.mark.anyio


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge_store, "BATCH_ROWS", 3)


async def left(office: Office, conversation_id: ConversationId) -> int:
    async def count(connection: AsyncConnection) -> int:
        query = select(func.count()).select_from(messages).where(messages.c.conversation_id == conversation_id)
        return (await connection.execute(query)).scalar_one()

    return await office.database.read(count)


async def titles(office: Office) -> set[str | None]:
    async def ask(connection: AsyncConnection) -> set[str | None]:
        return set((await connection.execute(select(conversations.c.title))).scalars())

    return await office.database.read(ask)


async def test_its_messages_and_its_title_go_with_the_answer(office: Office) -> None:
    made = await office.chat.create(office.ada, [office.grace], "Room 12")
    other = await office.chat.create(office.ada, [office.grace], "Room 13")
    await office.say(office.ada, made.conversation_id, "please delete")
    await office.say(office.ada, other.conversation_id, "please keep")
    await office.chat.delete(office.ada, made.conversation_id)
    assert await left(office, made.conversation_id) == 0
    assert await titles(office) == {None, "Room 13"}
    assert await office.contents(office.grace, other.conversation_id) == ["please keep"]
    assert not await office.chat.purge_batch()


async def test_the_last_member_who_leaves_deletes_them_too(office: Office) -> None:
    made = await office.chat.create(office.ada, [office.grace])
    await office.say(office.ada, made.conversation_id, "please delete")
    await office.chat.remove(office.grace, made.conversation_id, office.grace)
    assert await left(office, made.conversation_id) == 1
    await office.chat.remove(office.ada, made.conversation_id, office.ada)
    assert await left(office, made.conversation_id) == 0


@pytest.mark.usefixtures("small_batches")
async def test_many_go_in_batches_and_none_remains(office: Office) -> None:
    made = await office.chat.create(office.ada, [office.grace])
    await office.say(office.ada, made.conversation_id, *"abcdefgh")
    await office.chat.delete(office.ada, made.conversation_id)
    with pytest.raises(NotFound):
        await office.chat.timeline(office.ada, made.conversation_id, limit=1, after=None)
    remaining = [await left(office, made.conversation_id)]
    while await office.chat.purge_batch():
        remaining.append(await left(office, made.conversation_id))
    assert remaining == [5, 2, 0]


@pytest.mark.usefixtures("small_batches")
async def test_what_0_1_only_hid_is_deleted(office: Office) -> None:
    made = await office.chat.create(office.ada, [office.grace], "Room 12")
    await office.say(office.ada, made.conversation_id, *"abcd")
    hide = update(conversations).values(deleted_at=office.clock.now())
    await office.database.transact(lambda connection: connection.execute(hide))
    while await office.chat.purge_batch():
        pass
    assert await left(office, made.conversation_id) == 0
    assert await titles(office) == {None}


async def settled() -> None:
    """Let the loop run until it waits for time to pass."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_step_that_fails_is_tried_again_and_stops_no_other() -> None:
    clock = ManualClock()
    ran: list[str] = []

    def step(name: str, *outcomes: bool | Unavailable) -> Callable[[], Awaitable[bool]]:
        remaining = list(outcomes)

        async def run() -> bool:
            ran.append(name)
            outcome = remaining.pop(0) if remaining else False
            if isinstance(outcome, Unavailable):
                raise outcome
            return outcome

        return run

    loop = asyncio.ensure_future(Purge(clock, [step("first", Unavailable("no database")), step("second", True, True)]).run())
    await settled()
    assert ran == ["first", "second", "second", "second"]
    clock.advance(LOOK_SECONDS)
    await settled()
    assert ran[4:] == ["first", "second"]
    loop.cancel()
