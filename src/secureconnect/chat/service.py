"""Conversations, their members and messages. Called by api.chat, and by the demo.

Loads, decides, writes in one transaction, then tells the members over the bus. The SQL is in store.chat. Knows no HTTP, and of
calls only that somebody who is no longer a member must leave them: `on_member_removed`, handed down by app.

What changes a conversation holds its row first: changes of one come one after another, of two they do not meet.
"""

from collections.abc import Awaitable, Callable, Collection
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.bus import Bus
from secureconnect.bus.announcement import all_told
from secureconnect.chat.conversation import Conversation, seen_by, seen_by_each, size_of_event
from secureconnect.chat.events import Announcer
from secureconnect.chat.fan_out import FanOut
from secureconnect.chat.invitations import Invitations
from secureconnect.chat.membership import add_people, check_room, remove_person, require_owner, require_users
from secureconnect.clock import Clock
from secureconnect.errors import Forbidden, NotFound, TooManyConversations, Unprocessable
from secureconnect.ids import ConversationId, IdFactory, MessageId, UserId
from secureconnect.store import Database
from secureconnect.store import chat as store
from secureconnect.store.blocks import who_block
from secureconnect.store.chat import History, Message, Role, StoredConversation, StoredMember
from secureconnect.store.idempotency import Idempotency, find_or_claim
from secureconnect.store.membership import count_owned, invited_to, take_invitation
from secureconnect.store.purge import delete_conversation, purge_batch
from secureconnect.store.unread import mark_read
from secureconnect.text import TITLE_BYTES, TITLE_CHARS, require_body, require_name

CONTENT_CHARS = 8000
CONTENT_BYTES = 4 * CONTENT_CHARS


class Rules(Struct, frozen=True):
    """Whether members who are not owners may add people, and what added people see of the past. None keeps what is."""

    members_may_add: bool | None = None
    history: History | None = None


