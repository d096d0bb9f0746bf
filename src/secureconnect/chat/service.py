"""Conversations, their members and messages. Called by api.chat, and by the demo.

Loads, decides, writes in one transaction, then tells the members over the bus. The SQL is in store.chat. Knows no HTTP, and of
calls only that somebody who is no longer a member must leave them: `on_member_removed`, handed down by app.

What changes a conversation holds its row first: changes of one come one after another, of two they do not meet.
"""

from collections.abc import Awaitable, Callable, Collection
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.bus import Bus
from secureconnect.bus.announcement import all_told
from secureconnect.chat.conversation import Conversation, seen_by, seen_by_each, size_of_event
from secureconnect.chat.events import Announcer
from secureconnect.chat.fan_out import FanOut
from secureconnect.clock import Clock
from secureconnect.errors import Forbidden, NotFound, TooManyConversations, UnknownUser, Unprocessable
from secureconnect.ids import ConversationId, IdFactory, MessageId, UserId
from secureconnect.store import Database
from secureconnect.store import accounts as user_store
from secureconnect.store import chat as store
from secureconnect.store.chat import Member, Message, Role, StoredConversation
from secureconnect.store.idempotency import Idempotency, find_or_claim
from secureconnect.store.purge import delete_conversation, purge_batch
from secureconnect.store.unicode import require_storable

MAX_MEMBERS = 256
"""Every message is published once to each; larger rooms would want another design."""
TITLE_CHARS = 200
CONTENT_CHARS = 8000

OnMemberRemoved = Callable[[ConversationId, UserId], Awaitable[None]]


