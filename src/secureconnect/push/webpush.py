"""Web Push: to browsers, through the push service that each subscription names (RFC 8030), encrypted for the browser alone.

Called by the outbox. Sends to no address that `subscription.fault_of` has not passed when the device was registered.
"""

from hashlib import sha256

import http_ece  # type: ignore[import-untyped]
import httpx2
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from secureconnect.clock import Clock
from secureconnect.push import Delivered, Gone, Push, Refused, Verdict
from secureconnect.push.answers import not_reached, try_later
from secureconnect.push.subscription import Subscription, decode_base64url, encode_base64url
from secureconnect.push.vapid import VapidKey

TIMEOUT_SECONDS = 6.0
LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=8)
"""The outbox limits what is under way: a limit for all push services here would let one that hangs have it. They speak HTTP/2, one
connection each; the client looks at every idle one twice a push, so few are kept of one that does not.
"""
RECORD_SIZE = 4096
"""RFC 8291, section 4: one record, and push services take no more."""
_subscription = msgspec.json.Decoder(Subscription)


class WebPushSender:
    """Speaks to every push service there is, over connections it keeps."""

    def __init__(self, key: VapidKey, clock: Clock) -> None:
        self._key = key
        self._clock = clock
        # An endpoint is where a client said: nothing is followed, and no proxy of the environment is asked.
        self._http = httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, limits=LIMITS, http2=True, follow_redirects=False, trust_env=False)

    async def send(self, push: Push) -> Verdict:
        subscription, now = _subscription.decode(push.address), self._clock.now()
        headers = {
            "authorization": self._key.authorization(subscription.endpoint, now),
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "ttl": str(push.seconds_left(now)),
            # A missed call may wait for the screen; what starts or stops a ring may not (RFC 8030, section 5.3).
            "urgency": "normal" if push.payload.get("reason") == "timeout" else "high",
            "topic": topic_of(push),
        }
        body = encrypt(msgspec.json.encode(push.payload), subscription)
        try:
            response = await self._http.post(subscription.endpoint, content=body, headers=headers)
        except httpx2.HTTPError as failure:
            return not_reached(failure)
        if response.is_success:
            return Delivered(str(response.status_code))
        if response.status_code in (404, 410):
            return Gone(str(response.status_code))
        if response.status_code in (408, 429) or response.is_server_error:
            return try_later(response, now)
        return Refused(str(response.status_code))

    async def close(self) -> None:
        await self._http.aclose()


def topic_of(push: Push) -> str:
    """The same for all pushes of a call, so that what ends a ring replaces the ring that was not delivered yet.

    RFC 8030, section 5.4: at most 32 characters of base64url, and the push service learns nothing from them.
    """
    return encode_base64url(sha256(push.call_id.bytes).digest()[:24])


def encrypt(payload: bytes, subscription: Subscription) -> bytes:
    """`payload` for the browser alone: aes128gcm (RFC 8188) with keys of RFC 8291, a new key pair and salt each time."""
    encrypted: bytes = http_ece.encrypt(
        payload,
        private_key=ec.generate_private_key(ec.SECP256R1()),
        dh=decode_base64url(subscription.keys.p256dh),
        auth_secret=decode_base64url(subscription.keys.auth),
        rs=RECORD_SIZE,
        version="aes128gcm",
    )
    return encrypted
