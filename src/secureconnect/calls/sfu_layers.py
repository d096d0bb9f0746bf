"""What one session is sent of each picture: its tiles and its reports in, layers to ask for and what to tell its client out. Pure.

Kept by `calls.sfu_seat`; how a layer is chosen is `media.layers`.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from secureconnect.media import Layer, Stream
from secureconnect.media.layers import AUDIO_KBPS, KBPS, Choice, Line, Picture, chosen, heard
from secureconnect.signaling.protocol import Tile
from secureconnect.signaling.sfu_frames import SentStream, Source

UNSEEN = 1080
"""Pixels that every tile is taken for until the client says what it shows: it may be one that never does."""

Kilobits = Annotated[float, Meta(ge=0, le=1_000_000)]
Share = Annotated[float, Meta(ge=0, le=1)]
Key = tuple[str, str]

OUTAGE_SECONDS = 5.0
"""What is reported lost so soon after a client has asked for another path was lost with the one before."""


class _Report(Struct, frozen=True):
    """What of a `quality` report tells about the line."""

    available_in_kbps: Kilobits | None = None
    loss: Share | None = None
    loss_in: Share | None = None


_report = msgspec.json.Decoder(_Report)


class Change(Struct, frozen=True):
    """Layers to ask the SFU for, and what to tell the client: nothing when it stays as it was."""

    layers: list[Layer]
    told: list[SentStream]


class Layers:
    """Of one session. Times are in seconds of any steady clock."""

    def __init__(self) -> None:
        self._heights: dict[Key, int] | None = None
        self._line = Line()
        self._believed_from = float("-inf")
        self._choices: dict[Key, Choice] = {}
        self._asked: dict[str, tuple[Key, int | None]] = {}

    def view(self, tiles: Sequence[Tile]) -> None:
        """What the client shows from now on."""
        self._heights = {(tile.session_id, tile.source): tile.height for tile in tiles}

    def report(self, raw: bytes, now: float) -> None:
        """What the client says of its line; whatever it says wrongly says nothing."""
        try:
            said = _report.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            return
        # `loss` is of both directions: who does not tell them apart is taken at its word.
        loss = said.loss if said.loss_in is None else said.loss_in
        sent = AUDIO_KBPS + sum(KBPS[choice.substream] for choice in self._choices.values() if choice.substream is not None)
        if now >= self._believed_from:
            self._line = heard(self._line, available=said.available_in_kbps, loss=loss, sent=sent, now=now)

    def reroute(self, now: float) -> None:
        """The client goes by another path from now on: nothing is known of it."""
        self._line, self._believed_from = Line(), now + OUTAGE_SECONDS

    def begin_anew(self) -> None:
        """The connection is another one: nothing has been asked of it."""
        self._asked = {}

    def decide(self, streams: Sequence[Stream], now: float) -> Change:
        """What changes, when this is what could be received."""
        videos = [one for one in streams if one.active and one.source is not Source.MICROPHONE]
        pictures = [Picture(_key(one), self._height(_key(one)), one.source is Source.SCREEN) for one in videos]
        before = {key: choice.substream for key, choice in self._choices.items()}
        choices = chosen(pictures, self._line, before, now)
        wanted = {one.mid: (_key(one), choices[_key(one)].substream) for one in videos}
        # Everything is sent at its best until something else is asked for.
        layers = [Layer(mid, new[1]) for mid, new in wanted.items() if self._asked.get(mid, (new[0], 2)) != new]
        is_news = choices != self._choices and self._heights is not None
        self._choices, self._asked = choices, wanted
        return Change(layers, [_told(one, choices[_key(one)]) for one in videos] if is_news else [])

    def _height(self, key: Key) -> int:
        return UNSEEN if self._heights is None else self._heights.get(key, 0)


def _key(stream: Stream) -> Key:
    return stream.session_id, stream.source


def _told(stream: Stream, choice: Choice) -> SentStream:
    return SentStream(stream.session_id, stream.source, choice.substream, choice.substream is None, choice.reason)
