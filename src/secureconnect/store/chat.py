"""Conversations, members and messages: the SQL, beside the functions that run it. Called by chat, and by calls for membership.

Every function takes the connection of a transaction that its caller opened: a call and its line in the timeline are one write.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy import Row, Select, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.call import Call, CallType, EndReason, Status
from secureconnect.errors import NotFound
from secureconnect.ids import CallId, ConversationId, MessageId, UserId
from secureconnect.store.prepared import Prepared, given
from secureconnect.store.tables import calls, conversation_members, conversations, messages, users

Role = Literal["owner", "member"]
History = Literal["all", "since_joining"]
NOT_YOURS = "There is no such conversation, or you are not in it."
"""One sentence for both, so that an answer does not tell which conversations exist."""


class Member(Struct, frozen=True):
    """Somebody in a conversation."""

    user_id: UserId
    display_name: str
    role: Role


class StoredMember(Struct, frozen=True):
    """A member's row. `history_after`: earlier entries are not shown; `withheld`: the conversation is not shown at all."""

    user_id: UserId
    display_name: str
    role: Role
    history_after: UUID | None = None
    withheld: bool = False

    @property
    def public(self) -> Member:
        return Member(self.user_id, self.display_name, self.role)

    def sees(self, message_id: UUID, withheld_from: UUID | None) -> bool:
        """Tell whether an entry of the timeline is shown to this member."""
        return withheld_from != self.user_id and (self.history_after is None or message_id > self.history_after)


class StoredConversation(Struct, frozen=True):
    """A conversation's own row. `last_activity_id` is the id of its newest message, or its own before there is one."""

    conversation_id: ConversationId
    title: str | None
    created_at: datetime
    last_activity_id: UUID
    members_may_add: bool = False
    history: History = "all"


class CallSummary(Struct, frozen=True):
    """What a timeline says of a call."""

    call_id: CallId
    call_type: CallType
    status: Status
    end_reason: EndReason | None
    caller_id: UserId
    created_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    recorded: bool


class Message(Struct, frozen=True):
    """One entry of a timeline: what somebody wrote, or a call as it stands when the timeline is read."""

    message_id: MessageId
    conversation_id: ConversationId
    sender_id: UserId
    kind: Literal["text", "call"]
    content: str
    created_at: datetime
    call: CallSummary | None = None


async def insert_conversation(
    connection: AsyncConnection,
    conversation: StoredConversation,
    members: Iterable[tuple[UserId, Role]],
    *,
    created_by: UserId,
    withheld: Collection[UserId] = (),
) -> None:
    await connection.execute(insert(conversations).values(created_by=created_by, **asdict(conversation)))
    await insert_members(
        connection,
        conversation.conversation_id,
        members,
        conversation.created_at,
        read_up_to=conversation.last_activity_id,
        added_by=created_by,
        withheld=withheld,
    )


async def find_conversation(connection: AsyncConnection, conversation_id: ConversationId) -> StoredConversation | None:
    """The conversation, unless it was deleted."""
    found = await _CONVERSATION.all(connection, conversation_id=conversation_id)
    return StoredConversation(*found[0]) if found else None


async def hold_conversation(connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId) -> StoredConversation:
    """The conversation of a member; until this transaction ends nobody else changes it, its members or its timeline.

    Comes before anything else is read, in a transaction that is READ COMMITTED, so that what is read next is as the one before
    left it: one's membership too, which may have ended while this waited. Raises NotFound, as `require_member` does; a stranger
    holds nothing.
    """
    found = await _CONVERSATION_HELD.all(connection, conversation_id=conversation_id, user_id=user_id)
    if not found:
        raise NotFound(NOT_YOURS)
    return StoredConversation(*found[0])


async def hold_conversation_alone(connection: AsyncConnection, conversation_id: ConversationId) -> StoredConversation | None:
    """The conversation, for a person who is not a member; no one else changes it until this transaction ends."""
    held = _conversations().where(conversations.c.conversation_id == conversation_id).with_for_update(key_share=True)
    row = (await connection.execute(held)).one_or_none()
    return None if row is None else StoredConversation(**row._mapping)


async def conversations_of(
    connection: AsyncConnection, user_id: UserId, *, limit: int, after: UUID | None
) -> list[StoredConversation]:
    """The conversations of which the user is a member, the latest activity first, those older than the activity `after`."""
    query = (
        _conversations()
        .join(conversation_members, conversation_members.c.conversation_id == conversations.c.conversation_id)
        .where(conversation_members.c.user_id == user_id, ~conversation_members.c.withheld)
    )
    if after is not None:
        query = query.where(conversations.c.last_activity_id < after)
    rows = await connection.execute(query.order_by(conversations.c.last_activity_id.desc()).limit(limit))
    return [StoredConversation(**row._mapping) for row in rows]


