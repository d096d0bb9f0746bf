"""Users and their sign-ins. Called by api.accounts, by whatever must know who is asking (api.http, signaling), and by the CLI.

Decides; the SQL is in store.accounts, the cryptography in accounts.credentials and accounts.verification. Knows no HTTP.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.accounts.client import ANONYMOUS, Client
from secureconnect.accounts.credentials import PasswordHasher, TokenIssuer
from secureconnect.accounts.emails import email_spellings, normal_email
from secureconnect.accounts.grant import Grant
from secureconnect.accounts.registration import Registration
from secureconnect.accounts.revocations import Revocations
from secureconnect.accounts.sign_ins import SignIn, SignIns
from secureconnect.accounts.verification import Claims, TokenVerifier
from secureconnect.clock import Clock
from secureconnect.errors import (
    EmailTaken,
    IdempotencyKeyReused,
    Unauthenticated,
    UnknownUser,
    Unprocessable,
    WrongCredentials,
)
from secureconnect.ids import DeviceId, IdFactory, UserId, short
from secureconnect.store import Database
from secureconnect.store import accounts as store
from secureconnect.store.accounts import Account, Identity, Person, User
from secureconnect.store.idempotency import Idempotency, find_or_claim, is_known
from secureconnect.store.unicode import require_storable
from secureconnect.text import clean_name, require_name

EMAIL_CHARS = 320
PASSWORD_CHARS = (8, 256)
NOT_KNOWN = "This refresh token is not known here: sign in again."
PRINCIPALS_KEPT = 10_000
"""Of those seen last, so that a request of an active user reads no user from the database. About 3 MB."""


class Principal(Struct, frozen=True):
    """The user who asks, known from a verified token, and what that token allows."""

    user_id: UserId
    display_name: str
    grant: Grant


class _Registration(Struct, frozen=True):
    """What makes two registrations one request. The password is left out: a fast hash of it would undo the slow one."""

    email: str | None
    display_name: str


class AccountService:
    """Registration, sign-in, rotation of refresh tokens, and who a token stands for."""

    def __init__(
        self,
        *,
        database: Database,
        ids: IdFactory,
        clock: Clock,
        passwords: PasswordHasher,
        issuer: TokenIssuer,
        verifier: TokenVerifier,
        refresh_lifetime: timedelta,
        revocations: Revocations,
        registration: Registration,
        accepts_any_token: bool = False,
    ) -> None:
        """`accepts_any_token`: tokens that applications sign may name accounts that sign in here, as in 0.1."""
        self._database = database
        self._ids = ids
        self._clock = clock
        self._passwords = passwords
        self._own_issuer = issuer.issuer
        self._verifier = verifier
        self.refresh_lifetime = refresh_lifetime
        self._revocations = revocations
        self._accepts_any_token = accepts_any_token
        self.sign_ins = SignIns(
            database=database, ids=ids, clock=clock, issuer=issuer, refresh_lifetime=refresh_lifetime, revocations=revocations
        )
        self._known: OrderedDict[Identity, User] = OrderedDict()
        self._known_sign_ins: OrderedDict[UUID, UserId] = OrderedDict()
        self.registration = registration

    async def register(
        self,
        *,
        email: str,
        password: str,
        display_name: str,
        idempotency_key: str | None = None,
        device_id: DeviceId | None = None,
        client: Client = ANONYMOUS,
        invitation: str | None = None,
    ) -> SignIn:
        """Make an account and sign in.

        Raises EmailTaken, Unprocessable, IdempotencyKeyReused (also when the password is not the first request's), and what
        `Registration.check` raises.
        """
        spellings, email = email_spellings(email), checked_email(email)
        check_length("password", password, *PASSWORD_CHARS)
        user = User(self._ids.user(), email, require_name("display_name", display_name))
        now = self._clock.now()
        promise = Idempotency.of(
            uuid5(NAMESPACE_URL, f"mailto:{user.email}"), "register", idempotency_key, _Registration(user.email, user.display_name)
        )
        repeats = await self._database.read(lambda connection: is_known(connection, promise))
        await self.registration.check(invitation, repeats=repeats)
        password_hash = await self._passwords.hash(password, client)

        async def work(connection: AsyncConnection) -> Account:
            earlier = await find_or_claim(connection, promise, user.user_id, now)
            if earlier is not None:
                found = await store.find_account(connection, user_id=earlier)
                assert found is not None, "the key and the account were written together"
                return found
            await self.registration.admit(connection, user.user_id, invitation)
            return await _insert_account(connection, user, spellings, now, password_hash)

        account = await self._database.transact(work)
        if account.user.user_id != user.user_id and not await self._passwords.verify(account.password_hash, password, client):
            raise IdempotencyKeyReused
        return await self.sign_ins.begin(account.user, device_id, client)

    async def login(self, *, email: str, password: str, device_id: DeviceId | None = None, client: Client = ANONYMOUS) -> SignIn:
        """Sign in. Raises WrongCredentials, after the same time whether or not there is such an account."""
        require_storable("email", email)
        spellings = email_spellings(email)
        account = await self._database.read(lambda connection: store.find_account_by_emails(connection, spellings))
        password_hash = account.password_hash if account else None
        fits = await self._passwords.verify(password_hash, password, client)
        if account is None or password_hash is None or not fits:
            raise WrongCredentials
        if not self._passwords.needs_rehash(password_hash):
            return await self.sign_ins.begin(account.user, device_id, client)
        new_password_hash = await self._passwords.hash(password, client)
        return await self.sign_ins.begin(account.user, device_id, client, new_password_hash=new_password_hash)

    async def refresh(self, refresh_token: str, client: Client = ANONYMOUS) -> SignIn:
        """Exchange a refresh token for the next; see `SignIns.refresh`."""
        return await self.sign_ins.refresh(refresh_token, client)

    async def logout(self, refresh_token: str) -> None:
        """End the sign-in that this token belongs to; see `SignIns.logout`."""
        await self.sign_ins.logout(refresh_token)

    async def authenticate(self, token: str) -> Principal:
        """Who bears this access token. Somebody new with a valid token becomes a user at once.

        Raises Unauthenticated, AccountDisabled, TokenExpired; Unavailable when an outside issuer's keys or the database are out of
        reach.
        """
        claims = await self._verifier.verify(token)
        identity = Identity(claims.issuer, claims.subject)
        known = self._known.get(identity)
        if known is None:
            known = self._known[identity] = await self._user_of(identity, claims)
            if len(self._known) > PRINCIPALS_KEPT:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(identity)
        user_id = known.user_id
        if known.email is not None and not self._accepts_any_token:
            await self._require_sign_in(user_id, claims.sign_in)
        device_id = None if claims.device_id is None else DeviceId(claims.device_id)
        grant = Grant(user_id, claims.issued_at, claims.expires_at, claims.sign_in, device_id)
        # Last: nothing waits between this and the answer, so a revocation that came meanwhile counts.
        self._revocations.check(grant)
        return Principal(user_id, known.display_name, grant)

    async def _require_sign_in(self, user_id: UserId, sign_in: UUID | None) -> None:
        """Refuse a token for an account of ours that no sign-in of it gave: an application with the secret could make it.

        A sign-in is looked up once, then remembered; that it ends, `Revocations` knows.
        """
        if sign_in is None:
            raise Unauthenticated("This account signs in here: use a token of its own sign-in (sid).")
        if self._known_sign_ins.get(sign_in) == user_id:
            return
        if await self._database.read(lambda connection: store.family_of(connection, sign_in)) != user_id:
            raise Unauthenticated("This sign-in has ended: sign in again.")
        self._known_sign_ins[sign_in] = user_id
        if len(self._known_sign_ins) > PRINCIPALS_KEPT:
            self._known_sign_ins.popitem(last=False)

    async def mint(self, user: str | UserId) -> str:
        """An access token for an existing user, named by email or id. Raises UnknownUser, AccountDisabled."""

        async def find(connection: AsyncConnection) -> Account | None:
            if isinstance(user, str):
                return await store.find_account_by_emails(connection, email_spellings(user))
            return await store.find_account(connection, user_id=user)

        account = await self._database.read(find)
        if account is None:
            raise UnknownUser("There is no such user.")
        return await self.sign_ins.issue_token(account.user)

    async def me(self, user_id: UserId) -> User:
        """The user behind a principal."""
        user = await self._database.read(lambda connection: store.find_user(connection, user_id))
        if user is None:
            raise Unauthenticated("This account is no longer there.")
        return user

    async def search(
        self, asking: UserId, words: str, *, limit: int, after: UUID | None = None
    ) -> tuple[list[Person], UUID | None]:
        """Find people in whose name a word begins with `words`, as far as the directory shows them.

        Returns up to `limit` of them and the id to go on after, None at the end.
        """
        require_storable("q", words)
        directory = self.registration.directory
        if directory == "off":
            return [], None
        emails = None
        if directory == "application":
            emails = email_spellings(words) if "@" in words else []
        found = await self._database.read(
            lambda connection: store.search_users(connection, words, asking=asking, emails=emails, limit=limit + 1, after=after)
        )
        return found[:limit], found[limit - 1].user_id if len(found) > limit else None

    async def _user_of(self, identity: Identity, claims: Claims) -> User:
        """The user whom a verified identity stands for; made when this is the first sight of them.

        A UUID in a token of our own issuer is the user's id itself: an embedding application that shares the secret names its
        users so. Everybody else is found by issuer and subject.
        """
        own_id = _canonical_uuid(identity.subject) if identity.issuer == self._own_issuer else None

        async def find(connection: AsyncConnection) -> User | None:
            if own_id is not None:
                return await store.find_user(connection, own_id)
            return await store.find_user_by_identity(connection, identity)

        return await self._database.read(find) or await self._make_user(identity, claims, own_id, find)

    async def _make_user(
        self,
        identity: Identity,
        claims: Claims,
        own_id: UserId | None,
        find: Callable[[AsyncConnection], Awaitable[User | None]],
    ) -> User:
        user_id = own_id or self._ids.user()
        name = clean_name(claims.name or "") or f"User {short(user_id)}"
        # No email: to trust an outside claim of one would let its issuer take over, or block, an account of ours.
        user = User(user_id, None, name)

        async def work(connection: AsyncConnection) -> User:
            found = await find(connection)
            if found is not None:
                return found
            await store.insert_user(connection, user, self._clock.now(), identity=None if own_id else identity)
            return user

        # What must be unique is unique in the table: whoever comes second runs again and finds the first. Serializable, strangers
        # who are new at the same time would cost each other their transaction, and a hundred of them give up.
        return await self._database.transact(work, isolation="committed")


async def _insert_account(
    connection: AsyncConnection, user: User, spellings: Sequence[str], now: datetime, password_hash: str
) -> Account:
    if await store.find_account_by_emails(connection, spellings) is not None:
        raise EmailTaken
    await store.insert_user(connection, user, now, password_hash=password_hash)
    return Account(user, password_hash)


def checked_email(email: str) -> str:
    """A normal email. Whether it reaches anybody, only a letter could tell; this refuses what certainly does not."""
    email = normal_email(email)
    require_storable("email", email)
    local, _, domain = email.partition("@")
    if not local or not domain or "@" in domain or not email.isprintable() or " " in email or len(email) > EMAIL_CHARS:
        raise Unprocessable("email: write one address such as ada@example.com.")
    return email


def check_length(field: str, text: str, least: int, most: int) -> None:
    if not least <= len(text) <= most:
        raise Unprocessable(f"{field}: {least} to {most} characters, not {len(text)}.")


def _canonical_uuid(text: str) -> UserId | None:
    """The UUID a text spells in the usual form with hyphens, or None."""
    try:
        value = UUID(text)
    except ValueError:
        return None
    return UserId(value) if str(value) == text.lower() else None
