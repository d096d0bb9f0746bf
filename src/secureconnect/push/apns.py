"""Apple Push Notification service, over HTTP/2 with provider tokens: rings by VoIP, notices as alerts.

Called by the outbox, once for each of the two kinds of token a phone has: `apns_voip` carries rings alone, because iOS ends an app
that gets such a push and shows no new call.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from ssl import SSLContext
from typing import Any

import httpx2
import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from secureconnect.clock import Clock
from secureconnect.push import Delivered, Gone, Kind, Provider, Push, Refused, Retry, Verdict
from secureconnect.push.answers import not_reached, try_later

API = "https://api.push.apple.com"
RENEWAL = timedelta(minutes=40)
"""Apple wants a new token no more often than every 20 minutes, and refuses one older than an hour."""
TIMEOUT_SECONDS = 6.0
GONE = ("Unregistered", "BadDeviceToken", "ExpiredToken")
STALE = ("ExpiredProviderToken",)
BUSY = ("TooManyRequests", "TooManyProviderTokenUpdates", "IdleTimeout", "Shutdown", "ServiceUnavailable", "InternalServerError")


class ApnsKey:
    """A signing key (.p8) of an Apple developer account, and the token made with it."""

    def __init__(self, pem: str, key_id: str, team_id: str) -> None:
        """Raises ValueError when `pem` is no key of P-256."""
        try:
            self._key = ECKey.import_key(pem)
        except (JoseError, ValueError, TypeError) as failure:
            raise ValueError(f"not a signing key from Apple (.p8): {failure}") from None
        if self._key.curve_name != "P-256" or not self._key.is_private:
            raise ValueError("not a signing key from Apple (.p8): another kind of key")
        self._header = {"alg": "ES256", "kid": key_id}
        self._team_id = team_id
        self._token = ""
        self._made_at: datetime | None = None

    @classmethod
    def read(cls, path: Path, key_id: str, team_id: str) -> "ApnsKey":
        """From the file. Raises ValueError, in words, when there is none or it is another."""
        try:
            return cls(path.read_text(), key_id, team_id)
        except OSError as failure:
            raise ValueError(f"cannot be read: {failure.strerror}") from None

    def token(self, now: datetime) -> str:
        """The provider token in force (RFC 7519: iss, iat)."""
        if self._made_at is None or not self._made_at <= now < self._made_at + RENEWAL:
            claims = {"iss": self._team_id, "iat": int(now.timestamp())}
            self._token = jwt.encode(self._header, claims, self._key, algorithms=["ES256"])
            self._made_at = now
        return self._token

    def forget(self, token: str) -> None:
        """Apple calls it stale: the next one is new."""
        if token == self._token:
            self._made_at = None


class ApnsSender:
    """Speaks to Apple for one app, `topic` its bundle id, over one connection. `api` and `tls` are others only in tests."""

    def __init__(self, key: ApnsKey, topic: str, clock: Clock, *, api: str = API, tls: SSLContext | None = None) -> None:
        self._key = key
        self._topic = topic
        self._clock = clock
        self._api = api
        limits = httpx2.Limits(max_connections=4, keepalive_expiry=3600.0)
        self._http = httpx2.AsyncClient(
            timeout=TIMEOUT_SECONDS, http1=False, http2=True, limits=limits, verify=tls or True, trust_env=False
        )

    async def send(self, push: Push) -> Verdict:
        now = self._clock.now()
        token = self._key.token(now)
        headers = headers_of(push, self._topic) | {"authorization": f"bearer {token}"}
        try:
            response = await self._http.post(
                f"{self._api}/3/device/{push.address}", content=msgspec.json.encode(body_of(push)), headers=headers
            )
        except httpx2.HTTPError as failure:
            return not_reached(failure)
        if response.is_success:
            return Delivered(response.headers.get("apns-id", ""))
        reason = _reason(response.content)
        if reason in STALE:
            self._key.forget(token)
            return Retry(reason)
        if response.status_code == 410 or reason in GONE:
            return Gone(reason)
        if reason in BUSY or response.status_code == 429 or response.is_server_error:
            return try_later(response, now, reason)
        return Refused(f"{response.status_code} {reason}".strip())

    async def close(self) -> None:
        await self._http.aclose()


def headers_of(push: Push, topic: str) -> dict[str, str]:
    """How Apple is to treat it: kind, topic, priority, end, and what it replaces."""
    by_voip = push.provider is Provider.APNS_VOIP
    push_type = "voip" if by_voip else "background" if push.kind is Kind.CANCEL else "alert"
    headers = {
        "apns-id": str(push.push_id),
        "apns-push-type": push_type,
        "apns-topic": f"{topic}.voip" if by_voip else topic,
        # A background push must be 5, or Apple refuses it; what somebody is to see at once is 10.
        "apns-priority": "5" if push_type == "background" else "10",
        "apns-expiration": str(int(push.expires_at.timestamp())),
    }
    if push_type == "alert":
        # The notice of a missed call takes the place of the ring it ends.
        headers["apns-collapse-id"] = sha256(push.call_id.bytes).hexdigest()[:32]
    return headers


def body_of(push: Push) -> dict[str, Any]:
    """The payload beside the `aps` dictionary, which tells iOS what to show by itself."""
    return {"aps": _aps(push), **push.payload}


def _aps(push: Push) -> Mapping[str, Any]:
    if push.provider is Provider.APNS_VOIP:
        return {}
    if push.kind is Kind.CANCEL:
        return {"content-available": 1}
    is_ring = push.kind is Kind.RING
    return {
        "alert": {"title": push.payload["caller_name"], "body": "Incoming call" if is_ring else "Missed call"},
        "sound": "default",
        "interruption-level": "time-sensitive" if is_ring else "active",
        "thread-id": push.payload["conversation_id"],
        "mutable-content": 1,  # the app may say it in the phone's language before it is shown
    }


def _reason(content: bytes) -> str:
    try:
        return str(msgspec.json.decode(content, type=dict[str, Any]).get("reason", ""))[:60]
    except msgspec.DecodeError:
        return ""