async def change_conversation(connection: AsyncConnection, conversation_id: ConversationId, **values: Any) -> None:
    """Set some of `title`, `members_may_add` and `history`."""
    await _update_conversation(connection, conversation_id, **values)


async def insert_members(
    connection: AsyncConnection,
    conversation_id: ConversationId,
    members: Iterable[tuple[UserId, Role]],
    at: datetime,
    *,
    read_up_to: UUID,
    added_by: UserId | None = None,
    history_after: UUID | None = None,
    withheld: Collection[UserId] = (),
) -> None:
    """Add people.

    Args:
        connection: Of an open transaction.
        conversation_id: The conversation, which is held.
        members: Who is added, with roles.
        at: The time.
        read_up_to: What was written up to this entry does not count as unread.
        added_by: Who adds them.
        history_after: Entries up to this one are not shown to them; None shows all.
        withheld: Those of them who block `added_by`.
    """
    same = {"conversation_id": conversation_id, "joined_at": at, "read_message_id": read_up_to, "added_by": added_by}
    rows = [
        same | {"user_id": user_id, "role": role, "history_after": history_after, "withheld": user_id in withheld}
        for user_id, role in members
    ]
    await connection.execute(insert(conversation_members), rows)


async def remove_member(connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId) -> None:
    table = conversation_members
    await connection.execute(delete(table).where(table.c.conversation_id == conversation_id, table.c.user_id == user_id))


async def set_role(connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId, role: Role) -> None:
    await _update_member(connection, conversation_id, user_id, role=role)


async def members_of(connection: AsyncConnection, conversation_id: ConversationId) -> list[StoredMember]:
    """The members, the longest-standing first; of those who came together, owners first. Empty for a deleted conversation."""
    return [_member(row) for row in await _MEMBERS.all(connection, conversation_id=conversation_id)]


async def hold_members(connection: AsyncConnection, conversation_id: ConversationId) -> list[StoredMember]:
    """`members_of`, and let nobody be taken out until this transaction ends; where somebody just was, it is run again."""
    return [_member(row) for row in await _MEMBERS_HELD.all(connection, conversation_id=conversation_id)]


async def members_by_conversation(
    connection: AsyncConnection, conversation_ids: Collection[ConversationId]
) -> dict[ConversationId, list[StoredMember]]:
    """The members of several conversations, each list ordered as `members_of` does."""
    table = conversation_members
    query = _members().add_columns(table.c.conversation_id).where(table.c.conversation_id.in_(conversation_ids))
    rows = await connection.execute(query.order_by(*_BY_STANDING))
    found: dict[ConversationId, list[StoredMember]] = {}
    for row in rows:
        found.setdefault(ConversationId(row.conversation_id), []).append(_member(row))
    return found


async def require_member(connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId) -> StoredMember:
    """This user's membership. Raises the same NotFound for a conversation that is not there, was deleted, or is not theirs."""
    found = await _MEMBERSHIP.all(connection, conversation_id=conversation_id, user_id=user_id)
    if not found or found[0].withheld:
        raise NotFound(NOT_YOURS)
    return _member(found[0])


def next_message_id(conversation: StoredConversation, proposed: MessageId) -> MessageId:
    """An id greater than that of every earlier message of the conversation: the one proposed, or the next after the last.

    Ids made in one millisecond, or on nodes whose clocks differ, come in any order; timelines, cursors and read marks need them
    in the order of the writes.
    """
    last = conversation.last_activity_id
    return proposed if proposed > last else MessageId(UUID(int=last.int + 1))


async def insert_message(connection: AsyncConnection, message: Message, withheld_from: UserId | None = None) -> None:
    """Append a text to the timeline of a conversation that is held. Its id is one that `next_message_id` gave for it."""
    await _append(connection, message, None, withheld_from)


async def note_call(
    connection: AsyncConnection,
    conversation: StoredConversation,
    message_id: MessageId,
    call: Call,
    withheld_from: UserId | None = None,
) -> Message:
    """Append a new call to the timeline of the conversation, which is held, in the transaction that makes the call.

    Returns the entry; its id is as `next_message_id` says.
    """
    summary = CallSummary(
        call_id=call.call_id,
        call_type=call.call_type,
        status=call.status,
        end_reason=call.end_reason,
        caller_id=call.caller_id,
        created_at=call.created_at,
        answered_at=call.answered_at,
        ended_at=call.ended_at,
        recorded=call.recorded,
    )
    entry = Message(
        next_message_id(conversation, message_id), call.conversation_id, call.caller_id, "call", "", call.created_at, summary
    )
    await _append(connection, entry, call.call_id, withheld_from)
    return entry


async def find_messages(connection: AsyncConnection, message_ids: Collection[UUID]) -> dict[MessageId, Message]:
    """Those of the messages that exist, by id."""
    rows = await connection.execute(_messages().where(messages.c.message_id.in_(message_ids)))
    return {message.message_id: message for message in map(_message, rows)}


