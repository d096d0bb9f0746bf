"""Keys for internal purposes, derived from the server's secret, one for each purpose (HKDF-SHA256, RFC 5869).

Not here: the key of access tokens. That is the secret itself, which applications and the gateway share.
"""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
LABEL = "secureconnect/1/"
"""What every purpose's `info` begins with (RFC 5869, section 3.2). Another number would give other keys for the same secret."""
START = datetime.fromtimestamp(0, UTC)


class Purpose(StrEnum):
    """What a key is for. Each has its own key, so that no value made for one purpose is valid for another."""

    RING_TOKENS = "ring-tokens"
    RECORDING_LINKS = "recording-links"
    RESUME_TOKENS = "resume-tokens"
    SFU_ROOMS = "sfu-rooms"
    SFU_API = "sfu-api"
    TURN = "turn"
    SIGN_IN_NETWORKS = "sign-in-networks"


def derive_key(secret: str, purpose: Purpose) -> bytes:
    """Derive the key for one purpose: 32 bytes that do not lead back to the secret."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=(LABEL + purpose).encode()).derive(secret.encode())


def derive_key_as_0_1(secret: str, purpose: Purpose) -> bytes:
    """Derive the key that 0.1 uses for this purpose. Raises KeyError for a purpose without one.

    Needed while nodes of 0.1 run beside ours, and for what they made.
    """
    root = secret.encode()
    return {
        Purpose.RECORDING_LINKS: lambda: root,
        Purpose.RESUME_TOKENS: lambda: hashlib.sha256(b"secureconnect resume" + root).digest(),
        Purpose.SFU_ROOMS: lambda: hmac.digest(root, b"rooms", "sha256"),
        Purpose.TURN: lambda: hmac.digest(root, b"turn", "sha256"),
    }[purpose]()


class InternalKeys:
    """The keys of one server, which all nodes compute alike without a word between them.

    `derived_from` says which calls and recordings use derived keys: those made at that time or later, by the time in their id
    (RFC 9562, section 5.7). Earlier ones keep the keys of 0.1. After an upgrade it lies in the future, so that nodes of 0.1 and
    ours open the same rooms, links and resume tokens while both run.
    """

    def __init__(self, secret: str) -> None:
        self._derived = {purpose: derive_key(secret, purpose) for purpose in Purpose}
        self._secret = secret
        self.derived_from = START

    def of(self, purpose: Purpose, identifier: UUID) -> bytes:
        """The key of a call or a recording for this purpose."""
        if self.uses_derived(identifier):
            return self._derived[purpose]
        return derive_key_as_0_1(self._secret, purpose)

    def uses_derived(self, identifier: UUID) -> bool:
        """Whether a call or recording with this id uses derived keys."""
        milliseconds = identifier.int >> 80
        return milliseconds >= (self.derived_from - START) // timedelta(milliseconds=1)

    def for_rooms(self, name: str) -> bytes:
        """The key of a room at an SFU, whose name begins with the id of its call; of any other room the derived one."""
        try:
            return self.of(Purpose.SFU_ROOMS, UUID(name.partition(".")[0]))
        except ValueError:
            return self._derived[Purpose.SFU_ROOMS]

    @property
    def turn_secret(self) -> str:
        """The secret of our own TURN server."""
        return self._derived[Purpose.TURN].hex()

    @property
    def turn_secret_of_0_1(self) -> str:
        """The secret of the TURN server that a process of 0.1 ran: clients may still hold credentials that it gave."""
        return derive_key_as_0_1(self._secret, Purpose.TURN).hex()

    @property
    def sfu_secret(self) -> str:
        """The secret of the API of our own SFU."""
        return self._derived[Purpose.SFU_API].hex()

    @property
    def sign_in_networks(self) -> bytes:
        """The key of the hashes that are kept of networks from which people signed in."""
        return self._derived[Purpose.SIGN_IN_NETWORKS]
