"""Who blocks whom: the SQL. Called by accounts.blocks, and by chat and calls before they reach a person."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.ids import UserId
from secureconnect.store.access_tables import user_blocks
from secureconnect.store.prepared import Prepared, given
from secureconnect.store.tables import conversation_members, conversations, users


class BlockedPerson(Struct, frozen=True):
    """A person whom the user blocks."""

    user_id: UserId
    display_name: str
    blocked_at: datetime


async def who_block(connection: AsyncConnection, user_id: UserId, among: Collection[UserId]) -> set[UserId]:
    """Return those of `among` who block the user."""
    if not among:
        return set()
    return {UserId(row.user_id) for row in await _WHO_BLOCK.all(connection, blocked_id=user_id, user_ids=list(among))}


async def is_blocking(connection: AsyncConnection, user_id: UserId, blocked_id: UserId) -> bool:
    """Tell whether the user blocks this person."""
    return bool(await who_block(connection, blocked_id, [user_id]))


async def count_blocks(connection: AsyncConnection, user_id: UserId) -> int:
    """Count the people whom the user blocks."""
    query = select(func.count()).where(user_blocks.c.user_id == user_id)
    return int((await connection.execute(query)).scalar_one())


async def insert_block(connection: AsyncConnection, user_id: UserId, blocked_id: UserId, now: datetime) -> None:
    """Block a person who is not blocked yet."""
    await connection.execute(insert(user_blocks).values(user_id=user_id, blocked_id=blocked_id, created_at=now))


async def delete_block(connection: AsyncConnection, user_id: UserId, blocked_id: UserId) -> None:
    """Unblock a person, and show the conversations to which the person added the user, from now on."""
    table, members = user_blocks, conversation_members
    await connection.execute(delete(table).where(table.c.user_id == user_id, table.c.blocked_id == blocked_id))
    last = select(conversations.c.last_activity_id).where(conversations.c.conversation_id == members.c.conversation_id)
    mine = (members.c.user_id == user_id) & (members.c.added_by == blocked_id) & members.c.withheld
    shown = {"withheld": False, "history_after": last.scalar_subquery(), "read_message_id": last.scalar_subquery()}
    await connection.execute(update(members).where(mine).values(shown))


async def blocks_of(connection: AsyncConnection, user_id: UserId, *, limit: int, after: UUID | None) -> list[BlockedPerson]:
    """List the people whom the user blocks, ordered by their ids, those after the id `after`."""
    table = user_blocks
    query = (
        select(table.c.blocked_id, users.c.display_name, table.c.created_at)
        .join(users, users.c.user_id == table.c.blocked_id)
        .where(table.c.user_id == user_id)
    )
    if after is not None:
        query = query.where(table.c.blocked_id > after)
    rows = await connection.execute(query.order_by(table.c.blocked_id).limit(limit))
    return [BlockedPerson(UserId(row.blocked_id), row.display_name, row.created_at) for row in rows]


_WHO_BLOCK = Prepared(
    select(user_blocks.c.user_id).where(
        user_blocks.c.blocked_id == given("blocked_id"), user_blocks.c.user_id.in_(given("user_ids", many=True))
    )
)
