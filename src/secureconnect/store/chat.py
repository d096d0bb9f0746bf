"""Conversations, members and messages: the SQL, beside the functions that run it. Called by chat, and by calls for membership.

Every function takes the connection of a transaction that its caller opened: a call and its line in the timeline are one write.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy import Row, Select, and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.call import Call, CallType, EndReason, Status
from secureconnect.errors import NotFound
from secureconnect.ids import CallId, ConversationId, MessageId, UserId
from secureconnect.store.prepared import Prepared, given
from secureconnect.store.tables import calls, conversation_members, conversations, messages, users

Role = Literal["owner", "member"]
NOT_YOURS = "There is no such conversation, or you are not in it."
"""One sentence for both, so that an answer does not tell which conversations exist."""


class Member(Struct, frozen=True):
    """Somebody in a conversation."""

    user_id: UserId
    display_name: str
    role: Role


class StoredConversation(Struct, frozen=True):
    """A conversation's own row. `last_activity_id` is the id of its newest message, or its own before there is one."""

    conversation_id: ConversationId
    title: str | None
    created_at: datetime
    last_activity_id: UUID


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
) -> None:
    await connection.execute(insert(conversations).values(created_by=created_by, **asdict(conversation)))
    await insert_members(
        connection,
        conversation.conversation_id,
        members,
        conversation.created_at,
        read_up_to=conversation.last_activity_id,
    )


async def count_owned(connection: AsyncConnection, user_id: UserId) -> int:
    """How many conversations that exist this user owns."""
    [row] = await _OWNED.all(connection, user_id=user_id)
    return int(row.amount)


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


async def conversations_of(
    connection: AsyncConnection, user_id: UserId, *, limit: int, after: UUID | None
) -> list[StoredConversation]:
    """The conversations of which the user is a member, the latest activity first, those older than the activity `after`."""
    query = (
        _conversations()
        .join(conversation_members, conversation_members.c.conversation_id == conversations.c.conversation_id)
        .where(conversation_members.c.user_id == user_id)
    )
    if after is not None:
        query = query.where(conversations.c.last_activity_id < after)
    rows = await connection.execute(query.order_by(conversations.c.last_activity_id.desc()).limit(limit))
    return [StoredConversation(**row._mapping) for row in rows]


async def set_title(connection: AsyncConnection, conversation_id: ConversationId, title: str | None) -> None:
    await _update_conversation(connection, conversation_id, title=title)


async def insert_members(
    connection: AsyncConnection,
    conversation_id: ConversationId,
    members: Iterable[tuple[UserId, Role]],
    at: datetime,
    *,
    read_up_to: UUID,
) -> None:
    """Add people. What was written up to `read_up_to`, before they came, does not count as unread."""
    rows = [
        {"conversation_id": conversation_id, "user_id": user_id, "role": role, "joined_at": at, "read_message_id": read_up_to}
        for user_id, role in members
    ]
    await connection.execute(insert(conversation_members), rows)


async def remove_member(connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId) -> None:
    table = conversation_members
    await connection.execute(delete(table).where(table.c.conversation_id == conversation_id, table.c.user_id == user_id))


async def set_role(connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId, role: Role) -> None:
    await _update_member(connection, conversation_id, user_id, role=role)


async def members_of(connection: AsyncConnection, conversation_id: ConversationId) -> list[Member]:
    """The members, the longest-standing first; of those who came together, owners first. Empty for a deleted conversation."""
    return [_member(row) for row in await _MEMBERS.all(connection, conversation_id=conversation_id)]


async def hold_members(connection: AsyncConnection, conversation_id: ConversationId) -> list[Member]:
    """`members_of`, and let nobody be taken out until this transaction ends; where somebody just was, it is run again."""
    return [_member(row) for row in await _MEMBERS_HELD.all(connection, conversation_id=conversation_id)]


async def members_by_conversation(
    connection: AsyncConnection, conversation_ids: Collection[ConversationId]
) -> dict[ConversationId, list[Member]]:
    """The members of several conversations, each list ordered as `members_of` does."""
    table = conversation_members
    query = _members().add_columns(table.c.conversation_id).where(table.c.conversation_id.in_(conversation_ids))
    rows = await connection.execute(query.order_by(*_BY_STANDING))
    found: dict[ConversationId, list[Member]] = {}
    for row in rows:
        found.setdefault(ConversationId(row.conversation_id), []).append(_member(row))
    return found


