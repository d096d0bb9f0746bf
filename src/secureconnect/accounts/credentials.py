"""What proves who somebody is: password hashes, refresh tokens, and the access tokens we sign. Called by accounts.service.

Knows no users and no database. Tokens and passwords are never logged and never part of an error's sentence.
"""

import functools
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TypeVar
from uuid import UUID

import argon2
from joserfc import jwt
from joserfc.jwk import OctKey

from secureconnect.accounts.client import ANONYMOUS, Client
from secureconnect.accounts.fair_queue import FairQueue

T = TypeVar("T")
HASHES_AT_ONCE = 2
"""Each takes a core for some 20 ms and 19 MiB. More at once than cores only makes every sign-in slower."""
HASHES_WAITING = 200
"""About two seconds of work on two cores; who comes after that is told to come back rather than kept waiting."""
REFRESH_TOKEN_BYTES = 32
"""256 bits cannot be guessed, so one fast hash is enough to keep the stored form useless to a thief."""
OWN_ALGORITHM = "HS256"
DEVICE_CLAIM = "device_id"
"""Names the device that signed in, in the access tokens that we sign."""


def argon2id() -> argon2.PasswordHasher:
    """argon2id (RFC 9106) with 19 MiB, 2 passes, 1 lane: the parameters that OWASP's Password Storage Cheat Sheet names first."""
    return argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


class PasswordHasher:
    """Hashes and checks passwords in a bounded number of threads, so that the event loop never stands still for one.

    Networks take turns; a burst is refused with Unavailable once `waiting` callers queue.
    """

    def __init__(
        self, algorithm: argon2.PasswordHasher | None = None, *, at_once: int = HASHES_AT_ONCE, waiting: int = HASHES_WAITING
    ) -> None:
        self._algorithm = algorithm or argon2id()
        self._queue = FairQueue(at_once, waiting)
        # Somebody unknown costs the same time as a wrong password: the answer's delay does not tell which emails exist.
        self._nobody = self._algorithm.hash(secrets.token_urlsafe())

    @property
    def waiting(self) -> int:
        """How many callers queue."""
        return self._queue.waiting

    async def hash(self, password: str, client: Client = ANONYMOUS) -> str:
        """The encoded hash with its salt and parameters: what the database keeps."""
        return await self._in_thread(functools.partial(self._algorithm.hash, password), client)

    async def verify(self, encoded: str | None, password: str, client: Client = ANONYMOUS) -> bool:
        """Whether the password fits. Without a hash (no such account, or none with a password) it takes as long, and does not."""
        fits = await self._in_thread(functools.partial(self._check, encoded or self._nobody, password), client)
        return fits and encoded is not None

    def needs_rehash(self, encoded: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._algorithm.check_needs_rehash(encoded)

    def _check(self, encoded: str, password: str) -> bool:
        try:
            return self._algorithm.verify(encoded, password)
        except argon2.exceptions.VerifyMismatchError:
            return False

    async def _in_thread(self, work: Callable[[], T], client: Client) -> T:
        return await self._queue.run(work, client=client.network, is_known=client.is_known)


def new_refresh_token() -> str:
    """An opaque, unguessable string: base64url of 256 random bits."""
    return secrets.token_urlsafe(REFRESH_TOKEN_BYTES)


def refresh_token_hash(token: str) -> str:
    """What the database keeps of a refresh token: SHA-256 in hexadecimal."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class TokenIssuer:
    """Signs our own access tokens: JWT (RFC 7519), HS256 with the secret that all nodes share."""

    def __init__(self, *, secret: str, issuer: str, audience: str, lifetime: timedelta) -> None:
        self.issuer = issuer
        self.lifetime = lifetime
        self._key = OctKey.import_key(secret)
        self._audience = audience

    def issue(
        self,
        subject: UUID,
        name: str,
        *,
        token_id: UUID,
        now: datetime,
        sign_in: UUID | None = None,
        device_id: UUID | None = None,
    ) -> str:
        """Sign a token that is valid from `now` for the issuer's lifetime.

        Args:
            subject: the user, as `sub`.
            name: the display name.
            token_id: the token's own id, as `jti`.
            now: when it is issued, as `iat`.
            sign_in: the sign-in it belongs to, as `sid` (OpenID Connect Front-Channel Logout 1.0, section 3).
            device_id: the device that signed in, if it said which it is.
        """
        issued_at = int(now.timestamp())
        claims = {
            "iss": self.issuer,
            "aud": self._audience,
            "sub": str(subject),
            "name": name,
            "iat": issued_at,
            "exp": issued_at + int(self.lifetime.total_seconds()),
            "jti": str(token_id),
        }
        if sign_in is not None:
            claims["sid"] = str(sign_in)
        if device_id is not None:
            claims[DEVICE_CLAIM] = str(device_id)
        return jwt.encode({"alg": OWN_ALGORITHM}, claims, self._key, algorithms=[OWN_ALGORITHM])
