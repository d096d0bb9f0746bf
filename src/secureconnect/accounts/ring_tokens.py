"""What a ring carries with it, so that a device can decline that one call without being signed in, and nothing else.

Given out by push.queue, taken by the routes of api.calls that say so. Knows no users and no database.
"""

from datetime import datetime, timedelta
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from secureconnect.accounts.credentials import OWN_ALGORITHM
from secureconnect.accounts.verification import LEEWAY_SECONDS
from secureconnect.clock import Clock
from secureconnect.ids import CallId, UserId

GOOD_AFTER_THE_RING = timedelta(minutes=2)
"""A device may say late that it has shown a ring; what it says of a call that is over changes nothing."""


class RingTokens:
    """Signed like our access tokens (RFC 7519), so that a gateway lets them through, for an audience that is one call.

    No node remembers them. Whoever holds one can silence one ring of one person, until shortly after its end.
    """

    def __init__(self, *, secret: str, issuer: str, audience: str, clock: Clock) -> None:
        self._key = OctKey.import_key(secret)
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    def issue(self, user_id: UserId, call_id: CallId, ring_ends_at: datetime) -> str:
        """For the one who is rung, until shortly after the ring."""
        claims = {
            "iss": self._issuer,
            "aud": self._audience_of(call_id),
            "sub": str(user_id),
            "exp": int((ring_ends_at + GOOD_AFTER_THE_RING).timestamp()),
        }
        return jwt.encode({"alg": OWN_ALGORITHM}, claims, self._key, algorithms=[OWN_ALGORITHM])

    def bearer(self, token: str, call_id: CallId) -> UserId | None:
        """Whom this token lets answer for the ring of this call; None when it is anything else, or too old."""
        registry = jwt.JWTClaimsRegistry(
            now=lambda: int(self._clock.now().timestamp()),
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._audience_of(call_id)},
            sub={"essential": True},
            exp={"essential": True},
        )
        try:
            claims = jwt.decode(token, self._key, algorithms=[OWN_ALGORITHM]).claims
            registry.validate(claims)
            return UserId(UUID(claims["sub"]))
        except (JoseError, ValueError, TypeError, AttributeError):
            return None

    def _audience_of(self, call_id: CallId) -> str:
        return f"{self._audience}/calls/{call_id}/ring"
