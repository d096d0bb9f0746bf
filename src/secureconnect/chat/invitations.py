"""Invitations to people who left a conversation: they return only when they accept. Called by chat.service and api.chat."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.bus.announcement import all_told
from secureconnect.chat.conversation import Conversation, seen_by_each
from secureconnect.chat.events import Announcer
from secureconnect.chat.membership import check_room, insert
from secureconnect.clock import Clock
from secureconnect.errors import NotFound
from secureconnect.ids import ConversationId, UserId
from secureconnect.store import Database
from secureconnect.store import chat as store
from secureconnect.store.membership import Invitation, invitations_of, take_invitation

NOT_INVITED = "There is no invitation to this conversation."


class Invitations:
    """What an invited person sees and answers."""

    def __init__(self, *, database: Database, announcer: Announcer, clock: Clock) -> None:
        self._database = database
        self._announcer = announcer
        self._clock = clock

    async def list(self, user_id: UserId, *, limit: int, after: UUID | None) -> tuple[list[Invitation], UUID | None]:
        """List up to `limit` invitations, and what to go on after (None at the end)."""
        found = await self._database.read(lambda connection: invitations_of(connection, user_id, limit=limit + 1, after=after))
        return found[:limit], found[limit - 1].conversation_id if len(found) > limit else None

    async def accept(self, user_id: UserId, conversation_id: ConversationId) -> Conversation:
        """Return to the conversation. Raises NotFound, Unprocessable."""

        async def work(connection: AsyncConnection) -> dict[UserId, Conversation]:
            conversation = await store.hold_conversation_alone(connection, conversation_id)
            invited_by = await take_invitation(connection, conversation_id, user_id) if conversation is not None else None
            if conversation is None or invited_by is None:
                raise NotFound(NOT_INVITED)
            members = await store.members_of(connection, conversation_id)
            check_room(len(members) + 1)
            await insert(connection, conversation, [user_id], invited_by, self._clock.now())
            return await seen_by_each(connection, conversation)

        views = await self._database.transact(work, isolation="committed")
        if user_id not in views:
            raise NotFound(NOT_INVITED)
        announced = self._announcer.conversation_updated(views), self._announcer.invited(user_id, conversation_id, None)
        await all_told(announced)
        return views[user_id]

    async def decline(self, user_id: UserId, conversation_id: ConversationId) -> None:
        """Stay away. Doing it again changes nothing."""

        async def work(connection: AsyncConnection) -> dict[UserId, Conversation]:
            conversation = await store.hold_conversation_alone(connection, conversation_id)
            if conversation is None or await take_invitation(connection, conversation_id, user_id) is None:
                return {}
            return await seen_by_each(connection, conversation)

        views = await self._database.transact(work, isolation="committed")
        announced = self._announcer.conversation_updated(views), self._announcer.invited(user_id, conversation_id, None)
        await all_told(announced)

    async def tell(self, conversation_id: ConversationId, asked: Iterable[UserId]) -> None:
        """Tell people that they are asked to return, except those who block the one who asks."""
        for user_id in asked:

            async def find(connection: AsyncConnection, user_id: UserId = user_id) -> list[Invitation]:
                return await invitations_of(connection, user_id, limit=1, only=conversation_id)

            for invitation in await self._database.read(find):
                await self._announcer.invited(user_id, conversation_id, invitation).told()
