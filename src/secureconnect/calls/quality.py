"""What a session says of its own connection, as numbers that can be kept, and what a listener would think of them. Pure.

A report is a client's word: `report_of` takes the part that makes sense. Called by `calls.quality_log`; the shape that clients send
is in docs/protocol.md.
"""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from secureconnect.ids import SessionId, UserId

Level = Annotated[int, Meta(ge=0, le=4)]
Milliseconds = Annotated[float, Meta(ge=0, le=60_000)]
Share = Annotated[float, Meta(ge=0, le=1)]
Kilobits = Annotated[float, Meta(ge=0, le=1_000_000)]

DECODER_MS = 60.0
"""Between a packet and the ear: 20 ms of sound in it, coding, and a jitter buffer at rest."""
LOSS_ROBUSTNESS = 25.1
"""Bpl of ITU-T G.113 (appendix I) for G.711 with concealment: Opus, which conceals at least as well, is not in its tables."""


class Report(Struct, frozen=True):
    """What a `quality` message may tell; whatever else it holds is passed on and not kept."""

    level: Level | None = None
    rtt_ms: Milliseconds | None = None
    jitter_ms: Milliseconds | None = None
    loss: Share | None = None
    in_kbps: Kilobits | None = None
    out_kbps: Kilobits | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it tells nothing of what is kept."""
        return self == _NOTHING


_NOTHING = Report()
_report = msgspec.json.Decoder(Report)


class Reading(Struct, frozen=True):
    """One session's connection at one moment. `mos` is estimated, None when round trip and loss are unknown."""

    reading_id: UUID
    at: datetime
    session_id: SessionId
    user_id: UserId
    report: Report
    mos: float | None


class SessionQuality(Struct, frozen=True):
    """All readings of one session in a few figures: means, and the worst of them. None for what it never said."""

    session_id: SessionId
    user_id: UserId
    first_at: datetime
    last_at: datetime
    readings: int
    mos: float | None
    worst_mos: float | None
    rtt_ms: float | None
    worst_rtt_ms: float | None
    loss: float | None
    worst_loss: float | None


def report_of(raw: bytes) -> Report | None:
    """The report in a JSON object, None when it says nothing that can be kept."""
    try:
        report = _report.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    return None if report.is_empty else report


def mos_of(report: Report) -> float | None:
    """The mean opinion score that listeners would give, 1 (bad) to 4.5, by the E-model (ITU-T G.107, with annex B).

    Everything but delay and loss is at the model's defaults: it says what the network does to a voice, not how good the microphone
    is. None when the report has neither.
    """
    if report.rtt_ms is None and report.loss is None:
        return None
    delay = (report.rtt_ms or 0.0) / 2 + 2 * (report.jitter_ms or 0.0) + DECODER_MS
    percent_lost = 100 * (report.loss or 0.0)
    delay_impairment = 0.024 * delay + 0.11 * max(0.0, delay - 177.3)
    loss_impairment = 95 * percent_lost / (percent_lost + LOSS_ROBUSTNESS)
    rating = min(100.0, max(0.0, 93.2 - delay_impairment - loss_impairment))
    score = 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6
    return round(max(1.0, score), 2)
