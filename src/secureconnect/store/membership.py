"""Who owns conversations, who left them, and who is asked to return: the SQL. Called by chat."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from sqlalchemy import delete, exists, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.ids import ConversationId, UserId
from secureconnect.store.access_tables import conversation_departures, conversation_invitations, user_blocks
from secureconnect.store.accounts import Person
from secureconnect.store.prepared import Prepared, given
from secureconnect.store.tables import conversation_members, conversations, users


class Invitation(Struct, frozen=True):
    """A conversation that the user left and is asked to return to."""

    conversation_id: ConversationId
    title: str | None
    invited_by: Person
    created_at: datetime


async def note_departure(
    connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId, now: datetime, removed_by: UserId | None
) -> None:
    """Remember that a member left, or was removed by an owner."""
    await forget_departure(connection, conversation_id, user_id)
    row = {"conversation_id": conversation_id, "user_id": user_id, "left_at": now, "removed_by": removed_by}
    await connection.execute(insert(conversation_departures).values(row))


async def forget_departure(connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId) -> None:
    """The person is a member again."""
    table = conversation_departures
    await connection.execute(delete(table).where(table.c.conversation_id == conversation_id, table.c.user_id == user_id))


async def departures_among(
    connection: AsyncConnection, conversation_id: ConversationId, user_ids: Collection[UserId]
) -> dict[UserId, UserId | None]:
    """Return those of `user_ids` who were members, with the owner who removed them; None if they left by themselves."""
    table = conversation_departures.c
    query = select(table.user_id, table.removed_by).where(table.conversation_id == conversation_id, table.user_id.in_(user_ids))
    return {UserId(row.user_id): row.removed_by for row in await connection.execute(query)}


async def insert_invitation(
    connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId, invited_by: UserId, now: datetime
) -> None:
    """Ask a person to return."""
    row = {"conversation_id": conversation_id, "user_id": user_id, "invited_by": invited_by, "created_at": now}
    await connection.execute(insert(conversation_invitations).values(row))


async def take_invitation(connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId) -> UserId | None:
    """Delete the invitation, and return who made it; None if there is none."""
    table = conversation_invitations
    query = delete(table).where(table.c.conversation_id == conversation_id, table.c.user_id == user_id)
    row = (await connection.execute(query.returning(table.c.invited_by))).one_or_none()
    return None if row is None else UserId(row.invited_by)


async def invited_to(
    connection: AsyncConnection, conversation_ids: Collection[ConversationId]
) -> dict[ConversationId, list[Person]]:
    """Return the people whose answer these conversations await."""
    table = conversation_invitations.c
    query = (
        select(table.conversation_id, table.user_id, users.c.display_name)
        .join(users, users.c.user_id == table.user_id)
        .where(table.conversation_id.in_(conversation_ids))
        .order_by(table.created_at, table.user_id)
    )
    found: dict[ConversationId, list[Person]] = {}
    for row in await connection.execute(query):
        found.setdefault(ConversationId(row.conversation_id), []).append(Person(UserId(row.user_id), row.display_name))
    return found


async def invitations_of(
    connection: AsyncConnection, user_id: UserId, *, limit: int, after: UUID | None = None, only: ConversationId | None = None
) -> list[Invitation]:
    """List the invitations of a user, except those by people whom the user blocks, ordered by conversation."""
    table, blocks = conversation_invitations.c, user_blocks.c
    query = (
        select(table.conversation_id, conversations.c.title, table.created_at, users.c.user_id, users.c.display_name)
        .join(conversations, conversations.c.conversation_id == table.conversation_id)
        .join(users, users.c.user_id == table.invited_by)
        .where(table.user_id == user_id, conversations.c.deleted_at.is_(None))
        .where(~exists(select(blocks.user_id).where(blocks.user_id == user_id, blocks.blocked_id == table.invited_by)))
    )
    if after is not None:
        query = query.where(table.conversation_id > after)
    if only is not None:
        query = query.where(table.conversation_id == only)
    rows = await connection.execute(query.order_by(table.conversation_id).limit(limit))
    return [
        Invitation(ConversationId(row.conversation_id), row.title, Person(UserId(row.user_id), row.display_name), row.created_at)
        for row in rows
    ]


async def count_owned(connection: AsyncConnection, user_id: UserId) -> int:
    """How many conversations that exist this user owns."""
    [row] = await _OWNED.all(connection, user_id=user_id)
    return int(row.amount)


_OWNED = Prepared(
    select(func.count().label("amount"))
    .select_from(conversation_members)
    .join(conversations, conversations.c.conversation_id == conversation_members.c.conversation_id)
    .where(conversation_members.c.user_id == given("user_id"), conversation_members.c.role == "owner")
    .where(conversations.c.deleted_at.is_(None))
)
