"""What remains of a deleted user, deleted in batches: the SQL. Called by accounts.erasure.

`users.deleted_at` says that it is to be done, `users.erased_at`, written last, that it is: a crash loses nothing. To cover another
table, add a function here and call it from `accounts.erasure`.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.ids import ConversationId, UserId
from secureconnect.store.access_tables import (
    conversation_departures,
    conversation_invitations,
    registration_invitations,
    user_blocks,
)
from secureconnect.store.account_admin import DELETED_NAME
from secureconnect.store.tables import (
    call_participants,
    calls,
    conversation_members,
    messages,
    pushes,
    quality_readings,
    refresh_tokens,
    ring_receipts,
    users,
)

BATCH_CALLS = 50
"""Calls that one transaction makes anonymous. Each may have hundreds of readings."""


async def next_user_to_erase(connection: AsyncConnection) -> UserId | None:
    """Find a deleted user of whom something remains."""
    query = select(users.c.user_id).where(users.c.erased_at.is_(None), users.c.deleted_at.is_not(None)).limit(1)
    found = (await connection.execute(query)).scalar()
    return None if found is None else UserId(found)


async def conversations_to_leave(connection: AsyncConnection, user_id: UserId, limit: int) -> list[ConversationId]:
    """List conversations that the user is still a member of."""
    table = conversation_members.c
    query = select(table.conversation_id).where(table.user_id == user_id).limit(limit)
    return [ConversationId(found) for found in (await connection.execute(query)).scalars()]


async def forget_membership(connection: AsyncConnection, user_id: UserId, conversation_id: ConversationId) -> None:
    """Delete the user's row of a conversation that is deleted itself."""
    table = conversation_members.c
    await connection.execute(delete(conversation_members).where(table.user_id == user_id, table.conversation_id == conversation_id))


async def erase_calls(connection: AsyncConnection, user_id: UserId) -> bool:
    """Make the user anonymous in a batch of calls that are over, with what was measured and pushed. Returns whether there was one.

    Other participants keep the call with an anonymous one in it.
    """
    table = call_participants.c
    query = (
        select(table.call_id)
        .join(calls, calls.c.call_id == table.call_id)
        .where(table.user_id == user_id, table.display_name != DELETED_NAME, calls.c.due_at.is_(None))
        .limit(BATCH_CALLS)
    )
    found = list((await connection.execute(query)).scalars())
    if not found:
        return False
    await _erase_calls(connection, user_id, found)
    return True


async def finish(connection: AsyncConnection, user_id: UserId, now: datetime) -> bool:
    """Write down that nothing remains. Returns False while the user is in a call that has not ended."""
    table = call_participants.c
    remaining = select(table.call_id).where(table.user_id == user_id, table.display_name != DELETED_NAME).limit(1)
    if (await connection.execute(remaining)).scalar() is not None:
        return False
    await connection.execute(delete(refresh_tokens).where(refresh_tokens.c.user_id == user_id))
    await _erase_reach(connection, user_id)
    await connection.execute(update(users).where(users.c.user_id == user_id).values(erased_at=now))
    return True


async def _erase_calls(connection: AsyncConnection, user_id: UserId, found: Sequence[UUID]) -> None:
    participants, readings, receipts, queue = call_participants.c, quality_readings.c, ring_receipts.c, pushes.c
    await connection.execute(delete(quality_readings).where(readings.call_id.in_(found), readings.user_id == user_id))
    await connection.execute(delete(ring_receipts).where(receipts.call_id.in_(found), receipts.user_id == user_id))
    await connection.execute(delete(pushes).where(queue.call_id.in_(found), queue.user_id == user_id))
    # What others were pushed names the caller; the trace of a call does not read it.
    is_done = queue.call_id.in_(found) & queue.done_at.is_not(None)
    await connection.execute(update(pushes).where(is_done).values(payload="{}"))
    await connection.execute(
        update(call_participants)
        .where(participants.call_id.in_(found), participants.user_id == user_id)
        .values(display_name=DELETED_NAME, devices="[]", ring_device_id=None)
    )


async def _erase_reach(connection: AsyncConnection, user_id: UserId) -> None:
    """Delete whom the user blocked, added, removed and invited, and the departures and invitations of the user."""
    for table in (conversation_departures, conversation_invitations, user_blocks):
        await connection.execute(delete(table).where(table.c.user_id == user_id))
    await connection.execute(delete(user_blocks).where(user_blocks.c.blocked_id == user_id))
    await connection.execute(delete(conversation_invitations).where(conversation_invitations.c.invited_by == user_id))
    for column in (
        conversation_members.c.added_by,
        registration_invitations.c.used_by,
        messages.c.withheld_from,
    ):
        await connection.execute(update(column.table).where(column == user_id).values({column: None}))
    # Whom an owner removed stays removed; the id of a deleted user says nothing about a person.