async def withheld_among(connection: AsyncConnection, message_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Return those of the messages that are withheld, each with the member from whom."""
    table = messages.c
    query = select(table.message_id, table.withheld_from).where(table.message_id.in_(message_ids), table.withheld_from.is_not(None))
    return {row.message_id: row.withheld_from for row in await connection.execute(query)}


async def messages_in(
    connection: AsyncConnection, conversation_id: ConversationId, viewer: StoredMember, *, limit: int, after: UUID | None = None
) -> list[Message]:
    """A conversation's timeline as this member sees it, newest first, those older than the message `after`."""
    table = messages.c
    shown = table.withheld_from.is_(None) | (table.withheld_from != viewer.user_id)
    query = _messages().where(table.conversation_id == conversation_id, shown)
    if viewer.history_after is not None:
        query = query.where(table.message_id > viewer.history_after)
    if after is not None:
        query = query.where(messages.c.message_id < after)
    return [_message(row) for row in await connection.execute(query.order_by(messages.c.message_id.desc()).limit(limit))]


async def _append(connection: AsyncConnection, message: Message, call_id: CallId | None, withheld_from: UserId | None) -> None:
    await _INSERT_MESSAGE.run(
        connection,
        message_id=message.message_id,
        conversation_id=message.conversation_id,
        sender_id=message.sender_id,
        kind=message.kind,
        content=message.content,
        call_id=call_id,
        created_at=message.created_at,
        withheld_from=withheld_from,
    )
    await _TOUCH_CONVERSATION.run(connection, of=message.conversation_id, last_activity_id=message.message_id)


async def _update_conversation(connection: AsyncConnection, conversation_id: ConversationId, **values: Any) -> None:
    table = conversations
    await connection.execute(update(table).where(table.c.conversation_id == conversation_id).values(**values))


async def _update_member(connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId, **values: Any) -> None:
    table = conversation_members
    query = update(table).where(table.c.conversation_id == conversation_id, table.c.user_id == user_id)
    await connection.execute(query.values(**values))


def _conversations() -> Select[Any]:
    table = conversations
    query = select(*(table.c[name] for name in StoredConversation.__struct_fields__))
    return query.where(table.c.deleted_at.is_(None))


def _members() -> Select[Any]:
    table = conversation_members
    return (
        select(table.c.user_id, users.c.display_name, table.c.role, table.c.history_after, table.c.withheld)
        .join(users, users.c.user_id == table.c.user_id)
        .join(conversations, conversations.c.conversation_id == table.c.conversation_id)
        .where(conversations.c.deleted_at.is_(None))
    )


def _member(row: Any) -> StoredMember:
    return StoredMember(UserId(row.user_id), row.display_name, row.role, row.history_after, row.withheld)


def _messages() -> Select[Any]:
    return select(
        messages,
        calls.c.call_type,
        calls.c.status,
        calls.c.end_reason,
        calls.c.caller_id,
        calls.c.created_at.label("call_created_at"),
        calls.c.answered_at,
        calls.c.ended_at,
        calls.c.recorded,
    ).outerjoin(calls, calls.c.call_id == messages.c.call_id)


def _message(row: Row[Any]) -> Message:
    call = None
    if row.kind == "call":
        call = CallSummary(
            call_id=row.call_id,
            call_type=CallType(row.call_type),
            status=Status(row.status),
            end_reason=EndReason(row.end_reason) if row.end_reason else None,
            caller_id=row.caller_id,
            created_at=row.call_created_at,
            answered_at=row.answered_at,
            ended_at=row.ended_at,
            recorded=row.recorded,
        )
    return Message(row.message_id, row.conversation_id, row.sender_id, row.kind, row.content, row.created_at, call)


_BY_STANDING = (conversation_members.c.joined_at, conversation_members.c.role.desc(), conversation_members.c.user_id)
_of_conversation = _members().where(conversation_members.c.conversation_id == given("conversation_id"))
_conversation = _conversations().where(conversations.c.conversation_id == given("conversation_id"))
_CONVERSATION = Prepared(_conversation)
_CONVERSATION_HELD = Prepared(
    _conversation.join(conversation_members, conversation_members.c.conversation_id == conversations.c.conversation_id)
    .where(conversation_members.c.user_id == given("user_id"), ~conversation_members.c.withheld)
    .with_for_update(key_share=True, of=conversations)
)
_MEMBERS = Prepared(_of_conversation.order_by(*_BY_STANDING))
_MEMBERS_HELD = Prepared(
    _of_conversation.order_by(*_BY_STANDING).with_for_update(read=True, key_share=True, of=conversation_members)
)
_MEMBERSHIP = Prepared(_of_conversation.where(conversation_members.c.user_id == given("user_id")))
_INSERT_MESSAGE = Prepared(insert(messages))
_TOUCH_CONVERSATION = Prepared(
    update(conversations).where(conversations.c.conversation_id == given("of")).values(last_activity_id=given("last_activity_id"))
)