async def require_member(connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId) -> Member:
    """This user's membership. Raises the same NotFound for a conversation that is not there, was deleted, or is not theirs."""
    found = await _MEMBERSHIP.all(connection, conversation_id=conversation_id, user_id=user_id)
    if not found:
        raise NotFound(NOT_YOURS)
    return _member(found[0])


def next_message_id(conversation: StoredConversation, proposed: MessageId) -> MessageId:
    """An id greater than that of every earlier message of the conversation: the one proposed, or the next after the last.

    Ids made in one millisecond, or on nodes whose clocks differ, come in any order; timelines, cursors and read marks need them
    in the order of the writes.
    """
    last = conversation.last_activity_id
    return proposed if proposed > last else MessageId(UUID(int=last.int + 1))


async def insert_message(connection: AsyncConnection, message: Message) -> None:
    """Append a text to the timeline of a conversation that is held. Its id is one that `next_message_id` gave for it."""
    await _append(connection, message, None)


async def note_call(connection: AsyncConnection, conversation: StoredConversation, message_id: MessageId, call: Call) -> Message:
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
    await _append(connection, entry, call.call_id)
    return entry


async def find_messages(connection: AsyncConnection, message_ids: Collection[UUID]) -> dict[MessageId, Message]:
    """Those of the messages that exist, by id."""
    rows = await connection.execute(_messages().where(messages.c.message_id.in_(message_ids)))
    return {message.message_id: message for message in map(_message, rows)}


async def messages_in(
    connection: AsyncConnection, conversation_id: ConversationId, *, limit: int, after: UUID | None
) -> list[Message]:
    """A conversation's timeline, newest first, those older than the message `after`."""
    query = _messages().where(messages.c.conversation_id == conversation_id)
    if after is not None:
        query = query.where(messages.c.message_id < after)
    return [_message(row) for row in await connection.execute(query.order_by(messages.c.message_id.desc()).limit(limit))]


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


async def _append(connection: AsyncConnection, message: Message, call_id: CallId | None) -> None:
    await _INSERT_MESSAGE.run(
        connection,
        message_id=message.message_id,
        conversation_id=message.conversation_id,
        sender_id=message.sender_id,
        kind=message.kind,
        content=message.content,
        call_id=call_id,
        created_at=message.created_at,
    )
    await _TOUCH_CONVERSATION.run(connection, of=message.conversation_id, last_activity_id=message.message_id)


async def _update_conversation(connection: AsyncConnection, conversation_id: ConversationId, **values: Any) -> None:
    table = conversations
    await connection.execute(update(table).where(table.c.conversation_id == conversation_id).values(**values))


async def _update_member(connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId, **values: Any) -> None:
    table = conversation_members
    query = update(table).where(table.c.conversation_id == conversation_id, table.c.user_id == user_id)
    await connection.execute(query.values(**values))


def _conversations() -> Select[tuple[UUID, str | None, datetime, UUID]]:
    table = conversations
    query = select(table.c.conversation_id, table.c.title, table.c.created_at, table.c.last_activity_id)
    return query.where(table.c.deleted_at.is_(None))


def _members() -> Select[tuple[UUID, str, str]]:
    table = conversation_members
    return (
        select(table.c.user_id, users.c.display_name, table.c.role)
        .join(users, users.c.user_id == table.c.user_id)
        .join(conversations, conversations.c.conversation_id == table.c.conversation_id)
        .where(conversations.c.deleted_at.is_(None))
    )


def _member(row: Any) -> Member:
    return Member(UserId(row.user_id), row.display_name, row.role)


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
    .where(conversation_members.c.user_id == given("user_id"))
    .with_for_update(key_share=True, of=conversations)
)
_MEMBERS = Prepared(_of_conversation.order_by(*_BY_STANDING))
_MEMBERS_HELD = Prepared(
    _of_conversation.order_by(*_BY_STANDING).with_for_update(read=True, key_share=True, of=conversation_members)
)
_MEMBERSHIP = Prepared(_of_conversation.where(conversation_members.c.user_id == given("user_id")))
_OWNED = Prepared(
    select(func.count().label("amount"))
    .select_from(conversation_members)
    .join(conversations, conversations.c.conversation_id == conversation_members.c.conversation_id)
    .where(conversation_members.c.user_id == given("user_id"), conversation_members.c.role == "owner")
    .where(conversations.c.deleted_at.is_(None))
)
_INSERT_MESSAGE = Prepared(insert(messages))
_TOUCH_CONVERSATION = Prepared(
    update(conversations).where(conversations.c.conversation_id == given("of")).values(last_activity_id=given("last_activity_id"))
)
