"""Who a call is for: the members of its conversation, asked for in the transaction that decides by them. Called by service."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.call import Call
from secureconnect.calls.commands import Person
from secureconnect.errors import NotAMember, NotFound, TooManyCalls
from secureconnect.ids import CallId, ConversationId, UserId
from secureconnect.store import calls as store
from secureconnect.store import chat as chat_store
from secureconnect.store import people


async def require(connection: AsyncConnection, call_id: CallId) -> Call:
    """The call. Raises NotFound."""
    call = await store.load(connection, call_id)
    if call is None:
        raise NotFound
    return call


async def require_member(connection: AsyncConnection, call: Call, user_id: UserId) -> None:
    """Raises NotFound to anybody else."""
    try:
        await chat_store.require_member(connection, call.conversation_id, user_id)
    except NotFound:
        raise NotFound from None  # the same words as for a call that does not exist


async def names_of(connection: AsyncConnection, conversation_id: ConversationId, *, held: bool = False) -> dict[UserId, str]:
    """The members' names by id; empty when there is no such conversation. When `held`, they stay members until the commit."""
    find = chat_store.hold_members if held else chat_store.members_of
    return {member.user_id: member.display_name for member in await find(connection, conversation_id)}


async def people_named(
    connection: AsyncConnection,
    user_ids: Sequence[UserId],
    names: dict[UserId, str],
    caller: tuple[UserId, int] | None = None,
) -> tuple[Person, ...]:
    """Return those to ring, with names and whether they are in another call.

    Args:
        connection: the transaction that decides by it.
        user_ids: who shall be rung.
        names: all members of the conversation.
        caller: who begins a call, and in how many calls that user may be.

    Raises:
        NotAMember: one of them is not in the conversation.
        TooManyCalls: the caller is in as many calls as allowed.
    """
    if any(user_id not in names for user_id in user_ids):
        raise NotAMember
    asked = list(user_ids) if caller is None else [caller[0], *user_ids]
    calls_of = await people.calls_among(connection, asked)
    if caller is not None and calls_of.get(caller[0], 0) >= caller[1]:
        raise TooManyCalls
    return tuple(Person(user_id, names[user_id], user_id in calls_of) for user_id in user_ids)
