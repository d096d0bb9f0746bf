"""Firebase Cloud Messaging, HTTP v1: to Android apps, by data messages that the app itself turns into a ring.

Called by the outbox. Signs in as the service account whose file the operator got from Google; no library of theirs is needed.
"""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from secureconnect.clock import Clock
from secureconnect.push import Delivered, Gone, Push, Refused, Retry, Verdict
from secureconnect.push.answers import not_reached, try_later

API = "https://fcm.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_LIFE = timedelta(hours=1)
RENEW_BEFORE = timedelta(minutes=5)
TIMEOUT_SECONDS = 6.0
BUSY = ("QUOTA_EXCEEDED", "UNAVAILABLE", "INTERNAL")


class ServiceAccount(msgspec.Struct, frozen=True):
    """The part of Google's service account file that is needed here."""

    project_id: str
    private_key_id: str
    private_key: str
    client_email: str
    token_uri: str

    @classmethod
    def read(cls, path: Path) -> "ServiceAccount":
        """Raises ValueError, in words, when there is no such file or it is another one."""
        try:
            account = msgspec.json.decode(path.read_bytes(), type=cls)
            RSAKey.import_key(account.private_key)
        except (OSError, msgspec.MsgspecError, JoseError, ValueError) as failure:
            raise ValueError(f"not a service account's file: {failure}") from None
        return account


class _Token(msgspec.Struct):
    access_token: str
    expires_in: int


class _NoToken(Exception):
    """Google gave no access token; `verdict` says what that means for the push."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict


class FcmSender:
    """Speaks to one Firebase project. `api` is another address only in tests."""

    def __init__(self, account: ServiceAccount, clock: Clock, api: str = API) -> None:
        self._account = account
        self._clock = clock
        self._url = f"{api}/v1/projects/{account.project_id}/messages:send"
        self._key = RSAKey.import_key(account.private_key)
        self._http = httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, http2=True)
        self._signing_in = asyncio.Lock()
        self._token = ""
        self._token_until: datetime | None = None

    async def send(self, push: Push) -> Verdict:
        now = self._clock.now()
        try:
            token = await self._access_token()
            response = await self._http.post(self._url, json=message_of(push, now), headers={"authorization": f"Bearer {token}"})
        except _NoToken as failure:
            return failure.verdict
        except httpx2.HTTPError as failure:
            return not_reached(failure)
        if response.status_code == 401:
            self._token_until = None  # taken back before its time: sign in anew at the next attempt
        return _verdict(response, now)

    async def close(self) -> None:
        await self._http.aclose()

    async def _access_token(self) -> str:
        """The token of the service account, kept until shortly before it ends (RFC 7523, section 2.1)."""
        async with self._signing_in:
            now = self._clock.now()
            if self._token_until is not None and now < self._token_until:
                return self._token
            claims = {
                "iss": self._account.client_email,
                "scope": SCOPE,
                "aud": self._account.token_uri,
                "iat": int(now.timestamp()),
                "exp": int((now + ASSERTION_LIFE).timestamp()),
            }
            header = {"alg": "RS256", "typ": "JWT", "kid": self._account.private_key_id}
            assertion = jwt.encode(header, claims, self._key, algorithms=["RS256"])
            form = {"grant_type": GRANT, "assertion": assertion}
            response = await self._http.post(self._account.token_uri, data=form)
            if not response.is_success:
                is_busy = response.status_code == 429 or response.is_server_error
                refused = Refused(f"sign-in {response.status_code}")
                raise _NoToken(try_later(response, now, "sign-in") if is_busy else refused)
            given = msgspec.json.decode(response.content, type=_Token)
            self._token = given.access_token
            self._token_until = now + timedelta(seconds=given.expires_in) - RENEW_BEFORE
            return self._token


def message_of(push: Push, now: datetime) -> dict[str, Any]:
    """The body of `messages:send`: data alone, or Android would draw a notification itself and not wake the app.

    HIGH wakes a sleeping phone; what is not delivered by the end of the ring is dropped.
    """
    android = {"priority": "HIGH", "ttl": f"{push.seconds_left(now)}s"}
    return {"message": {"token": push.address, "data": push.payload, "android": android}}


def _verdict(response: httpx2.Response, now: datetime) -> Verdict:
    body = _object(response.content)
    if response.is_success:
        return Delivered(str(body.get("name", "")).rpartition("/")[2])
    error = body.get("error")
    reason = _reason(error) if isinstance(error, dict) else ""
    status = response.status_code
    if reason == "UNREGISTERED":
        return Gone(reason)
    if status == 401:
        return Retry("401 the access token was not accepted")
    if reason in BUSY or status == 429 or response.is_server_error:
        return try_later(response, now, reason)
    return Refused(f"{status} {reason}".strip())


def _reason(error: dict[str, Any]) -> str:
    """FCM's own code where there is one (google.firebase.fcm.v1.FcmError), else the general status."""
    details = error.get("details")
    codes = [one.get("errorCode") for one in details if isinstance(one, dict)] if isinstance(details, list) else []
    return str(next((code for code in codes if code), error.get("status", "")))[:40]


def _object(content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
