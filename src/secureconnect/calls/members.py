"""Who a call is for: the members of its conversation, asked for in the transaction that decides by them. Called by service."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.call import Call
from secureconnect.calls.commands import Person
from secureconnect.errors import NotAMember, NotFound
from secureconnect.ids import CallId, ConversationId, UserId
from secureconnect.store import calls as store
from secureconnect.store import chat as chat_store


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


async def people_named(connection: AsyncConnection, user_ids: Sequence[UserId], names: dict[UserId, str]) -> tuple[Person, ...]:
    """Those to ring, with names and whether they are in another call. Raises NotAMember."""
    if any(user_id not in names for user_id in user_ids):
        raise NotAMember
    busy = await store.busy_among(connection, user_ids)
    return tuple(Person(user_id, names[user_id], user_id in busy) for user_id in user_ids)
