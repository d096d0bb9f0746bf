"""Passwords of accounts: changing one, and setting a new one by a one-time link. Called by api.passwords and by the CLI.

Signing in with a password is in accounts.service.
"""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.accounts.client import ANONYMOUS, Client
from secureconnect.accounts.credentials import PasswordHasher, new_refresh_token, refresh_token_hash
from secureconnect.accounts.revocations import Revocations
from secureconnect.accounts.service import PASSWORD_CHARS, Principal, check_length
from secureconnect.accounts.sign_ins import REPEAT, SignIn, SignIns, require_enabled
from secureconnect.clock import Clock
from secureconnect.errors import Conflict, LinkExpired, NoPassword, WrongPassword
from secureconnect.ids import DeviceId, UserId
from secureconnect.store import Database
from secureconnect.store import account_admin as store
from secureconnect.store.accounts import User, family_of, find_account, insert_refresh_token, use_family
from secureconnect.store.revocations import revoke_user_tokens

RESET_LIFETIME = timedelta(minutes=30)


class _Change(NamedTuple):
    """What a new password changed: the sign-ins that ended, and the one that goes on."""

    ended: list[UUID]
    kept: UUID | None
    sign_in: SignIn


class PasswordService:
    """Changes passwords. Each change ends the user's other sign-ins, on every node within a second."""

    def __init__(
        self, *, sign_ins: SignIns, database: Database, clock: Clock, passwords: PasswordHasher, revocations: Revocations
    ) -> None:
        self._sign_ins = sign_ins
        self._database = database
        self._clock = clock
        self._passwords = passwords
        self._revocations = revocations

    async def change(self, principal: Principal, current: str, new: str, client: Client = ANONYMOUS) -> SignIn:
        """Replace the password and end all other sign-ins; the one that asks goes on with the tokens returned.

        Args:
            principal: the user and the sign-in that ask.
            current: the present password.
            new: the new one, 8 to 256 characters.
            client: what is known of the client.

        Returns:
            New tokens of the sign-in that asks. Its earlier refresh tokens are used up.

        Raises:
            Unprocessable: the new password is too short or too long.
            WrongPassword: the present password is another one.
            NoPassword: the account has none, because an identity provider signs the user in.
            Unavailable: the database does not answer; nothing was changed.
        """
        check_length("new_password", new, *PASSWORD_CHARS)
        user_id = principal.user_id
        account = await self._database.read(lambda connection: find_account(connection, user_id=user_id))
        if account is None or account.password_hash is None:
            raise NoPassword
        if not await self._passwords.verify(account.password_hash, current, client):
            raise WrongPassword
        grant = principal.grant
        device_id = grant.device_id
        return await self._set(account.user, account.password_hash, new, client, kept=grant.sign_in, device_id=device_id)

    async def reset(self, token: str, new: str, device_id: DeviceId | None = None, client: Client = ANONYMOUS) -> SignIn:
        """Set a new password by a one-time token, end all sign-ins, and sign in.

        Args:
            token: what `create_reset` made.
            new: the new password, 8 to 256 characters.
            device_id: the device that signs in, if it says which it is.
            client: what is known of the client.

        Raises:
            LinkExpired: the token is unknown, used or expired.
            Unprocessable: the new password is too short or too long.
            AccountDisabled: the account is disabled.
            Unavailable: the database does not answer; nothing was changed.
        """
        token_hash, now = refresh_token_hash(token), self._clock.now()
        user_id = await self._database.read(lambda connection: store.find_reset(connection, token_hash, now))
        if user_id is None:
            raise LinkExpired
        check_length("new_password", new, *PASSWORD_CHARS)
        account = await self._database.read(lambda connection: find_account(connection, user_id=user_id))
        if account is None:
            raise LinkExpired
        return await self._set(account.user, account.password_hash, new, client, device_id=device_id, reset=token_hash)

    async def _set(
        self,
        user: User,
        former: str | None,
        new: str,
        client: Client,
        *,
        kept: UUID | None = None,
        device_id: DeviceId | None = None,
        reset: str | None = None,
    ) -> SignIn:
        password_hash = await self._passwords.hash(new, client)
        at, user_id = self._clock.now(), user.user_id

        async def work(connection: AsyncConnection) -> _Change:
            await require_enabled(connection, user_id)
            if reset is not None and await store.find_reset(connection, reset, at) != user_id:
                raise LinkExpired
            if not await store.replace_password_hash(connection, user_id, former, password_hash):
                raise Conflict("The password was changed at the same time: sign in with it and try again.")
            await store.delete_resets(connection, user_id)
            goes_on = kept if kept is not None and await family_of(connection, kept) == user_id else None
            ended = await revoke_user_tokens(connection, user_id, at, at=at, kept=goes_on)
            await store.delete_push_addresses(connection, user_id, kept=device_id if goes_on is not None else None)
            if goes_on is not None:
                await use_family(connection, goes_on, at - REPEAT)  # none of them is answered again
            link, sign_in = self._sign_ins.prepare(user, device_id, client, family_id=goes_on)
            await insert_refresh_token(connection, link)
            return _Change(ended or [], goes_on, sign_in)

        change = await self._database.transact(work)
        self._revocations.announce_user(user_id, at, change.ended, kept=change.kept)
        return change.sign_in


async def create_reset(database: Database, now: datetime, user_id: UserId) -> str:
    """Make a token that sets a new password once, within 30 minutes. An earlier one of the user is void.

    Only its hash is stored. Raises Unavailable.
    """
    token = new_refresh_token()

    async def work(connection: AsyncConnection) -> None:
        token_hash = refresh_token_hash(token)
        await store.insert_reset(connection, token_hash, user_id, created_at=now, expires_at=now + RESET_LIFETIME)

    await database.transact(work)
    return token
