"""Deletion of what belongs to a deleted conversation: the SQL beside the functions that run it. Called by chat.

Large conversations are deleted in batches, one a transaction, so that no statement holds the database for long. What remains
after a crash is found again by `purged_at`, which is set last.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.ids import ConversationId
from secureconnect.store.tables import conversations, messages

BATCH_ROWS = 500
"""Messages that one transaction deletes: a few milliseconds."""


async def delete_conversation(connection: AsyncConnection, conversation_id: ConversationId, at: datetime) -> None:
    """Delete a conversation, which is held, with its first batch of messages; `purge_batch` deletes the others.

    Its row stays without a title, for the calls that refer to it.
    """
    await _update(connection, conversation_id, deleted_at=at, title=None)
    await _delete_messages(connection, conversation_id, at)


async def purge_batch(connection: AsyncConnection, now: datetime) -> bool:
    """Delete a batch of messages of a deleted conversation. Returns whether there was one with messages left.

    Finds those that 0.1 only hid as well.
    """
    table = conversations.c
    query = (
        select(table.conversation_id)
        .where(table.purged_at.is_(None), table.deleted_at.is_not(None))
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    conversation_id = (await connection.execute(query)).scalar()
    if conversation_id is None:
        return False
    await _delete_messages(connection, ConversationId(conversation_id), now)
    return True


async def _delete_messages(connection: AsyncConnection, conversation_id: ConversationId, now: datetime) -> None:
    """Delete a batch of messages, and write down when none is left."""
    table = messages.c
    batch = select(table.message_id).where(table.conversation_id == conversation_id).limit(BATCH_ROWS)
    deleted = await connection.execute(delete(messages).where(table.message_id.in_(batch)))
    if deleted.rowcount < BATCH_ROWS:
        await _update(connection, conversation_id, purged_at=now, title=None)


async def _update(connection: AsyncConnection, conversation_id: ConversationId, **values: Any) -> None:
    await connection.execute(update(conversations).where(conversations.c.conversation_id == conversation_id).values(**values))
