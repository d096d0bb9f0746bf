"""The published keys of one outside identity provider (RFC 7517), kept fresh. Called by accounts.verification.

Asks only the address that the operator configured, never one that a token names (`jku`, `x5u`).
"""

import asyncio
from typing import Any

import httpx2
import msgspec
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from secureconnect.clock import Clock
from secureconnect.errors import Unauthenticated, Unavailable

FRESH_SECONDS = 600.0
"""After this the keys are fetched again: a key that its owner withdrew is refused no later."""
REFETCH_SECONDS = 30.0
"""At most one fetch in this time, or a stranger's made-up key ids would have us flood the provider."""
RETRY_SECONDS = 5.0
"""The same after a failure: soon enough to notice that the provider is back."""
TIMEOUT_SECONDS = 5.0
MAX_BYTES = 256 * 1024

log = structlog.get_logger(__name__)


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


class KeyRing:
    """Finds a provider's key by its id. Keeps the last good set while the provider does not answer."""

    def __init__(self, url: str, http: httpx2.AsyncClient, clock: Clock) -> None:
        self._url = url
        self._http = http
        self._clock = clock
        self._lock = asyncio.Lock()
        self._keys: list[Key] | None = None
        self._stale_at = float("-inf")
        self._refetch_at = float("-inf")

    async def find(self, key_id: str | None) -> Key:
        """The key named `key_id` (`kid`, RFC 7515, section 4.1.4); without a name, the only one there is.

        Raises Unauthenticated when there is no such key, Unavailable when no keys could ever be fetched.
        """
        # While one request refreshes, the others go on with the keys at hand instead of waiting behind it.
        if self._keys is None or (self._clock.monotonic() >= self._stale_at and not self._lock.locked()):
            await self._refresh()
        key = self._named(key_id)
        if key is None:
            await self._refresh()
            key = self._named(key_id)
        if self._keys is None:
            raise Unavailable("The identity provider's keys cannot be fetched now.", retry_after=int(RETRY_SECONDS))
        if key is None:
            raise Unauthenticated("The access token names a key (kid) that its issuer does not publish.")
        return key

    def _named(self, key_id: str | None) -> Key | None:
        keys = self._keys or []
        if key_id is None:
            return keys[0] if len(keys) == 1 else None
        return next((key for key in keys if key.kid == key_id), None)

    async def _refresh(self) -> None:
        async with self._lock:
            if self._clock.monotonic() < self._refetch_at:
                return
            try:
                self._keys = await self._fetch()
                self._refetch_at = self._clock.monotonic() + REFETCH_SECONDS
                self._stale_at = self._clock.monotonic() + FRESH_SECONDS
            except (httpx2.HTTPError, ValueError) as failure:
                self._refetch_at = self._clock.monotonic() + RETRY_SECONDS
                log.warning("jwks fetch failed", url=self._url, error=type(failure).__name__, detail=str(failure)[:200])

    async def _fetch(self) -> list[Key]:
        response = await self._http.get(self._url, timeout=TIMEOUT_SECONDS, follow_redirects=False)
        response.raise_for_status()
        if len(response.content) > MAX_BYTES:
            raise ValueError("the key set is larger than any real one")
        document = msgspec.json.decode(response.content, type=_KeySet)
        keys = [key for entry in document.keys if (key := _import(entry)) is not None]
        if not keys:
            raise ValueError("the key set holds no key for signatures")
        return keys


def _import(entry: dict[str, Any]) -> Key | None:
    """A public signature key, or None for what is none: a set may hold other uses and kinds yet to come (RFC 7517, section 5)."""
    # A symmetric key in a public document is no secret: whoever reads it could sign.
    if entry.get("kty") == "oct" or entry.get("use", "sig") != "sig":
        return None
    try:
        return JWKRegistry.import_key(entry)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
