"""What the nodes of a call tell each other of a session's place at the SFU. Pure.

It is kept in the bus's retained state beside the session's media state: whoever takes the session over finds there what to claim,
and everybody else what it publishes. Clients never see it: it is addressed from the session to itself.
"""

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from secureconnect.media import Feed, Handles, Stream, Track

_KEY = "sfu:"
_BEGINNING = b'{"type":"sfu_place"'


class Place(Struct, frozen=True, omit_defaults=True):
    """Where a session sits, and by which node; what it publishes once it `is_heard`; what it was last offered."""

    node: str
    epoch: int
    sfu: str
    handles: Handles
    publishing: str | None = None
    tracks: tuple[Track, ...] = ()
    is_heard: bool = False
    receiving: str | None = None
    streams: tuple[Stream, ...] = ()
    feeds: tuple[Feed, ...] = ()
    silenced: tuple[str, ...] = ()


class _Entry(Struct, tag="sfu_place", tag_field="type"):
    place: Place | None


_place = msgspec.json.Decoder(Place)
_entry = msgspec.json.Decoder(_Entry)
_encode = msgspec.json.Encoder().encode


def retained(session_id: str, place: Place | None) -> tuple[str, bytes | None]:
    """What a bus is to retain."""
    return _KEY + session_id, None if place is None else _encode(place)


def entry(place: Place | None) -> bytes:
    """The log entry that tells the other nodes."""
    return _encode(_Entry(place))


def is_entry(body: bytes) -> bool:
    return body.startswith(_BEGINNING)


def place_in(body: bytes) -> Place | None:
    """The place in a log entry, None when it was given up."""
    return _entry.decode(body).place


def places_in(kept: Mapping[str, bytes]) -> dict[str, Place]:
    """The places in a bus's retained state, by session."""
    return {key.removeprefix(_KEY): _place.decode(value) for key, value in kept.items() if key.startswith(_KEY)}


def without_places(kept: Mapping[str, bytes]) -> dict[str, bytes]:
    """The retained state without them: what clients are shown."""
    return {key: value for key, value in kept.items() if not key.startswith(_KEY)}


def feeds_for(session_id: str, places: Iterable[tuple[str, Place]], *, epoch: int, sfu: str) -> frozenset[Feed]:
    """What there is to receive for one session in this epoch: every track of all others that are heard."""
    return frozenset(
        Feed(other, track.mid, place.publishing or "")
        for other, place in places
        if other != session_id and place.is_heard and (place.epoch, place.sfu) == (epoch, sfu)
        for track in place.tracks
    )