NO_RULES = Rules()
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
        history: History = "since_joining",
    ) -> None:
        """`history`: what people who are added to new conversations see of the past, where the request does not say."""
        self._database = database
        self._history: History = history
        self._announcer = Announcer(bus, clock)
        self._ids = ids
        self._clock = clock
        self._on_member_removed = on_member_removed
        self._conversations_per_user = conversations_per_user
        self._fan_out = fan_out or FanOut(clock)
        self.invitations = Invitations(database=database, announcer=self._announcer, clock=clock)

    async def create(
        self,
        user_id: UserId,
        participant_ids: Collection[UserId],
        title: str | None = None,
        promise: Idempotency | None = None,
        rules: Rules = NO_RULES,
    ) -> Conversation:
        """Start a conversation of `user_id`, its owner, with others. Those who block the owner are not told.

        Raises UnknownUser, Unprocessable, IdempotencyKeyReused, TooManyConversations.
        """
        title = _checked_title(title)
        others = _others(user_id, participant_ids)
        if not others:
            raise Unprocessable("participant_ids: name at least one other person.")
        check_room(1 + len(others))
        self._fan_out.check(user_id)
        proposed = self._ids.conversation()
        now = self._clock.now()

        async def work(connection: AsyncConnection) -> tuple[bool, dict[UserId, Conversation]]:
            earlier = await find_or_claim(connection, promise, proposed, now)
            if earlier is None:
                if await count_owned(connection, user_id) >= self._conversations_per_user:
                    raise TooManyConversations
                await require_users(connection, others)
                self._fan_out.spend(user_id, 1 + len(others), size_of_event(1 + len(others)))
                members: list[tuple[UserId, Role]] = [(user_id, "owner"), *((other, "member") for other in others)]
                new = StoredConversation(
                    proposed, title, now, proposed, rules.members_may_add or False, rules.history or self._history
                )
                withheld = await who_block(connection, user_id, others)
                await store.insert_conversation(connection, new, members, created_by=user_id, withheld=withheld)
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
        """Set the title, or take it away with None. Raises Unprocessable."""
        return await self.change(user_id, conversation_id, title)

    async def change(
        self, user_id: UserId, conversation_id: ConversationId, title: str | UnsetType | None = UNSET, rules: Rules = NO_RULES
    ) -> Conversation:
        """Set the title, as a member, or the rules, as an owner; None takes the title away. Raises Unprocessable, Forbidden."""
        values = {name: value for name, value in asdict(rules).items() if value is not None}
        title = title if title is UNSET else _checked_title(title)

        async def change(connection: AsyncConnection, _conversation: StoredConversation) -> None:
            if values:
                await require_owner(connection, conversation_id, user_id, "Only an owner can change these rules.")
            if title is not UNSET:
                values["title"] = title
            if values:
                await store.change_conversation(connection, conversation_id, **values)

        return (await self._change(user_id, conversation_id, change))[user_id]

    async def add(self, user_id: UserId, conversation_id: ConversationId, user_ids: Collection[UserId]) -> Conversation:
        """Add people; members stay as they are. Those who left by themselves are asked to return.

        Raises Forbidden, UnknownUser, Unprocessable.
        """
        asked: list[UserId] = []

        async def change(connection: AsyncConnection, conversation: StoredConversation) -> None:
            asked[:] = await add_people(connection, conversation, user_id, user_ids, self._clock.now())

        views = await self._change(user_id, conversation_id, change)
        await self.invitations.tell(conversation_id, asked)
        return views[user_id]

    async def remove(self, user_id: UserId, conversation_id: ConversationId, leaving_id: UserId) -> None:
        """Take somebody out, as an owner, or leave oneself. They leave the conversation's live call too.

        When the last owner leaves, the longest-standing member becomes one; when the last member leaves, the conversation is
        deleted. Raises Forbidden when somebody else is named by who is not an owner, NotFound when they are not in it.
        """

        async def work(connection: AsyncConnection) -> dict[UserId, Conversation]:
            conversation = await _hold(connection, conversation_id, user_id)
            if await _withdraw_invitation(connection, conversation_id, user_id, leaving_id):
                return await seen_by_each(connection, conversation)
            remaining = await remove_person(connection, conversation_id, user_id, leaving_id, self._clock.now())
            reached = [member for member in remaining if not member.withheld]
            if not reached:
                await delete_conversation(connection, conversation_id, self._clock.now())
                return {}
            if all(member.role != "owner" for member in reached):
                await store.set_role(connection, conversation_id, reached[0].user_id, "owner")
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
            viewer = await store.require_member(connection, conversation_id, user_id)
            message = (await store.find_messages(connection, [message_id])).get(message_id)
            withheld = await store.withheld_among(connection, [message_id])
            is_shown = viewer.sees(message_id, withheld.get(message_id))
            if message is None or message.conversation_id != conversation_id or not is_shown:
                raise NotFound("There is no such message in this conversation.")
            if not await mark_read(connection, conversation_id, user_id, message_id):
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
        require_body("content", content, chars=CONTENT_CHARS, bytes_=CONTENT_BYTES)
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
            members = await store.members_of(connection, conversation_id)
            self._fan_out.spend(user_id, len(members), len(content.encode()), conversation_id)
            hidden = await _who_blocks_alone(connection, members, user_id)
            await store.insert_message(connection, message, hidden)
            return message, [member.user_id for member in members if not member.withheld and member.user_id != hidden]

        # Held, the newest message stays the newest, and the sender a member.
        message, members = await self._database.transact(work, isolation="committed")
        await self._announcer.message_created(message, members).told()
        return message

    async def timeline(
        self, user_id: UserId, conversation_id: ConversationId, *, limit: int, after: UUID | None
    ) -> tuple[list[Message], UUID | None]:
        """Up to `limit` entries, newest first, and the id to go on after (None at the end)."""

        async def work(connection: AsyncConnection) -> list[Message]:
            viewer = await store.require_member(connection, conversation_id, user_id)
            return await store.messages_in(connection, conversation_id, viewer, limit=limit + 1, after=after)

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


async def _withdraw_invitation(
    connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId, invited_id: UserId
) -> bool:
    """Withdraw the invitation of a person, as an owner. Returns false if the person is not invited."""
    invited = (await invited_to(connection, [conversation_id])).get(conversation_id, [])
    if all(person.user_id != invited_id for person in invited):
        return False
    await require_owner(connection, conversation_id, user_id, "Only an owner can withdraw an invitation.")
    await take_invitation(connection, conversation_id, invited_id)
    return True


async def _who_blocks_alone(connection: AsyncConnection, members: Collection[StoredMember], sender_id: UserId) -> UserId | None:
    """Return the other one in a conversation of the two, if they block the sender."""
    others = [member.user_id for member in members if member.user_id != sender_id]
    if len(others) != 1 or not await who_block(connection, sender_id, others):
        return None
    return others[0]


def _others(user_id: UserId, participant_ids: Collection[UserId]) -> list[UserId]:
    """Each once, in the order named, without the one who asks."""
    return [other for other in dict.fromkeys(participant_ids) if other != user_id]


def _checked_title(title: str | None) -> str | None:
    if title is None or not title.strip():
        return None
    return require_name("title", title, chars=TITLE_CHARS, bytes_=TITLE_BYTES)
