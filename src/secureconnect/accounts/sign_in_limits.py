"""How often a sign-in may fail, so that a stranger's failures do not lock out the owner. Called by api.accounts.

Failures count by network, by account and network, and by account. A device that has signed in to the account before (its refresh
token, or its device id) has a count of its own; a network that it has signed in from before does not count by account alone. By
account alone an unknown client is slowed down first, and refused only far beyond.
"""

import hmac
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import TypeVar
from uuid import UUID

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.accounts.client import Client
from secureconnect.accounts.credentials import refresh_token_hash
from secureconnect.accounts.emails import email_spellings, normal_email
from secureconnect.clock import Clock
from secureconnect.errors import RateLimited, WrongCredentials
from secureconnect.ids import DeviceId, UserId
from secureconnect.ops.networks import network_of
from secureconnect.ops.ratelimit import RateLimiter, Use, uses_by_network
from secureconnect.store import Database
from secureconnect.store import accounts as store
from secureconnect.store.sign_ins import Familiarity, familiarity_of

T = TypeVar("T")
FREE_SHARE = 0.2
"""The share of the limit by account that an unknown client may use before it is slowed down."""
SLOWEST_SECONDS = 3.0
MAX_SLOWED = 200
"""Attempts that are slowed down at the same time."""
MAX_TOKENS = 8
"""Refresh tokens of a request that are looked up."""
MARK_CHARS = 32
NO_USER = UserId(UUID(int=0))


class Attempt(Struct, frozen=True):
    """What a request to sign in says of its client."""

    email: str
    address: str
    device_id: DeviceId | None = None
    refresh_tokens: Sequence[str] = ()


class SignInLimits:
    """Counts failed sign-ins. `key` is a secret of the server; what the database keeps of a network is a hash made with it."""

    def __init__(self, *, database: Database, limiter: RateLimiter, clock: Clock, key: bytes) -> None:
        self._database = database
        self._limiter = limiter
        self._clock = clock
        self._key = key
        self._slowed = 0

    async def sign_in(self, attempt: Attempt, work: Callable[[Client], Awaitable[T]]) -> T:
        """Do `work`, which raises WrongCredentials when the sign-in fails: only that counts. Raises RateLimited."""
        client, uses = await self._admit(attempt)
        try:
            signed_in = await work(client)
        except WrongCredentials:
            raise
        except BaseException:
            await self._limiter.take_back(uses)
            raise
        await self._limiter.take_back(uses)
        return signed_in

    async def register(self, address: str) -> Client:
        """Count a new account by network. Raises RateLimited."""
        await self._limiter.hit_all(uses_by_network("register", address))
        return self.client_at(address)

    def client_at(self, address: str, *, is_known: bool = False) -> Client:
        """Return the client at an address."""
        network = network_of(address)
        mark = hmac.new(self._key, b"sign-in network:" + network.encode(), sha256).hexdigest()[:MARK_CHARS]
        return Client(network, mark, is_known)

    async def _admit(self, attempt: Attempt) -> tuple[Client, list[Use]]:
        account = _bucket_of(attempt.email)
        networks = uses_by_network("login_network", attempt.address)
        uses = [*networks, *(Use("login_account", f"{account}:{use.key}", use.scale) for use in networks)]
        if self._may_prove(attempt):
            _, device = await self._look_up(attempt)
            if device is not None and await self._passes([Use("login_device", device)]):
                return self.client_at(attempt.address, is_known=True), [Use("login_device", device)]
        # Before the database is asked: a network that is refused takes no connection from others.
        await self._limiter.hit_all(uses)
        known, _ = await self._look_up(attempt)
        if known.network:
            return self.client_at(attempt.address, is_known=True), uses
        email = [Use("login_email", account)]
        try:
            await self._limiter.hit_all(email)
        except RateLimited:
            await self._limiter.take_back(uses)
            raise
        await self._slow_down(account)
        return self.client_at(attempt.address), [*uses, *email]

    def _may_prove(self, attempt: Attempt) -> bool:
        """Whether the device that the request names is looked up before its network is counted."""
        if attempt.device_id is None and not attempt.refresh_tokens:
            return False
        try:
            self._limiter.hit_here(uses_by_network("login_proof", attempt.address))
        except RateLimited:
            return False
        return True

    async def _passes(self, uses: list[Use]) -> bool:
        try:
            await self._limiter.hit_all(uses)
        except RateLimited:
            return False  # it is counted as a stranger from now on
        return True

    async def _look_up(self, attempt: Attempt) -> tuple[Familiarity, str | None]:
        """What the account knows of the client, and the name under which its device is counted."""
        client = self.client_at(attempt.address)
        spellings = email_spellings(attempt.email)
        hashes = [refresh_token_hash(token) for token in attempt.refresh_tokens[:MAX_TOKENS]]
        now = self._clock.now()

        async def read(connection: AsyncConnection) -> tuple[UserId, Familiarity]:
            account = await store.find_account_by_emails(connection, spellings)
            # An unknown account costs the same question: the time of the answer does not tell which emails exist.
            user_id = account.user.user_id if account is not None else NO_USER
            mark = client.network_mark or ""
            return user_id, await familiarity_of(
                connection, user_id, device_id=attempt.device_id, token_hashes=hashes, network_mark=mark, now=now
            )

        user_id, known = await self._database.read(read)
        return known, f"{user_id}:{known.device}" if known.device is not None else None

    async def _slow_down(self, account: str) -> None:
        share = self._limiter.used("login_email", account)
        if share <= FREE_SHARE:
            return
        if self._slowed >= MAX_SLOWED:
            raise RateLimited("Too many failed attempts to sign in to this account.", retry_after=round(SLOWEST_SECONDS))
        self._slowed += 1
        try:
            await self._clock.sleep(SLOWEST_SECONDS * min(1.0, share))
        finally:
            self._slowed -= 1


def _bucket_of(email: str) -> str:
    """One of 65 536 counters: emails that do not exist cannot fill the table."""
    return sha256(normal_email(email).encode("utf-8", "surrogatepass")).hexdigest()[:4]
