"""Which people are in calls now, asked for by whoever begins a call or joins one. The calls themselves are in `store.calls`."""

from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.call import State
from secureconnect.ids import CallId, UserId
from secureconnect.store.prepared import Prepared, given
from secureconnect.store.tables import call_participants, users

_IN = (State.JOINED, State.RECONNECTING)


async def calls_among(connection: AsyncConnection, user_ids: Iterable[UserId]) -> dict[UserId, int]:
    """In how many calls each of `user_ids` is now; those who are in none are left out."""
    return {UserId(row.user_id): row.amount for row in await _CALLS_NOW.all(connection, user_ids=list(user_ids))}


async def count_other_calls(connection: AsyncConnection, user_id: UserId, call_id: CallId) -> int:
    """In how many calls but this one the user is now."""
    [row] = await _OTHER_CALLS.all(connection, user_id=user_id, call_id=call_id)
    return int(row.amount)


async def hold_people(connection: AsyncConnection, user_ids: Iterable[UserId]) -> None:
    """One call at a time begins with these people: of two who ring each other at the same instant, one finds the other busy."""
    await _HOLD_PEOPLE.all(connection, user_ids=list(user_ids))


_people = call_participants.c
_CALLS_NOW = Prepared(
    select(_people.user_id, func.count().label("amount"))
    .where(_people.user_id.in_(given("user_ids", many=True)), _people.state.in_([str(one) for one in _IN]))
    .group_by(_people.user_id)
)
_OTHER_CALLS = Prepared(
    select(func.count().label("amount")).where(
        _people.user_id == given("user_id"), _people.call_id != given("call_id"), _people.state.in_([str(one) for one in _IN])
    )
)
_HOLD_PEOPLE = Prepared(
    # Neither in the way of those who only refer to them, nor of each other: in one order.
    select(users.c.user_id)
    .where(users.c.user_id.in_(given("user_ids", many=True)))
    .order_by(users.c.user_id)
    .with_for_update(key_share=True)
)
