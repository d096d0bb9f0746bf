"""Blocking people: what a user decides about who reaches them. Called by api.blocks.

A ring by a blocked person is not delivered, and looks to that person like one that no one answers; see calls.members. What it
means for conversations is in chat.membership.
"""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.access_errors import TooManyBlocks
from secureconnect.clock import Clock
from secureconnect.errors import NotFound, Unprocessable
from secureconnect.ids import UserId
from secureconnect.store import Database
from secureconnect.store import blocks as store
from secureconnect.store.accounts import find_user
from secureconnect.store.blocks import BlockedPerson

MAX_BLOCKS = 1000
"""People whom one user blocks. A list, not a defence against a crowd: for that there is the operator."""


class Blocks:
    """Whom a user blocks. The blocked person is not told."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def block(self, user_id: UserId, blocked_id: UserId) -> None:
        """Block a person; again changes nothing.

        Raises:
            NotFound: There is no such user.
            Unprocessable: It is the user.
            TooManyBlocks: The user blocks as many people as one may.
        """
        if blocked_id == user_id:
            raise Unprocessable("You cannot block yourself.")

        async def work(connection: AsyncConnection) -> None:
            if await find_user(connection, blocked_id) is None:
                raise NotFound("There is no such user.")
            if await store.is_blocking(connection, user_id, blocked_id):
                return
            if await store.count_blocks(connection, user_id) >= MAX_BLOCKS:
                raise TooManyBlocks(f"You block {MAX_BLOCKS} people: unblock someone first.")
            await store.insert_block(connection, user_id, blocked_id, self._clock.now())

        await self._database.transact(work)

    async def unblock(self, user_id: UserId, blocked_id: UserId) -> None:
        """Unblock a person; again changes nothing."""
        await self._database.transact(lambda connection: store.delete_block(connection, user_id, blocked_id), isolation="committed")

    async def list(self, user_id: UserId, *, limit: int, after: UUID | None) -> tuple[list[BlockedPerson], UUID | None]:
        """List up to `limit` people whom the user blocks, and the id to go on after (None at the end)."""
        found = await self._database.read(lambda connection: store.blocks_of(connection, user_id, limit=limit + 1, after=after))
        return found[:limit], found[limit - 1].user_id if len(found) > limit else None