class ChatService:
    """What members of conversations can do. Whoever is not a member gets NotFound, as if the conversation were not there."""

    def __init__(
        self,
        *,
        database: Database,
        bus: Bus,
        ids: IdFactory,
        clock: Clock,
        on_member_removed: OnMemberRemoved,
        conversations_per_user: int = 10_000,
        fan_out: FanOut | None = None,
    ) -> None:
        self._database = database
        self._announcer = Announcer(bus, clock)
        self._ids = ids
        self._clock = clock
        self._on_member_removed = on_member_removed
        self._conversations_per_user = conversations_per_user
        self._fan_out = fan_out or FanOut(clock)

    async def create(
        self,
        user_id: UserId,
        participant_ids: Collection[UserId],
        title: str | None = None,
        promise: Idempotency | None = None,
    ) -> Conversation:
        """Start a conversation of `user_id`, its owner, with others.

        Raises UnknownUser, Unprocessable, IdempotencyKeyReused, TooManyConversations.
        """
        title = _checked_title(title)
        others = _others(user_id, participant_ids)
        if not others:
            raise Unprocessable("participant_ids: name at least one other person.")
        _check_room(1 + len(others))
        self._fan_out.check(user_id)
        proposed = self._ids.conversation()
        now = self._clock.now()

        async def work(connection: AsyncConnection) -> tuple[bool, dict[UserId, Conversation]]:
            earlier = await find_or_claim(connection, promise, proposed, now)
            if earlier is None:
                if await store.count_owned(connection, user_id) >= self._conversations_per_user:
                    raise TooManyConversations
                await _require_users(connection, others)
                self._fan_out.spend(user_id, 1 + len(others), size_of_event(1 + len(others)))
                members: list[tuple[UserId, Role]] = [(user_id, "owner"), *((other, "member") for other in others)]
                new = StoredConversation(proposed, title, now, last_activity_id=proposed)
                await store.insert_conversation(connection, new, members, created_by=user_id)
            conversation = await _hold(connection, ConversationId(earlier or proposed), user_id)
            return earlier is None, await seen_by_each(connection, conversation)

        # It decides by nothing that can change: users stay, the conversation is its own, and a key is unique in the table, so that
        # whoever comes second with one runs again and finds the first.
        is_new, views = await self._database.transact(work, isolation="committed")
        if is_new:
            await self._announcer.conversation_updated(views).told()
        return views[user_id]

    async def get(self, user_id: UserId, conversation_id: ConversationId) -> Conversation:
        """The conversation as this member sees it."""

        async def work(connection: AsyncConnection) -> Conversation:
            conversation = await _require_conversation(connection, conversation_id, user_id)
            [view] = await seen_by(connection, user_id, [conversation])
            return view

        return await self._database.read(work)

    async def conversations(self, user_id: UserId, *, limit: int, after: UUID | None) -> tuple[list[Conversation], UUID | None]:
        """Up to `limit` of the user's conversations, the latest activity first, and what to go on after (None at the end)."""

        async def work(connection: AsyncConnection) -> tuple[list[Conversation], UUID | None]:
            found = await store.conversations_of(connection, user_id, limit=limit + 1, after=after)
            page = found[:limit]
            return await seen_by(connection, user_id, page), page[-1].last_activity_id if len(found) > limit else None

        return await self._database.read(work)

    async def rename(self, user_id: UserId, conversation_id: ConversationId, title: str | None) -> Conversation:
        """Give the conversation a title, or with None take it away. Raises Unprocessable."""
        title = _checked_title(title)

        async def change(connection: AsyncConnection, _conversation: StoredConversation) -> None:
            await store.set_title(connection, conversation_id, title)

        return (await self._change(user_id, conversation_id, change))[user_id]

    async def add(self, user_id: UserId, conversation_id: ConversationId, user_ids: Collection[UserId]) -> Conversation:
        """Bring more people in; those who are in it already stay as they are. Raises UnknownUser, Unprocessable."""

        async def change(connection: AsyncConnection, conversation: StoredConversation) -> None:
            present = {member.user_id for member in await store.members_of(connection, conversation_id)}
            new = [added for added in dict.fromkeys(user_ids) if added not in present]
            if not new:
                return
            _check_room(len(present) + len(new))
            await _require_users(connection, new)
            members: list[tuple[UserId, Role]] = [(added, "member") for added in new]
            await store.insert_members(
                connection, conversation_id, members, self._clock.now(), read_up_to=conversation.last_activity_id
            )

        return (await self._change(user_id, conversation_id, change))[user_id]

    async def remove(self, user_id: UserId, conversation_id: ConversationId, leaving_id: UserId) -> None:
        """Take somebody out, as an owner, or leave oneself. They leave the conversation's live call too.

        When the last owner leaves, the longest-standing member becomes one; when the last member leaves, the conversation is
        deleted. Raises Forbidden when somebody else is named by who is not an owner, NotFound when they are not in it.
        """

        async def work(connection: AsyncConnection) -> dict[UserId, Conversation]:
            conversation = await _hold(connection, conversation_id, user_id)
            members = await store.members_of(connection, conversation_id)
            _check_removal(members, user_id, leaving_id)
            await store.remove_member(connection, conversation_id, leaving_id)
            remaining = [member for member in members if member.user_id != leaving_id]
            if not remaining:
                await delete_conversation(connection, conversation_id, self._clock.now())
                return {}
            if all(member.role != "owner" for member in remaining):
                await store.set_role(connection, conversation_id, remaining[0].user_id, "owner")
            return await seen_by_each(connection, conversation)

        # Held, nobody else comes, goes or inherits; the row that is deleted waits for calls that just let its member in.
        views = await self._database.transact(work, isolation="committed")
        words = self._announcer.conversation_gone(conversation_id, [leaving_id]), self._announcer.conversation_updated(views)
        await self._on_member_removed(conversation_id, leaving_id)
        await all_told(words)

    async def leave(self, user_id: UserId, conversation_id: ConversationId) -> None:
        """Leave a conversation and its live calls; see `remove`."""
        await self.remove(user_id, conversation_id, user_id)

    async def delete(self, user_id: UserId, conversation_id: ConversationId) -> None:
        """Delete the conversation with its messages, as an owner. Raises Forbidden to other members.

        Live calls of it end. Its recordings are deleted soon after.
        """

        async def work(connection: AsyncConnection) -> list[UserId]:
            await _hold(connection, conversation_id, user_id)
            members = await store.members_of(connection, conversation_id)
            if all(member.role != "owner" for member in members if member.user_id == user_id):
                raise Forbidden("Only an owner can delete a conversation: leave it instead.")
            await delete_conversation(connection, conversation_id, self._clock.now())
            return [member.user_id for member in members]

        gone = await self._database.transact(work, isolation="committed")
        words = self._announcer.conversation_gone(conversation_id, gone)
        for member_id in gone:
            await self._on_member_removed(conversation_id, member_id)
        await words.told()

    async def purge_batch(self) -> bool:
        """Delete a batch of messages of a conversation that was deleted. Returns whether there was anything to delete."""
        now = self._clock.now()
        return await self._database.transact(lambda connection: purge_batch(connection, now), isolation="committed")

    async def mark_read(self, user_id: UserId, conversation_id: ConversationId, message_id: MessageId) -> None:
        """Everything up to this message is read; one older than the present mark changes nothing. Tells the user's devices."""

        async def work(connection: AsyncConnection) -> Conversation | None:
            await store.require_member(connection, conversation_id, user_id)
            message = (await store.find_messages(connection, [message_id])).get(message_id)
            if message is None or message.conversation_id != conversation_id:
                raise NotFound("There is no such message in this conversation.")
            if not await store.mark_read(connection, conversation_id, user_id, message_id):
                return None
            conversation = await store.find_conversation(connection, conversation_id)
            if conversation is None:
                return None
            [view] = await seen_by(connection, user_id, [conversation])
            return view if view.participants else None  # none are left when it was deleted meanwhile, and that is told already

        # Messages stay as they are, and the statement that moves the mark compares it with what is there: nothing to hold.
        view = await self._database.transact(work, isolation="committed")
        if view is not None:
            await self._announcer.conversation_updated({user_id: view}).told()

    async def send(
        self, user_id: UserId, conversation_id: ConversationId, content: str, promise: Idempotency | None = None
    ) -> Message:
        """Write a message. Raises Unprocessable, IdempotencyKeyReused, RateLimited."""
        _check_content(content)
        self._fan_out.check(user_id, conversation_id)
        proposed = self._ids.message()
        now = self._clock.now()

        async def work(connection: AsyncConnection) -> tuple[Message, list[UserId]]:
            conversation = await _hold(connection, conversation_id, user_id)
            message_id = store.next_message_id(conversation, proposed)
            earlier = await find_or_claim(connection, promise, message_id, now)
            if earlier is not None:
                return (await store.find_messages(connection, [earlier]))[MessageId(earlier)], []
            message = Message(message_id, conversation_id, user_id, "text", content, now)
            members = [member.user_id for member in await store.members_of(connection, conversation_id)]
            self._fan_out.spend(user_id, len(members), len(content.encode()), conversation_id)
            await store.insert_message(connection, message)
            return message, members

        # Held, the newest message stays the newest, and the sender a member.
        message, members = await self._database.transact(work, isolation="committed")
        await self._announcer.message_created(message, members).told()
        return message

    async def timeline(
        self, user_id: UserId, conversation_id: ConversationId, *, limit: int, after: UUID | None
    ) -> tuple[list[Message], UUID | None]:
        """Up to `limit` entries, newest first, and the id to go on after (None at the end)."""

        async def work(connection: AsyncConnection) -> list[Message]:
            await store.require_member(connection, conversation_id, user_id)
            return await store.messages_in(connection, conversation_id, limit=limit + 1, after=after)

        found = await self._database.read(work)
        return found[:limit], found[limit - 1].message_id if len(found) > limit else None

    async def _change(
        self,
        user_id: UserId,
        conversation_id: ConversationId,
        change: Callable[[AsyncConnection, StoredConversation], Awaitable[None]],
    ) -> dict[UserId, Conversation]:
        """Let a member change the conversation; everybody in it afterwards is told what it looks like."""
        self._fan_out.check(user_id, conversation_id)

        async def work(connection: AsyncConnection) -> dict[UserId, Conversation]:
            await change(connection, await _hold(connection, conversation_id, user_id))
            changed = await _require_conversation(connection, conversation_id, user_id)
            views = await seen_by_each(connection, changed)
            self._fan_out.spend(user_id, len(views), size_of_event(len(views)), conversation_id)
            return views

        # Held, its members stay those that `change` looked at.
        views = await self._database.transact(work, isolation="committed")
        await self._announcer.conversation_updated(views).told()
        return views


