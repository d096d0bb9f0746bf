"""Who a call is for: the members of its conversation, asked for in the transaction that decides by them. Called by service."""

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.call import Call, Withholding, shown_to
from secureconnect.calls.commands import Person
from secureconnect.errors import NotAMember, NotFound, TooManyCalls
from secureconnect.ids import CallId, ConversationId, UserId
from secureconnect.store import calls as store
from secureconnect.store import chat as chat_store
from secureconnect.store import people
from secureconnect.store.blocks import who_block
from secureconnect.store.visibility import may_see_call


async def require(connection: AsyncConnection, call_id: CallId) -> Call:
    """The call. Raises NotFound."""
    call = await store.load(connection, call_id)
    if call is None:
        raise NotFound
    return call


class Members(Struct, frozen=True):
    """The members' names by id. `away`: those of them to whom the conversation is not shown."""

    names: dict[UserId, str]
    away: frozenset[UserId] = frozenset()

    @property
    def reached(self) -> list[UserId]:
        """Those who are told what happens in the conversation."""
        return [user_id for user_id in self.names if user_id not in self.away]


async def visible_call(connection: AsyncConnection, call_id: CallId, user_id: UserId) -> Call:
    """Return the call as this user may see it. Raises NotFound."""
    call = await require(connection, call_id)
    await require_visible(connection, call, user_id)
    return shown_to(call, user_id) or call


async def require_visible(connection: AsyncConnection, call: Call, user_id: UserId) -> None:
    """Raises NotFound if this user may not see the call, in the words for a call that does not exist."""
    if not await may_see_call(connection, call.call_id, user_id):
        raise NotFound


async def members_of(connection: AsyncConnection, conversation_id: ConversationId, *, held: bool = False) -> Members:
    """Return the members; no one if there is no such conversation. When `held`, they stay members until the commit."""
    find = chat_store.hold_members if held else chat_store.members_of
    found = await find(connection, conversation_id)
    return Members(
        {member.user_id: member.display_name for member in found}, frozenset(member.user_id for member in found if member.withheld)
    )


async def people_named(
    connection: AsyncConnection,
    user_ids: Sequence[UserId],
    members: Members,
    caller_id: UserId,
    calls_per_user: int | None = None,
) -> tuple[Person, ...]:
    """Return the people to ring, with names, whether they are in another call, and whether they block the caller.

    Of a person who blocks the caller nothing else is known: as if no device were there.

    Args:
        connection: The transaction that decides by it.
        user_ids: Whom to ring.
        members: All members of the conversation.
        caller_id: Who rings them.
        calls_per_user: In how many calls a user may be who begins one; None if the caller is in the call.

    Raises:
        NotAMember: One of them is not in the conversation.
        TooManyCalls: The caller is in as many calls as allowed.
    """
    names = members.names
    if any(user_id not in names for user_id in user_ids):
        raise NotAMember
    asked = list(user_ids) if calls_per_user is None else [caller_id, *user_ids]
    calls_of = await people.calls_among(connection, asked)
    if calls_per_user is not None and calls_of.get(caller_id, 0) >= calls_per_user:
        raise TooManyCalls
    unreached = members.away | await who_block(connection, caller_id, user_ids)
    how = Withholding.HIDDEN if len(names) == 2 else Withholding.SILENT
    return tuple(
        Person(user_id, names[user_id], withheld=how)
        if user_id in unreached
        else Person(user_id, names[user_id], user_id in calls_of)
        for user_id in user_ids
    )


async def require_access(connection: AsyncConnection, call: Call, members: Members, user_id: UserId) -> None:
    """Raises NotFound if the user may not see the call. Every member sees one that is live, unless it is hidden."""
    if user_id not in members.reached or shown_to(call, user_id) is None:
        raise NotFound
    if call.over:
        await require_visible(connection, call, user_id)


def shown_in_timeline(call: Call, members: Sequence[UserId]) -> list[UserId]:
    """Return those of the members to whom the timeline shows the call."""
    return [user_id for user_id in members if user_id != call.hidden_from]
