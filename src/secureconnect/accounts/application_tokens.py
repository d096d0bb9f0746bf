"""Tokens by which an application that shares our secret asks for what concerns it and no person: the events of all calls.

Minted by the application itself, or by the command `webhooks token`; taken by the routes that say so. Knows no users.
"""

from datetime import timedelta

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from secureconnect.accounts.credentials import OWN_ALGORITHM
from secureconnect.accounts.verification import LEEWAY_SECONDS
from secureconnect.clock import Clock
from secureconnect.errors import Unauthenticated


class ApplicationTokens:
    """Signed like our access tokens (RFC 7519), so that a gateway lets them through, for an audience of their own."""

    def __init__(self, *, secret: str, issuer: str, audience: str, clock: Clock) -> None:
        self._key = OctKey.import_key(secret)
        self._issuer = issuer
        self._audience = f"{audience}/webhooks"
        self._clock = clock

    def issue(self, subject: str, lifetime: timedelta) -> str:
        """For the application of this name."""
        expires_at = self._clock.now() + lifetime
        claims = {"iss": self._issuer, "aud": self._audience, "sub": subject, "exp": int(expires_at.timestamp())}
        return jwt.encode({"alg": OWN_ALGORITHM}, claims, self._key, algorithms=[OWN_ALGORITHM])

    def require(self, token: str) -> None:
        """Raises Unauthenticated for whatever is not such a token, a person's access token included."""
        registry = jwt.JWTClaimsRegistry(
            now=lambda: int(self._clock.now().timestamp()),
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._audience},
            sub={"essential": True},
            exp={"essential": True},
        )
        try:
            registry.validate(jwt.decode(token, self._key, algorithms=[OWN_ALGORITHM]).claims)
        except (JoseError, ValueError, TypeError, AttributeError):
            raise Unauthenticated(f"For the application: send a token with the audience {self._audience}.") from None
