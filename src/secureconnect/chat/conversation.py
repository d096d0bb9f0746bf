"""A conversation as one of its members sees it: the shape, and putting it together from rows. Called by chat.service.

Reads; never writes. Batches: the number of statements does not grow with the number of conversations.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.call import Call, shown_to
from secureconnect.ids import ConversationId, UserId
from secureconnect.signaling.views import CallView, shorten, view_of
from secureconnect.store import chat as store
from secureconnect.store.accounts import Person
from secureconnect.store.calls import all_live_calls_in
from secureconnect.store.chat import History, Member, Message, StoredConversation, StoredMember
from secureconnect.store.membership import invited_to
from secureconnect.store.unread import unread_counts

EVENT_MEMBERS = 32
"""Members that an event names. As many fit into a call, and a page shows fewer."""
MEMBER_BYTES = 130
"""A member in an event, with a name of usual length."""
PREVIEW_CHARS = 200
"""What an event has of the newest message, which has been an event itself."""


class Conversation(Struct, frozen=True):
    """`unread_count`, `last_message` and `live_call` are what the viewer may see; the rest is the same for all members.

    `invited`: people who left and are asked to return. `history`: what people who are added see of earlier entries and calls.
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
    members_may_add: bool = False
    history: History = "all"
    invited: list[Person] = []


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
        invited=view.invited[:EVENT_MEMBERS],
    )


class _Shared(NamedTuple):
    """A conversation before it is known who looks at it."""

    view: Conversation
    members: list[StoredMember]
    last_withheld_from: UUID | None
    live_calls: list[Call]
    call_views: dict[int, tuple[Call, CallView]]
    """Of each call that was shown, by its identity: the members to whom it looks the same share one."""

    def view_call(self, call: Call) -> CallView:
        known = self.call_views.get(id(call))
        if known is None:
            known = self.call_views[id(call)] = (call, view_of(call))
        return known[1]


async def seen_by(connection: AsyncConnection, user_id: UserId, conversations: Sequence[StoredConversation]) -> list[Conversation]:
    """The conversations as this member sees them, in the order given."""
    unread = await unread_counts(connection, [row.conversation_id for row in conversations], user_id)
    shared = await _shared(connection, conversations)
    return [await _seen(connection, one, user_id, unread) for one in shared]


async def seen_by_each(connection: AsyncConnection, conversation: StoredConversation) -> dict[UserId, Conversation]:
    """One conversation as each of the members sees it to whom it is shown."""
    unread = await unread_counts(connection, [conversation.conversation_id])
    [shared] = await _shared(connection, [conversation])
    reached = [member.user_id for member in shared.members if not member.withheld]
    return {user_id: await _seen(connection, shared, user_id, unread) for user_id in reached}


async def _seen(
    connection: AsyncConnection, shared: _Shared, user_id: UserId, unread: Mapping[tuple[ConversationId, UserId], int]
) -> Conversation:
    view = shared.view
    last = view.last_message
    viewer = next((member for member in shared.members if member.user_id == user_id), None)
    if last is not None and viewer is not None and not viewer.sees(last.message_id, shared.last_withheld_from):
        last = next(iter(await store.messages_in(connection, view.conversation_id, viewer, limit=1)), None)
    shown = [seen for call in shared.live_calls if (seen := shown_to(call, user_id)) is not None]
    return replace(
        view,
        last_message=last,
        unread_count=unread.get((view.conversation_id, user_id), 0),
        live_call=shared.view_call(shown[-1]) if shown else None,
    )


async def _shared(connection: AsyncConnection, conversations: Sequence[StoredConversation]) -> list[_Shared]:
    """The part that all members see alike, and what decides on the rest."""
    ids = [row.conversation_id for row in conversations]
    members = await store.members_by_conversation(connection, ids)
    # The last activity is the newest message, so this finds one row each; a conversation still silent has none by its own id.
    last = await store.find_messages(connection, [row.last_activity_id for row in conversations])
    withheld = await store.withheld_among(connection, list(last))
    last_of = {message.conversation_id: message for message in last.values()}
    invited = await invited_to(connection, ids)
    calls: dict[ConversationId, list[Call]] = {}
    for call in await all_live_calls_in(connection, ids):
        calls.setdefault(call.conversation_id, []).append(call)
    return [
        _Shared(
            Conversation(
                conversation_id=row.conversation_id,
                title=row.title,
                created_at=row.created_at,
                participants=[member.public for member in members.get(row.conversation_id, [])],
                last_message=last_of.get(row.conversation_id),
                unread_count=0,
                live_call=None,
                members_may_add=row.members_may_add,
                history=row.history,
                member_count=len(members.get(row.conversation_id, [])),
                invited=invited.get(row.conversation_id, []),
            ),
            members.get(row.conversation_id, []),
            withheld.get(row.last_activity_id),
            calls.get(row.conversation_id, []),
            {},
        )
        for row in conversations
    ]
