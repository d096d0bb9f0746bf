"""Checking access tokens: ours and those of configured outside identity providers. Called by accounts.service for every request.

The issuer decides which key and which algorithms count, the token only which of them it used (RFC 8725, sections 3.1 and 3.8).
Nothing of the token appears in an error's sentence.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2
from joserfc import jws
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import Key, OctKey
from joserfc.jws import CompactSignature, JWSRegistry
from joserfc.jwt import JWTClaimsRegistry
from msgspec import Struct
from msgspec.structs import replace

from secureconnect.accounts.credentials import DEVICE_CLAIM, OWN_ALGORITHM
from secureconnect.accounts.jwks import KeyRing
from secureconnect.clock import Clock
from secureconnect.errors import TokenExpired, Unauthenticated
from secureconnect.signaling.protocol import MAX_TOKEN_CHARS
from secureconnect.store.unicode import is_storable

OUTSIDE_ALGORITHMS = ("RS256", "ES256", "EdDSA", "Ed25519")
"""All asymmetric: a provider's public key can never be mistaken for a shared secret. Ed25519 is RFC 9864's name for EdDSA."""
LEEWAY_SECONDS = 10
"""How far the clocks of nodes and providers may differ. A token lives at most this much longer than it says."""
MAX_LIFETIME = timedelta(hours=24)
MAX_IDENTITY_CHARS = 255
"""What the columns for issuer and subject hold; OpenID Connect Core, section 2, allows a subject no more."""


class Claims(Struct, frozen=True):
    """What a valid token says about its bearer. Times are seconds since 1970.

    `issued_at` of a token without `iat` is the earliest that it can be, `expires_at` less the longest life of a token.
    """

    issuer: str
    subject: str
    name: str | None
    issued_at: float
    expires_at: float
    sign_in: UUID | None = None
    device_id: UUID | None = None


class _Only(JWSRegistry):
    """Exactly the algorithms given, whatever the library recommends. Unknown header fields are ignored (RFC 7515, section 4)."""

    max_header_length = 4096  # some providers send their certificates along (x5c)

    def __init__(self, algorithms: tuple[str, ...]) -> None:
        super().__init__(algorithms=algorithms, strict_check_header=False)
        self._names = algorithms

    def get_alg(self, name: str) -> JWSAlgModel:
        if name not in self._names:
            raise Unauthenticated("The access token is signed in a way (alg) that its issuer may not use here.")
        return self.algorithms[name]


class TokenVerifier:
    """Checks signature, issuer, audience and times of a token.

    `outside` maps the `iss` of each outside provider to the URL of its JWKS. A token that lives longer than `max_lifetime` (from
    `iat`, or from now when it has none) is refused. Raises ValueError when an outside provider is our own issuer: the two kinds
    must not be confused.
    """

    def __init__(
        self,
        *,
        secret: str,
        issuer: str,
        audience: str,
        outside: Mapping[str, str],
        http: httpx2.AsyncClient,
        clock: Clock,
        max_lifetime: timedelta = MAX_LIFETIME,
    ) -> None:
        if issuer in outside:
            raise ValueError(f"jwks: {issuer} is our own issuer; an outside provider needs another name")
        self._clock = clock
        self._max_seconds = max_lifetime.total_seconds()
        self._issuer = issuer
        self._own_key = OctKey.import_key(secret)
        self._rings = {name: KeyRing(url, http, clock) for name, url in outside.items()}
        self._claims = JWTClaimsRegistry(
            now=lambda: int(clock.now().timestamp()),
            leeway=LEEWAY_SECONDS,
            iss={"essential": True},
            aud={"essential": True, "value": audience},
            sub={"essential": True},
            exp={"essential": True},
        )

    async def verify(self, token: str) -> Claims:
        """The claims of a valid token.

        Raises TokenExpired, Unauthenticated with what is wrong, Unavailable when an outside issuer's keys cannot be fetched.
        """
        signed, payload = _parse(token)
        issuer = payload.get("iss")
        if not isinstance(issuer, str):
            raise Unauthenticated("The access token does not say who issued it (iss).")
        key, registry = await self._trust(issuer, signed.headers())
        try:
            genuine = jws.validate_compact(signed, key, registry=registry)
        except (JoseError, ValueError, TypeError):
            genuine = False
        if not genuine:
            raise Unauthenticated("The signature of the access token does not fit its issuer's key.")
        self._check(payload)
        claims = _claims(issuer, payload, self._times(payload))
        if issuer != self._issuer:
            # Only our own sign-ins can be ended here; what others mean by a session id is theirs.
            return claims
        return replace(claims, sign_in=_uuid(payload.get("sid")), device_id=_uuid(payload.get(DEVICE_CLAIM)))

    def _times(self, payload: dict[str, Any]) -> tuple[float, float]:
        """When the token was issued and when it expires. Raises Unauthenticated when it lives for too long."""
        expires_at = float(payload["exp"])
        issued_at = payload.get("iat")
        begun = self._clock.now().timestamp() + LEEWAY_SECONDS if issued_at is None else float(issued_at)
        if not expires_at - begun <= self._max_seconds:  # nor is NaN, which JSON as Python reads it can say
            raise Unauthenticated(
                f"The access token is valid for more than {self._max_seconds:.0f} seconds (exp); issue shorter ones."
            )
        return expires_at - self._max_seconds if issued_at is None else begun, expires_at

    async def _trust(self, issuer: str, header: dict[str, Any]) -> tuple[Key, JWSRegistry]:
        """The key and the algorithms that count for this issuer. Refuses a forbidden algorithm before any key is looked for."""
        if issuer == self._issuer:
            registry = _Only((OWN_ALGORITHM,))
            registry.get_alg(header["alg"])
            return self._own_key, registry
        ring = self._rings.get(issuer)
        if ring is None:
            raise Unauthenticated("The issuer (iss) of the access token is not known here.")
        registry = _Only(OUTSIDE_ALGORITHMS)
        registry.get_alg(header["alg"])
        return await ring.find(header.get("kid")), registry

    def _check(self, payload: dict[str, Any]) -> None:
        try:
            self._claims.validate(payload)
        except ExpiredTokenError:
            raise TokenExpired from None
        except MissingClaimError as missing:
            raise Unauthenticated(f"The access token lacks what it must say: {missing.claim}.") from None
        except InvalidClaimError as invalid:
            sentences = {
                "aud": "The access token is meant for another audience (aud).",
                "nbf": "The access token is not valid yet (nbf).",
                "iat": "The access token was issued in the future (iat): compare the clocks.",
            }
            raise Unauthenticated(
                sentences.get(invalid.claim, f"The access token says something unusable: {invalid.claim}.")
            ) from None


def _parse(token: str) -> tuple[CompactSignature, dict[str, Any]]:
    """The parts of a compact JWS, unverified. The payload is read once, here: nobody can show two readers two things."""
    if len(token) > MAX_TOKEN_CHARS:
        raise Unauthenticated(f"The access token is longer than {MAX_TOKEN_CHARS} characters.")
    try:
        signed = jws.extract_compact(token.encode("ascii"), registry=_Only(()))
        header: Any = signed.headers()
        payload = json.loads(signed.payload)
    except (JoseError, ValueError, TypeError, RecursionError):
        raise Unauthenticated("The access token is not a signed JWT (RFC 7519).") from None
    well_formed = (
        isinstance(header, dict)
        and isinstance(header.get("alg"), str)
        and isinstance(header.get("kid"), str | None)
        and "crit" not in header
        and isinstance(payload, dict)
    )
    if not well_formed:
        raise Unauthenticated("The access token is not a signed JWT (RFC 7519).")
    return signed, payload


def _uuid(text: object) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _claims(issuer: str, payload: dict[str, Any], times: tuple[float, float]) -> Claims:
    subject, name = payload["sub"], payload.get("name")
    if not is_storable(subject) or max(len(issuer), len(subject)) > MAX_IDENTITY_CHARS:
        raise Unauthenticated(f"The access token's iss and sub may have {MAX_IDENTITY_CHARS} characters each, and no NUL.")
    return Claims(issuer, subject, name if isinstance(name, str) else None, *times)
