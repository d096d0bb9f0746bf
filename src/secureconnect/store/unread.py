"""What members have read: the SQL. Called by chat."""

from collections.abc import Collection

from sqlalchemy import and_, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.ids import ConversationId, MessageId, UserId
from secureconnect.store.tables import conversation_members, messages


async def mark_read(connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId, message_id: MessageId) -> bool:
    """Everything up to this message is read. A mark only moves forward; returns whether it did."""
    table = conversation_members
    query = update(table).where(
        table.c.conversation_id == conversation_id,
        table.c.user_id == user_id,
        table.c.read_message_id < message_id,
    )
    return (await connection.execute(query.values(read_message_id=message_id))).rowcount == 1


async def unread_counts(
    connection: AsyncConnection, conversation_ids: Collection[ConversationId], user_id: UserId | None = None
) -> dict[tuple[ConversationId, UserId], int]:
    """How many messages of others came after the read mark: of one user, or of every member. Zeroes are left out."""
    member = conversation_members
    unread = and_(
        messages.c.conversation_id == member.c.conversation_id,
        messages.c.message_id > member.c.read_message_id,
        messages.c.sender_id != member.c.user_id,
        messages.c.withheld_from.is_(None) | (messages.c.withheld_from != member.c.user_id),
    )
    query = (
        select(member.c.conversation_id, member.c.user_id, func.count().label("unread"))
        .join(messages, unread)
        .where(member.c.conversation_id.in_(conversation_ids))
        .group_by(member.c.conversation_id, member.c.user_id)
    )
    if user_id is not None:
        query = query.where(member.c.user_id == user_id)
    rows = await connection.execute(query)
    return {(ConversationId(row.conversation_id), UserId(row.user_id)): row.unread for row in rows}
