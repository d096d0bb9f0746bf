"""How often phones ring: counted by caller, by pair and by callee, once the conversation and all callees are known to exist.

Called by api.calls before calls.service. What is refused here was read and not written.
"""

from collections.abc import Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.members import Members, members_of, require
from secureconnect.errors import CalleeIsCaller, DuplicateCallee, NotAMember, NotFound, TooManyParticipants
from secureconnect.ids import CallId, ConversationId, UserId
from secureconnect.ops.ratelimit import RateLimiter, Use
from secureconnect.store import Database
from secureconnect.store import chat as chat_store


class RingLimits:
    """Counts rings before they happen. `capacity` returns how many people a call holds here."""

    def __init__(self, *, database: Database, limiter: RateLimiter, capacity: Callable[[], int]) -> None:
        self._database = database
        self._limiter = limiter
        self._capacity = capacity

    async def count_call(self, caller_id: UserId, conversation_id: ConversationId, callee_ids: Sequence[UserId]) -> None:
        """Count a call that is about to ring `callee_ids`.

        Raises NotFound, NotAMember, CalleeIsCaller, DuplicateCallee, TooManyParticipants (then nothing is counted), RateLimited.
        """
        await self._require_members(caller_id, conversation_id, callee_ids, NotFound(chat_store.NOT_YOURS))
        if caller_id in callee_ids:
            raise CalleeIsCaller
        if len(set(callee_ids)) < len(callee_ids):
            raise DuplicateCallee
        capacity = self._capacity()
        if 1 + len(callee_ids) > capacity:
            raise TooManyParticipants(f"A call holds {capacity} people here, and this would be {1 + len(callee_ids)}.")
        await self._limiter.hit_all(_uses(caller_id, callee_ids))

    async def count_invitation(self, user_id: UserId, call_id: CallId, user_ids: Sequence[UserId]) -> None:
        """Count an invitation of `user_ids` into a call. Raises NotFound, NotAMember (then nothing is counted), RateLimited."""
        call = await self._database.read(lambda connection: require(connection, call_id))
        # The same words as for a call that does not exist: a stranger must not learn which one does.
        await self._require_members(user_id, call.conversation_id, user_ids, NotFound())
        await self._limiter.hit_all(_uses(user_id, user_ids))

    async def _require_members(
        self, user_id: UserId, conversation_id: ConversationId, others: Sequence[UserId], refusal: NotFound
    ) -> None:
        async def read(connection: AsyncConnection) -> Members:
            return await members_of(connection, conversation_id)

        members = await self._database.read(read)
        if user_id not in members.reached:
            raise refusal
        if any(other not in members.names for other in others):
            raise NotAMember


def _uses(caller_id: UserId, callee_ids: Sequence[UserId]) -> list[Use]:
    """The cheapest first: the caller's own, then the pairs, then those who are reached."""
    pairs = [Use("ring_one", f"{caller_id}:{callee_id}") for callee_id in callee_ids]
    return [Use("ring", str(caller_id)), *pairs, *(Use("rung", str(callee_id)) for callee_id in callee_ids)]
