"""A conversation as one of its members sees it: the shape, and putting it together from rows. Called by chat.service.

Reads; never writes. Batches: the number of statements does not grow with the number of conversations.
"""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.ids import ConversationId, UserId
from secureconnect.signaling.views import CallView, shorten, view_of
from secureconnect.store import chat as store
from secureconnect.store.calls import live_calls_in
from secureconnect.store.chat import Member, Message, StoredConversation

EVENT_MEMBERS = 32
"""Members that an event names. As many fit into a call, and a page shows fewer."""
MEMBER_BYTES = 130
"""A member in an event, with a name of usual length."""
PREVIEW_CHARS = 200
"""What an event has of the newest message, which has been an event itself."""


class Conversation(Struct, frozen=True):
    """`unread_count` is the viewer's own; everything else is the same for all members.

    `members_truncated`: `participants` are the first of `member_count`, as in events of large conversations.
    """

    conversation_id: ConversationId
    title: str | None
    created_at: datetime
    participants: list[Member]
    last_message: Message | None
    unread_count: int
    live_call: CallView | None
    member_count: int = 0
    members_truncated: bool = False


def size_of_event(members: int) -> int:
    """Return about how many bytes an event about a conversation of so many members has."""
    return PREVIEW_CHARS + MEMBER_BYTES * min(members, EVENT_MEMBERS)


def shorten_conversation(view: Conversation) -> Conversation:
    """Return the conversation as events carry it, of a few KiB whatever its size: a client that needs the rest asks for it."""
    last = view.last_message
    if last is not None and len(last.content) > PREVIEW_CHARS:
        last = replace(last, content=last.content[:PREVIEW_CHARS] + "…")
    return replace(
        view,
        participants=view.participants[:EVENT_MEMBERS],
        members_truncated=len(view.participants) > EVENT_MEMBERS,
        last_message=last,
        live_call=None if view.live_call is None else shorten(view.live_call),
    )


async def seen_by(connection: AsyncConnection, user_id: UserId, conversations: Sequence[StoredConversation]) -> list[Conversation]:
    """The conversations as this member sees them, in the order given."""
    unread = await store.unread_counts(connection, [row.conversation_id for row in conversations], user_id)
    views = await _views(connection, conversations)
    return [replace(view, unread_count=unread.get((view.conversation_id, user_id), 0)) for view in views]


async def seen_by_each(connection: AsyncConnection, conversation: StoredConversation) -> dict[UserId, Conversation]:
    """One conversation as each of its members sees it."""
    unread = await store.unread_counts(connection, [conversation.conversation_id])
    [view] = await _views(connection, [conversation])
    return {
        member.user_id: replace(view, unread_count=unread.get((view.conversation_id, member.user_id), 0))
        for member in view.participants
    }


async def _views(connection: AsyncConnection, conversations: Sequence[StoredConversation]) -> list[Conversation]:
    """The part that all members see alike."""
    ids = [row.conversation_id for row in conversations]
    members = await store.members_by_conversation(connection, ids)
    # The last activity is the newest message, so this finds one row each; a conversation still silent has none by its own id.
    last = await store.find_messages(connection, [row.last_activity_id for row in conversations])
    last_of = {message.conversation_id: message for message in last.values()}
    calls = await live_calls_in(connection, ids)
    return [
        Conversation(
            conversation_id=row.conversation_id,
            title=row.title,
            created_at=row.created_at,
            participants=members.get(row.conversation_id, []),
            last_message=last_of.get(row.conversation_id),
            unread_count=0,
            live_call=view_of(calls[row.conversation_id]) if row.conversation_id in calls else None,
            member_count=len(members.get(row.conversation_id, [])),
        )
        for row in conversations
    ]
