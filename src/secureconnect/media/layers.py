"""Which simulcast layer each picture is sent in: as large as its tile needs, as much as the receiver's line carries. Pure.

Called by `calls.sfu_layers` when tiles or reports change. Three layers, each with a quarter of the pixels of the next (RFC 8853).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

TOP = 2
HEIGHTS = (180, 360)
"""Tiles up to this high are filled by layer 0, by layer 1; higher ones by the top layer. Device pixels."""
KBPS = (150.0, 500.0, 1700.0)
"""What a layer takes, about: Chromium's own targets for 320x180, 640x360 and 1280x720."""
AUDIO_KBPS = 40.0
SPARE = 1.25
"""A larger layer is taken only when the line carries it with this much to spare: what just fits would go to and fro."""
CALM_SECONDS, LONGEST_CALM_SECONDS = 8.0, 32.0
"""And only so long after the line was last found too small; twice as long when more was tried in vain, up to the second."""
SETTLE_SECONDS = 3.0
"""What is found lost so soon after that was on its way before less was sent."""
LOSS = 0.08
"""More packets lost than this share: the line is full, whatever it was thought to carry (draft-ietf-rmcat-gcc-02 halves at 0.1)."""
GROWTH = 1.35
"""By how much an estimate grows with each report in which nothing was lost, until everything is sent that is wanted."""


class Reason(StrEnum):
    """Why a picture is smaller than it could be."""

    SIZE = "size"
    BANDWIDTH = "bandwidth"


@dataclass(frozen=True)
class Picture:
    """A picture that could be received, by what names it; `height` of its tile in device pixels, 0 when it is not shown."""

    key: tuple[str, str]
    height: int
    is_screen: bool = False

    @property
    def wanted(self) -> int | None:
        """The layer that its tile needs; None for nothing. A screen comes in one layer, and must be read."""
        if self.height <= 0:
            return None
        return TOP if self.is_screen else sum(self.height > limit for limit in HEIGHTS)


@dataclass(frozen=True)
class Choice:
    """What to send of one picture: a layer or None, and why no more than that; None when it is all there is."""

    substream: int | None
    reason: Reason | None


@dataclass(frozen=True)
class Line:
    """What is known of a receiver's line: kilobits a second that it carries, None while no limit has been met.

    `limited_at` is when it was last found too small, in seconds of any steady clock; `calm` how long after that it is left alone.
    `is_tried`: more is sent since than it was found to carry.
    """

    kbps: float | None = None
    limited_at: float = field(default=float("-inf"))
    calm: float = CALM_SECONDS
    is_tried: bool = False


def heard(line: Line, *, available: float | None, loss: float | None, sent: float, now: float) -> Line:
    """The line after a report: kilobits a second that the client believes are `available`, and the share lost of what is `sent`.

    `sent` is what the layers that are sent now take by KBPS, as `chosen` counts: a camera that moves little takes less, and what
    is received of it says nothing of what the line would carry.
    """
    if available is not None and available > 0:
        is_less = line.kbps is None or available < line.kbps
        return Line(available, now if is_less and line.kbps is not None else line.limited_at)
    if loss is None:
        return line
    since = now - line.limited_at
    if loss > LOSS:
        if since < SETTLE_SECONDS:
            return line
        carried = sent if line.kbps is None else min(sent, line.kbps)
        calm = min(2 * line.calm, LONGEST_CALM_SECONDS) if line.is_tried else line.calm
        return Line(max(AUDIO_KBPS, carried * (1 - loss)), now, calm)
    if line.kbps is None or since < line.calm:
        return line
    grown = line.kbps * GROWTH
    return Line() if grown > 10 * KBPS[TOP] else Line(grown, line.limited_at, line.calm, is_tried=True)


def chosen(
    pictures: Sequence[Picture], line: Line, before: Mapping[tuple[str, str], int | None], now: float
) -> dict[tuple[str, str], Choice]:
    """What to send of each. The largest tiles are served first; small ones go without before large ones are spoiled.

    `before` is what is sent now: a layer is not raised until the line has been calm for a while and has room to spare.
    """
    left = float("inf") if line.kbps is None else line.kbps - AUDIO_KBPS
    is_calm = now - line.limited_at >= line.calm
    found: dict[tuple[str, str], Choice] = {}
    ordered = sorted(pictures, key=lambda one: (not one.is_screen, -one.height, one.key))
    # Everybody a little before anybody more: the smallest layer is kept for those behind, as far as it goes round.
    waiting = sum(one.wanted is not None for one in ordered)
    for one in ordered:
        wanted = one.wanted
        if wanted is None:
            found[one.key] = Choice(None, Reason.SIZE)
            continue
        waiting -= 1
        kept = min(waiting, max(0, int(left // KBPS[0]) - 1)) if left != float("inf") else 0
        share = left - kept * KBPS[0]
        now_sent = before.get(one.key)
        layer = wanted
        while layer >= 0 and not _fits(
            layer, share, now_sent if one.key in before else wanted, is_calm=is_calm, limited=line.kbps is not None
        ):
            layer -= 1
        if layer >= 0:
            left -= KBPS[layer]
        reason = Reason.BANDWIDTH if layer < wanted else Reason.SIZE if wanted < TOP else None
        found[one.key] = Choice(layer if layer >= 0 else None, reason)
    return found


def _fits(layer: int, share: float, now_sent: int | None, *, is_calm: bool, limited: bool) -> bool:
    """Whether the layer may be sent: what is sent already must fit, what would be more must fit with room to spare, in calm."""
    if not limited:
        return True
    if now_sent is not None and layer <= now_sent:
        return KBPS[layer] <= share
    return is_calm and KBPS[layer] * SPARE <= share
