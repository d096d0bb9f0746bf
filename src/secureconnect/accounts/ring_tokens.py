"""What a ring carries with it, so that a device can decline that one call without being signed in, and nothing else.

Given out by push.queue, taken by the routes of api.calls that say so. Knows no users and no database.
"""

import hmac
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from secureconnect.accounts.credentials import OWN_ALGORITHM
from secureconnect.accounts.verification import LEEWAY_SECONDS
from secureconnect.clock import Clock
from secureconnect.ids import CallId, UserId
from secureconnect.keys import InternalKeys, Purpose

GOOD_AFTER_THE_RING = timedelta(minutes=2)
"""A device may say late that it has shown a ring; what it says of a call that is over changes nothing."""


class RingTokens:
    """Signed like our access tokens (RFC 7519), so that a gateway lets them through, for an audience that is one call.

    What a node believes is the claim `tag`, a MAC by a key that only nodes derive. Calls from before the derived keys have none.
    No node remembers them. Whoever holds one can silence one ring of one person, until shortly after its end.
    """

    def __init__(self, *, secret: str, keys: InternalKeys, issuer: str, audience: str, clock: Clock) -> None:
        self._keys = keys
        self._key = OctKey.import_key(secret)
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    def issue(self, user_id: UserId, call_id: CallId, ring_ends_at: datetime) -> str:
        """For the one who is rung, until shortly after the ring."""
        expires = int((ring_ends_at + GOOD_AFTER_THE_RING).timestamp())
        claims = {"iss": self._issuer, "aud": self._audience_of(call_id), "sub": str(user_id), "exp": expires}
        if self._keys.uses_derived(call_id):
            claims["tag"] = self._tag(call_id, str(user_id), expires)
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
            user_id = UserId(UUID(claims["sub"]))
        except (JoseError, ValueError, TypeError, AttributeError):
            return None
        return user_id if self._is_ours(call_id, claims) else None

    def _is_ours(self, call_id: CallId, claims: dict[str, Any]) -> bool:
        if not self._keys.uses_derived(call_id):
            return True
        tag, expected = claims.get("tag"), self._tag(call_id, claims["sub"], claims["exp"])
        return isinstance(tag, str) and hmac.compare_digest(tag.encode(), expected.encode())

    def _tag(self, call_id: CallId, subject: str, expires: int) -> str:
        said = f"{self._issuer}\n{call_id}\n{subject}\n{expires}"
        return hmac.digest(self._keys.of(Purpose.RING_TOKENS, call_id), said.encode(), "sha256").hex()

    def _audience_of(self, call_id: CallId) -> str:
        return f"{self._audience}/calls/{call_id}/ring"
