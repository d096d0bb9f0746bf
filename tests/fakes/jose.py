"""Reads signed tokens as their receivers do, with nothing of the library that made them: RFC 7515 by hand over `cryptography`."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256


def decode(text: str) -> bytes:
    """Unpadded base64url."""
    assert "=" not in text
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def verify(token: str, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims. Raises InvalidSignature."""
    header, payload, signature = token.split(".")
    signed, mark = f"{header}.{payload}".encode(), decode(signature)
    algorithm = json.loads(decode(header))["alg"]
    if isinstance(key, ec.EllipticCurvePublicKey):
        assert (algorithm, len(mark)) == ("ES256", 64)
        pair = encode_dss_signature(int.from_bytes(mark[:32], "big"), int.from_bytes(mark[32:], "big"))
        key.verify(pair, signed, ec.ECDSA(SHA256()))
    else:
        assert algorithm == "RS256"
        key.verify(mark, signed, padding.PKCS1v15(), SHA256())
    return json.loads(decode(header)), json.loads(decode(payload))
