"""Voluntary identification of this server to push services (RFC 8292). Called by push.webpush and, for the key, by app."""

from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from joserfc import jwt
from joserfc.jwk import ECKey

from secureconnect.push.subscription import decode_base64url, encode_base64url, origin_of

LIFE = timedelta(hours=12)
"""RFC 8292, section 2: not more than 24 hours from the request."""
RENEWAL = timedelta(hours=6)
ORIGINS_KEPT = 100
"""There are a handful; a host below one that is accepted could be made up."""


def new_private_key() -> str:
    """A key as `VapidKey` takes it: the number of a point of P-256, 32 bytes as base64url."""
    number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return encode_base64url(number.to_bytes(32, "big"))


class VapidKey:
    """The key pair that push services know this server by. `subject` is where they reach its operator: mailto: or https:."""

    def __init__(self, private_key: str, subject: str) -> None:
        """`private_key`: PEM, or 32 bytes as base64url. Raises ValueError when it is neither."""
        private = _read(private_key)
        point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.public_key = encode_base64url(point)
        self._key = ECKey.import_key(private)
        self._subject = subject
        self._headers: dict[str, tuple[datetime, str]] = {}

    def authorization(self, endpoint: str, now: datetime) -> str:
        """The Authorization header for a push to `endpoint`. One signature serves an origin for hours."""
        audience = origin_of(endpoint)
        made_at, header = self._headers.get(audience, (None, ""))
        if made_at is None or not made_at <= now < made_at + RENEWAL:
            if len(self._headers) >= ORIGINS_KEPT:
                self._headers.clear()
            claims = {"aud": audience, "exp": int((now + LIFE).timestamp()), "sub": self._subject}
            token = jwt.encode({"typ": "JWT", "alg": "ES256"}, claims, self._key, algorithms=["ES256"])
            header = f"vapid t={token}, k={self.public_key}"
            self._headers[audience] = (now, header)
        return header


def _read(text: str) -> ec.EllipticCurvePrivateKey:
    if text.startswith("-----BEGIN"):
        key = load_pem_private_key(text.encode(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("not a key of the curve P-256")
        return key
    number = decode_base64url(text.strip())
    if number is None or len(number) != 32:
        raise ValueError("neither PEM nor 32 bytes in base64url")
    return ec.derive_private_key(int.from_bytes(number, "big"), ec.SECP256R1())