async def _require_conversation(
    connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId
) -> StoredConversation:
    await store.require_member(connection, conversation_id, user_id)
    conversation = await store.find_conversation(connection, conversation_id)
    assert conversation is not None, "a membership that was found belongs to a conversation that lives"
    return conversation


async def _hold(connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId) -> StoredConversation:
    """`_require_conversation`, for whoever changes it: nobody else does until this transaction ends."""
    conversation = await store.hold_conversation(connection, conversation_id, user_id)
    await store.require_member(connection, conversation_id, user_id)
    return conversation


async def _require_users(connection: AsyncConnection, user_ids: Collection[UserId]) -> None:
    found = {user.user_id for user in await user_store.find_users(connection, user_ids)}
    unknown = [str(user_id) for user_id in user_ids if user_id not in found]
    if unknown:
        raise UnknownUser(f"There is no user {', '.join(unknown[:5])}.")


def _others(user_id: UserId, participant_ids: Collection[UserId]) -> list[UserId]:
    """Each once, in the order named, without the one who asks."""
    return [other for other in dict.fromkeys(participant_ids) if other != user_id]


def _check_room(people: int) -> None:
    if people > MAX_MEMBERS:
        raise Unprocessable(f"A conversation holds at most {MAX_MEMBERS} people.")


def _check_removal(members: Collection[Member], user_id: UserId, leaving_id: UserId) -> None:
    roles = {member.user_id: member.role for member in members}
    if leaving_id == user_id:
        return
    if roles[user_id] != "owner":
        raise Forbidden("Only an owner can take somebody else out of a conversation.")
    if leaving_id not in roles:
        raise NotFound("They are not in this conversation.")


def _checked_title(title: str | None) -> str | None:
    if title is None or not title.strip():
        return None
    title = title.strip()
    require_storable("title", title)
    if len(title) > TITLE_CHARS:
        raise Unprocessable(f"title: at most {TITLE_CHARS} characters.")
    return title


def _check_content(content: str) -> None:
    require_storable("content", content)
    if not content.strip():
        raise Unprocessable("content: write something.")
    if len(content) > CONTENT_CHARS:
        raise Unprocessable(f"content: at most {CONTENT_CHARS} characters.")
