"""Accounts as an operator manages them: list, create, disable, enable, sign out, delete. Called by the CLI.

It works beside running nodes: the database is changed first, then the bus tells them, and each reads again by itself. What a
user may do alone is in accounts.service and accounts.password.
"""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.accounts.emails import email_spellings
from secureconnect.accounts.revocations import Revocations
from secureconnect.accounts.service import checked_email
from secureconnect.clock import Clock
from secureconnect.errors import EmailTaken, UnknownUser
from secureconnect.ids import IdFactory, UserId
from secureconnect.store import Database
from secureconnect.store import account_admin as store
from secureconnect.store import accounts as account_store
from secureconnect.store.account_admin import UserRecord
from secureconnect.store.accounts import User
from secureconnect.store.revocations import revoke_user_tokens
from secureconnect.text import require_name


class Administration:
    """What an operator may do to accounts. Users are named by email or by id."""

    def __init__(self, *, database: Database, ids: IdFactory, clock: Clock, revocations: Revocations) -> None:
        self._database = database
        self._ids = ids
        self._clock = clock
        self._revocations = revocations

    async def list_users(self, words: str = "", *, limit: int, after: UUID | None = None) -> list[UserRecord]:
        """List users, the oldest first: those of whose name a word, or whose email, begins with `words`. Raises Unavailable."""
        now = self._clock.now()
        return await self._database.read(lambda connection: store.list_users(connection, words, now, limit=limit, after=after))

    async def find(self, name: str | UUID) -> UserRecord:
        """Find a user by email or id. Raises UnknownUser, also for a deleted one, and Unavailable."""
        found = await self.look_up(name)
        if found.deleted_at is not None:
            raise UnknownUser("There is no such user.")
        return found

    async def look_up(self, name: str | UUID) -> UserRecord:
        """Find a user by email or id, who may be a deleted one. Raises UnknownUser, Unavailable."""
        now = self._clock.now()

        async def look(connection: AsyncConnection) -> UserRecord | None:
            if isinstance(name, UUID):
                return await store.find_record(connection, UserId(name), now)
            account = await account_store.find_account_by_emails(connection, email_spellings(name))
            return None if account is None else await store.find_record(connection, account.user.user_id, now)

        found = await self._database.read(look)
        if found is None:
            raise UnknownUser("There is no such user.")
        return found

    async def create(self, email: str, display_name: str) -> UserRecord:
        """Create an account without a password; a reset link gives it one. Raises EmailTaken, Unprocessable, Unavailable."""
        user = User(self._ids.user(), checked_email(email), require_name("display_name", display_name))
        spellings, now = email_spellings(email), self._clock.now()

        async def work(connection: AsyncConnection) -> None:
            if await account_store.find_account_by_emails(connection, spellings) is not None:
                raise EmailTaken
            await account_store.insert_user(connection, user, now)

        await self._database.transact(work)
        return await self.find(user.user_id)

    async def sign_out(self, user_id: UserId) -> None:
        """End all sign-ins and tokens of a user, and wake the user's devices no more. Raises UnknownUser, Unavailable."""
        at = self._clock.now()

        async def work(connection: AsyncConnection) -> list[UUID] | None:
            await store.delete_push_addresses(connection, user_id)
            return await revoke_user_tokens(connection, user_id, at, at=at)

        ended = await self._database.transact(work)
        if ended is None:
            raise UnknownUser("There is no such user.")
        self._revocations.announce_user(user_id, at, ended)

    async def disable(self, user_id: UserId) -> None:
        """Sign a user out, and refuse each token and sign-in until `enable`. Raises UnknownUser, Unavailable."""
        await self._database.transact(lambda connection: store.delete_push_addresses(connection, user_id))
        await self._revocations.disable_user(user_id)

    async def enable(self, user_id: UserId) -> None:
        """Let a disabled user sign in again. Tokens from before stay refused. Raises Unavailable."""
        await self._revocations.enable_user(user_id)

    async def delete(self, user_id: UserId) -> None:
        """Delete an account: sign it out for ever and remove what identifies the user.

        Running nodes erase the rest in the background (`accounts.erasure`). Raises UnknownUser, Unavailable.
        """
        at = self._clock.now()

        async def work(connection: AsyncConnection) -> list[UUID] | None:
            ended = await revoke_user_tokens(connection, user_id, at, at=at)
            await store.begin_deletion(connection, user_id, at)
            return ended

        ended = await self._database.transact(work)
        if ended is None:
            raise UnknownUser("There is no such user.")
        self._revocations.announce_user(user_id, at, ended, disabled=True)
