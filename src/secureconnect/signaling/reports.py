"""What a device may say on the events socket (a ring is shown, a newer token), and what the caller hears of a ring. Pure.

`signaling.inbox` decodes with it, `calls.announce` tells the caller. Apart from the messages of a call in
`signaling.protocol`, since these go to nobody else.
"""

from datetime import datetime
from typing import Annotated

import msgspec

from secureconnect.ids import CallId, DeviceId, UserId
from secureconnect.signaling.protocol import MAX_TOKEN_CHARS


class Shown(msgspec.Struct, frozen=True, tag="shown"):
    """This device shows or sounds the ring of this call to its person. Say it once; again changes nothing."""

    call_id: CallId


class DeviceAuth(msgspec.Struct, frozen=True, tag="auth"):
    """A newer access token of the same user: the socket stays open for as long as this one counts."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TOKEN_CHARS)]
    ref: Annotated[str, msgspec.Meta(max_length=64)] | None = None


class CallRinging(msgspec.Struct, frozen=True, tag="call.ringing"):
    """A device of somebody whom you ring says that it shows the ring."""

    call_id: CallId
    timestamp: datetime
    user_id: UserId


decode = msgspec.json.Decoder(Shown | DeviceAuth).decode


class RungCall(msgspec.Struct, frozen=True):
    """Which version of the call the ring showed: the first is its beginning."""

    version: int
    created_at: datetime


class Incoming(msgspec.Struct, frozen=True, tag="call.incoming"):
    """As much of a ring as must be known of one that goes out."""

    call_id: CallId
    timestamp: datetime
    call: RungCall


class Revoked(msgspec.Struct, frozen=True, tag="device.revoked"):
    """As much of a revocation as must be known to obey it."""

    device_id: DeviceId


_revoked = msgspec.json.Decoder(Revoked)
_incoming = msgspec.json.Decoder(Incoming)
_RING = msgspec.json.encode({"type": "call.incoming"})[:-1]
_REVOCATION = msgspec.json.encode({"type": "device.revoked"})[:-1]


def ring_in(body: bytes) -> CallId | None:
    """The call that rings in this event, None in any other."""
    return _incoming.decode(body).call_id if body.startswith(_RING) else None


def revoked_in(body: bytes) -> DeviceId | None:
    """The device that this event signs out, None in any other."""
    return _revoked.decode(body).device_id if body.startswith(_REVOCATION) else None


def rung_at(body: bytes) -> datetime | None:
    """When the ring in this event was asked for, None in any other event.

    Of a new call that is its beginning, before it was written down; of an invitation, when it was announced.
    """
    if not body.startswith(_RING):
        return None
    ring = _incoming.decode(body)
    return ring.call.created_at if ring.call.version == 1 else ring.timestamp
