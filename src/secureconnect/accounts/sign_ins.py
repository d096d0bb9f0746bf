"""Sign-ins: a family of refresh tokens each, of which every exchange uses one up and adds the next.

Who may sign in is decided by accounts.service and accounts.password. The SQL is in store.accounts.
"""

from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.accounts.client import ANONYMOUS, Client
from secureconnect.accounts.credentials import TokenIssuer, new_refresh_token, refresh_token_hash
from secureconnect.accounts.revocations import Revocations
from secureconnect.clock import Clock
from secureconnect.errors import AccountDisabled, RefreshReused, Unauthenticated
from secureconnect.ids import DeviceId, IdFactory, UserId
from secureconnect.store import Database
from secureconnect.store import accounts as store
from secureconnect.store.accounts import RefreshToken, User

REPEAT = timedelta(seconds=30)
"""How long the refresh token used last is answered again: its first answer may have been lost on the way, or with a page that was
reloaded (RFC 9700, section 4.14.2, leaves the time to the server)."""
UNKNOWN = "This refresh token is not known here: sign in again."
REPEATS = 10
"""How many answers one refresh token has at most."""


class SignIn(Struct, frozen=True):
    """What a sign-in gives: who, the access token for `expires_in` seconds, and the refresh token that buys the next."""

    user: User
    access_token: str
    refresh_token: str | None
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105  (RFC 6750's name for the kind, not a token)


class SignIns:
    """Begins, renews and ends sign-ins."""

    def __init__(
        self,
        *,
        database: Database,
        ids: IdFactory,
        clock: Clock,
        issuer: TokenIssuer,
        refresh_lifetime: timedelta,
        revocations: Revocations,
    ) -> None:
        self._database = database
        self._ids = ids
        self._clock = clock
        self._issuer = issuer
        self._refresh_lifetime = refresh_lifetime
        self._revocations = revocations

    async def begin(
        self, user: User, device_id: DeviceId | None, client: Client = ANONYMOUS, *, new_password_hash: str | None = None
    ) -> SignIn:
        """Sign a user in. Raises AccountDisabled, Unavailable."""
        link, sign_in = self.prepare(user, device_id, client)

        async def work(connection: AsyncConnection) -> None:
            await require_enabled(connection, user.user_id)
            if new_password_hash is not None:
                await store.set_password_hash(connection, user.user_id, new_password_hash)
            await store.insert_refresh_token(connection, link)

        await self._database.transact(work)
        return sign_in

    async def issue_token(self, user: User) -> str:
        """Issue an access token alone, of a sign-in that ends with it. Raises AccountDisabled, Unavailable."""
        link, sign_in = self.prepare(user, None, lifetime=self._issuer.lifetime)

        async def work(connection: AsyncConnection) -> None:
            await require_enabled(connection, user.user_id)
            await store.insert_refresh_token(connection, link)

        await self._database.transact(work)
        return sign_in.access_token

    def prepare(
        self,
        user: User,
        device_id: DeviceId | None,
        client: Client = ANONYMOUS,
        *,
        family_id: UUID | None = None,
        lifetime: timedelta | None = None,
    ) -> tuple[RefreshToken, SignIn]:
        """Make the next link of a sign-in, for `store.accounts.insert_refresh_token`, and the tokens that go with it.

        Args:
            user: the user.
            device_id: the device that signs in, if it says which it is.
            client: what is known of the client.
            family_id: the sign-in; None begins one.
            lifetime: of the refresh token; None for the usual one.
        """
        refresh_token, now = new_refresh_token(), self._clock.now()
        link = RefreshToken(
            token_hash=refresh_token_hash(refresh_token),
            family_id=family_id or self._ids.new(),
            user_id=user.user_id,
            created_at=now,
            expires_at=now + (lifetime or self._refresh_lifetime),
            device_id=device_id,
            network_mark=client.network_mark,
        )
        access_token = self._issuer.issue(
            user.user_id,
            user.display_name,
            token_id=self._ids.new(),
            now=now,
            sign_in=link.family_id,
            device_id=device_id,
        )
        return link, SignIn(user, access_token, refresh_token, int(self._issuer.lifetime.total_seconds()))

    async def refresh(self, refresh_token: str, client: Client = ANONYMOUS) -> SignIn:
        """Exchange a refresh token for the next (rotation: RFC 9700, section 4.14.2).

        The one used last may come again for 30 seconds, as long as no successor was used. Raises RefreshReused, after ending
        the whole family, when a token comes later or an older one comes; AccountDisabled; Unauthenticated when it is unknown,
        expired or signed out.
        """
        token_hash = refresh_token_hash(refresh_token)
        await self._require_known(token_hash)
        now = self._clock.now()
        ended: list[UUID] = []

        async def work(connection: AsyncConnection) -> SignIn | Unauthenticated:
            token = await store.find_refresh_token(connection, token_hash)
            if token is None:
                return Unauthenticated(UNKNOWN)
            if token.used_at is not None and not await _may_repeat(connection, token, now):
                await store.revoke_family(connection, token.family_id, now)
                ended.append(token.family_id)
                return RefreshReused()
            if token.revoked_at is not None or token.expires_at <= now:
                return Unauthenticated("This sign-in has ended: sign in again.")
            await require_enabled(connection, token.user_id)
            if token.used_at is None:
                # Other answers to the token before this one are void from now on.
                await store.use_family(connection, token.family_id, now - REPEAT)
                await store.use_refresh_token(connection, token_hash, now)
            user = await store.find_user(connection, token.user_id)
            assert user is not None, "a token refers to its user"
            link, sign_in = self.prepare(user, token.device_id, client, family_id=token.family_id)
            await store.insert_refresh_token(connection, link)
            return sign_in

        # Serializable: of two that both read the token as unused one runs again, reads it as used, and is a repeat.
        # A refusal is returned from the transaction, not raised, so that ending the family is committed.
        outcome = await self._database.transact(work)
        if isinstance(outcome, Unauthenticated):
            self._revocations.announce_sign_ins(ended)
            raise outcome
        return outcome

    async def logout(self, refresh_token: str) -> None:
        """End the sign-in that this token belongs to. Doing it again, or with an unknown token, changes nothing."""
        token_hash, now = refresh_token_hash(refresh_token), self._clock.now()
        try:
            await self._require_known(token_hash)
        except Unauthenticated:
            return

        async def work(connection: AsyncConnection) -> list[UUID]:
            token = await store.find_refresh_token(connection, token_hash)
            if token is None:
                return []
            await store.revoke_family(connection, token.family_id, now)
            return [token.family_id]

        self._revocations.announce_sign_ins(await self._database.transact(work))

    async def _require_known(self, token_hash: str) -> None:
        """Raises Unauthenticated for an unknown token, without a transaction that writes: anyone may send one."""
        if await self._database.read(lambda connection: store.find_refresh_token(connection, token_hash)) is None:
            raise Unauthenticated(UNKNOWN)


async def require_enabled(connection: AsyncConnection, user_id: UserId) -> None:
    """Raises AccountDisabled: a sign-in that begins while the account is being disabled must not outlive that."""
    if not await store.is_enabled(connection, user_id):
        raise AccountDisabled


async def _may_repeat(connection: AsyncConnection, token: RefreshToken, now: datetime) -> bool:
    """Whether a used token may be answered again: it was used last and just now, and not too often."""
    assert token.used_at is not None
    if token.revoked_at is not None or now - token.used_at >= REPEAT:
        return False
    used_later, answers = await store.count_successors(connection, token.family_id, token.used_at)
    return not used_later and answers < REPEATS
