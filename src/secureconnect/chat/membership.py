"""Who comes into a conversation and who leaves it: the rules, and what they write. Called by chat.service.

Each function runs in a transaction that holds the conversation. Nothing here tells members; the service does.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.errors import Forbidden, NotFound, UnknownUser, Unprocessable
from secureconnect.ids import ConversationId, UserId
from secureconnect.store import accounts as user_store
from secureconnect.store import chat as store
from secureconnect.store import membership
from secureconnect.store.blocks import who_block
from secureconnect.store.chat import Role, StoredConversation, StoredMember

MAX_MEMBERS = 256
"""Every message is published once to each; larger rooms would want another design."""


async def add_people(
    connection: AsyncConnection, conversation: StoredConversation, adder_id: UserId, user_ids: Collection[UserId], now: datetime
) -> list[UserId]:
    """Add people, and ask those who left by themselves to return. Returns those who are asked.

    Raises:
        Forbidden: Only owners add people here, or an owner removed one of them and the adder is not an owner.
        UnknownUser, Unprocessable: A user does not exist; the conversation is full.
    """
    conversation_id = conversation.conversation_id
    members = await store.members_of(connection, conversation_id)
    is_owner = _role_of(members, adder_id) == "owner"
    if not (is_owner or conversation.members_may_add):
        raise Forbidden("Only an owner can add people to this conversation.")
    invited = {person.user_id for person in (await membership.invited_to(connection, [conversation_id])).get(conversation_id, [])}
    present = {member.user_id for member in members} | invited
    new = [user_id for user_id in dict.fromkeys(user_ids) if user_id not in present]
    if not new:
        return []
    check_room(len(present) + len(new))
    await require_users(connection, new)
    departed = await membership.departures_among(connection, conversation_id, new)
    if not is_owner and any(departed.values()):
        raise Forbidden("An owner removed one of these people: only an owner can add them again.")
    asked = [user_id for user_id in new if user_id in departed and departed[user_id] is None]
    for user_id in asked:
        await membership.insert_invitation(connection, conversation_id, user_id, adder_id, now)
    await insert(connection, conversation, [user_id for user_id in new if user_id not in asked], adder_id, now)
    return asked


async def insert(
    connection: AsyncConnection, conversation: StoredConversation, user_ids: Sequence[UserId], added_by: UserId, now: datetime
) -> None:
    """Make these people members, with what the conversation shows of its past."""
    if not user_ids:
        return
    members: list[tuple[UserId, Role]] = [(user_id, "member") for user_id in user_ids]
    await store.insert_members(
        connection,
        conversation.conversation_id,
        members,
        now,
        read_up_to=conversation.last_activity_id,
        added_by=added_by,
        history_after=conversation.last_activity_id if conversation.history == "since_joining" else None,
        withheld=await who_block(connection, added_by, user_ids),
    )
    for user_id in user_ids:
        await membership.forget_departure(connection, conversation.conversation_id, user_id)


async def remove_person(
    connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId, leaving_id: UserId, now: datetime
) -> list[StoredMember]:
    """Remove a member, as an owner or oneself. Returns those who remain, the longest-standing first.

    Raises:
        Forbidden: Someone else is named by a member who is not an owner.
        NotFound: The person is not in the conversation.
    """
    members = await store.members_of(connection, conversation_id)
    if leaving_id != user_id and _role_of(members, user_id) != "owner":
        raise Forbidden("Only an owner can remove another person from a conversation.")
    if _role_of(members, leaving_id) is None:
        raise NotFound("They are not in this conversation.")
    await store.remove_member(connection, conversation_id, leaving_id)
    removed_by = None if leaving_id == user_id else user_id
    await membership.note_departure(connection, conversation_id, leaving_id, now, removed_by)
    return [member for member in members if member.user_id != leaving_id]


async def require_owner(connection: AsyncConnection, conversation_id: ConversationId, user_id: UserId, words: str) -> None:
    """Raises Forbidden with these words if the user is not an owner."""
    if (await store.require_member(connection, conversation_id, user_id)).role != "owner":
        raise Forbidden(words)


async def require_users(connection: AsyncConnection, user_ids: Collection[UserId]) -> None:
    """Raises UnknownUser if one of the users does not exist."""
    found = {user.user_id for user in await user_store.find_users(connection, user_ids)}
    unknown = [str(user_id) for user_id in user_ids if user_id not in found]
    if unknown:
        raise UnknownUser(f"There is no user {', '.join(unknown[:5])}.")


def check_room(people: int) -> None:
    """Raises Unprocessable if a conversation does not hold so many people."""
    if people > MAX_MEMBERS:
        raise Unprocessable(f"A conversation holds at most {MAX_MEMBERS} people.")


def _role_of(members: Sequence[StoredMember], user_id: UserId) -> Role | None:
    return next((member.role for member in members if member.user_id == user_id), None)
