"""What a device may say on the events socket: that a ring is shown. Pure; `signaling.inbox` decodes with it.

Apart from the messages of a call in `signaling.protocol`, since these go to nobody else.
"""

import msgspec

from secureconnect.ids import CallId


class Shown(msgspec.Struct, frozen=True, tag="shown"):
    """This device shows or sounds the ring of this call to its person. Say it once; again changes nothing."""

    call_id: CallId


decode = msgspec.json.Decoder(Shown).decode


class Incoming(msgspec.Struct, frozen=True, tag="call.incoming"):
    """As much of a ring as must be known of one that goes out."""

    call_id: CallId


_incoming = msgspec.json.Decoder(Incoming)
_BEGINNING = msgspec.json.encode({"type": "call.incoming"})[:-1]


def ring_in(body: bytes) -> CallId | None:
    """The call that rings in this event, None in any other."""
    return _incoming.decode(body).call_id if body.startswith(_BEGINNING) else None
