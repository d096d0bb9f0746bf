"""How often people are put into conversations: counted by the one who does it and by each one who is added, once all exist.

Called by api.chat before chat.service. What is refused here was read and not written.
"""

from collections.abc import Collection

from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.errors import UnknownUser
from secureconnect.ids import ConversationId, UserId
from secureconnect.ops.ratelimit import RateLimiter, Use
from secureconnect.store import Database
from secureconnect.store import accounts as user_store
from secureconnect.store import chat as store


class AdditionLimits:
    """Counts additions before they happen."""

    def __init__(self, *, database: Database, limiter: RateLimiter) -> None:
        self._database = database
        self._limiter = limiter

    async def count(self, user_id: UserId, added_ids: Collection[UserId], conversation_id: ConversationId | None = None) -> None:
        """Count that `user_id` puts `added_ids` into a conversation; None is one that begins.

        Those who are in it already do not count. Raises NotFound, UnknownUser (then nothing is counted), RateLimited.
        """

        async def read(connection: AsyncConnection) -> list[UserId]:
            present = {user_id}
            if conversation_id is not None:
                await store.require_member(connection, conversation_id, user_id)
                present |= {member.user_id for member in await store.members_of(connection, conversation_id)}
            added = [added_id for added_id in dict.fromkeys(added_ids) if added_id not in present]
            found = {user.user_id for user in await user_store.find_users(connection, added)} if added else set()
            unknown = [str(added_id) for added_id in added if added_id not in found]
            if unknown:
                raise UnknownUser(f"There is no user {', '.join(unknown[:5])}.")
            return added

        added = await self._database.read(read)
        await self._limiter.hit_all([Use("conversation", str(user_id)), *(Use("added", str(added_id)) for added_id in added)])
