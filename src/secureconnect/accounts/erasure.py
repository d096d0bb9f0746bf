"""Erasure of deleted users, in the background: conversations are left, calls become anonymous. Run by the purge loop of each node.

What identifies a user goes with the deletion itself (`accounts.administration`). Here goes the rest, in batches that a crash
does not lose. Messages are kept; their sender is shown as a deleted user.
"""

from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.clock import Clock
from secureconnect.errors import NotFound
from secureconnect.ids import ConversationId, UserId, short
from secureconnect.store import Database
from secureconnect.store import erasure as store

log = structlog.get_logger(__name__)

CONVERSATIONS_AT_ONCE = 20

Leave = Callable[[UserId, ConversationId], Awaitable[None]]
"""Let a user leave a conversation and its live calls. Raises NotFound for a user who is not in it."""


class Erasure:
    """Erases deleted users. Nodes may work on the same user: each step may be repeated."""

    def __init__(self, *, database: Database, clock: Clock, leave: Leave) -> None:
        self._database = database
        self._clock = clock
        self._leave = leave

    async def erase_batch(self) -> bool:
        """Erase a part of a deleted user. Returns whether there is more to do at once. Raises Unavailable.

        A call that has not ended is erased when it has.
        """
        user_id = await self._database.read(store.next_user_to_erase)
        if user_id is None:
            return False
        if await self._leave_conversations(user_id):
            return True
        return await self._database.transact(lambda connection: self._erase(connection, user_id), isolation="committed")

    async def _erase(self, connection: AsyncConnection, user_id: UserId) -> bool:
        if await store.erase_calls(connection, user_id):
            return True
        is_finished = await store.finish(connection, user_id, self._clock.now())
        if is_finished:
            log.info("user erased", user=short(user_id))
        return is_finished

    async def _leave_conversations(self, user_id: UserId) -> bool:
        """Leave some conversations, and their live calls with them. Returns whether there were any."""
        found = await self._database.read(
            lambda connection: store.conversations_to_leave(connection, user_id, CONVERSATIONS_AT_ONCE)
        )
        for conversation_id in found:
            try:
                await self._leave(user_id, conversation_id)
            except NotFound:  # it is deleted itself, or another node was faster

                async def forget(connection: AsyncConnection, conversation_id: ConversationId = conversation_id) -> None:
                    await store.forget_membership(connection, user_id, conversation_id)

                await self._database.transact(forget, isolation="committed")
        return bool(found)
