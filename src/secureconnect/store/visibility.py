"""Which calls a person may see: one condition for lists and for single calls. Called by store.calls, calls and their readers."""

from typing import Any

from sqlalchemy import BindParameter, ColumnElement, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.ids import CallId, UserId
from secureconnect.store.prepared import Prepared, given
from secureconnect.store.tables import call_participants, calls, conversation_members, conversations

HIDDEN, SILENT = "hidden", "silent"
"""Values of `ring_withheld`: the call is not shown to the person at all, or is shown as one that does not ring them."""


def sees_call(user_id: UserId | BindParameter[Any]) -> ColumnElement[bool]:
    """Build the condition on `calls` that this user may see the call.

    The user is a member of its conversation, which is not deleted. A member from whom earlier entries are withheld sees the calls
    that began later, those that are live, and those in which the member took part. A call by a person whom the user blocks is not
    shown in a conversation of the two.
    """
    member, mine = conversation_members.alias("viewer"), call_participants.alias("viewed")
    own = (mine.c.call_id == calls.c.call_id) & (mine.c.user_id == user_id)
    is_hidden = (mine.c.ring_withheld == HIDDEN) & mine.c.joined_at.is_(None)
    # Two levels below the calls, where SQLAlchemy does not correlate by itself.
    was_rung = mine.c.ring_withheld.is_(None) | mine.c.joined_at.is_not(None)
    took_part = exists(select(mine.c.call_id).where(own, was_rung).correlate(calls))
    since = (
        member.c.history_after.is_(None)
        | (func.coalesce(calls.c.entry_id, calls.c.call_id) > member.c.history_after)
        | calls.c.due_at.is_not(None)
        | took_part
    )
    return exists(
        select(member.c.user_id)
        .join(conversations, conversations.c.conversation_id == member.c.conversation_id)
        .where(
            member.c.conversation_id == calls.c.conversation_id,
            member.c.user_id == user_id,
            ~member.c.withheld,
            conversations.c.deleted_at.is_(None),
            since,
        )
        .correlate(calls)
    ) & ~exists(select(mine.c.call_id).where(own, is_hidden).correlate(calls))


async def may_see_call(connection: AsyncConnection, call_id: CallId, user_id: UserId) -> bool:
    """Tell whether this user may see the call."""
    return bool(await _SEES.all(connection, call_id=call_id, user_id=user_id))


_SEES = Prepared(select(calls.c.call_id).where(calls.c.call_id == given("call_id"), sees_call(given("user_id"))))
