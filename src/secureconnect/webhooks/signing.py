"""Signatures of webhooks: Standard Webhooks, symmetric (standardwebhooks.com, specification 1.0). Pure.

`HMAC-SHA256(secret, "{webhook-id}.{webhook-timestamp}.{body}")` as base64 behind `v1,`; one for each secret, separated by spaces,
so that a secret can be changed while requests are under way.
"""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence

PREFIX = "whsec_"
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64


def read_secrets(text: str) -> list[bytes]:
    """The keys in a setting: one or several `whsec_…`, separated by spaces. Raises ValueError with what is wrong."""
    secrets = [_read(word) for word in text.split()]
    if not secrets:
        raise ValueError("is empty")
    return secrets


def headers_of(event_id: str, unix_seconds: int, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """The three headers of a request. `event_id` is the same for each attempt, `unix_seconds` is the attempt's own time."""
    signed = f"{event_id}.{unix_seconds}.".encode() + body
    signatures = [f"v1,{b64encode(hmac.digest(secret, signed, 'sha256')).decode()}" for secret in secrets]
    return {"webhook-id": event_id, "webhook-timestamp": str(unix_seconds), "webhook-signature": " ".join(signatures)}


def _read(word: str) -> bytes:
    if not word.startswith(PREFIX):
        raise ValueError(f"must begin with {PREFIX}")
    try:
        secret = b64decode(word.removeprefix(PREFIX), validate=True)
    except ValueError:
        raise ValueError(f"must be base64 behind {PREFIX}") from None
    if not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        raise ValueError(f"must hold {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes, not {len(secret)}")
    return secret
