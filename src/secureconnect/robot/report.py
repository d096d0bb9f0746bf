"""What a call looks like in numbers: one Line for each direction of media, and the table of them.

Used by `headless` and `live`. It reads peers and never changes a call.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table

from secureconnect.clock import Clock
from secureconnect.ids import SessionId
from secureconnect.robot.call import CallSession
from secureconnect.robot.forwarded import Forwarded
from secureconnect.robot.peer import Peer
from secureconnect.terminal import foreign


@dataclass(frozen=True)
class Line:
    """What one session receives from another. Levels in dB below full scale, rates per second, `round_trip` in seconds."""

    listener: str
    speaker: str
    remote: SessionId
    state: str
    seq: int | None
    size: tuple[int, int]
    frames: int
    frame_rate: float
    level: float
    audible_seconds: float
    received_bits: float
    sent_bits: float
    packets_received: int
    packets_lost: int
    round_trip: float | None


@dataclass(frozen=True)
class _Count:
    at: float
    frames: int = 0
    received: int = 0
    sent: int = 0


class Reporter:
    """Turns counters into rates: over the time since it last looked, or since it first saw the peer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[tuple[str, SessionId], _Count] = {}

    async def lines(self, listener: str, session: CallSession, name: Callable[[SessionId], str]) -> list[Line]:
        """A line for each peer of `session`; `name` says who is behind a session."""
        return [await self._line(listener, session.seq, peer, name(peer.remote)) for peer in session.others]

    async def _line(self, listener: str, seq: int | None, peer: Peer | Forwarded, speaker: str) -> Line:
        statistics = await peer.statistics()
        now = _Count(self._clock.monotonic(), peer.video.frames, statistics.bytes_received, statistics.bytes_sent)
        last = self._last.get((listener, peer.remote), _Count(now.at))
        self._last[listener, peer.remote] = now
        seconds = now.at - last.at
        # A connection that began anew counts bytes from nothing again.
        rate = (lambda more: max(0, more) / seconds) if seconds > 0 else (lambda _: 0.0)
        return Line(
            listener=listener,
            speaker=speaker,
            remote=peer.remote,
            state=statistics.state,
            seq=seq,
            size=(peer.video.width, peer.video.height),
            frames=now.frames,
            frame_rate=rate(now.frames - last.frames),
            level=peer.audio.level,
            audible_seconds=peer.audio.audible_seconds,
            received_bits=8 * rate(now.received - last.received),
            sent_bits=8 * rate(now.sent - last.sent),
            packets_received=statistics.packets_received,
            packets_lost=statistics.packets_lost,
            round_trip=statistics.round_trip,
        )


def table(title: str, lines: Sequence[Line]) -> Table:
    """The lines as people read them: a column for each, so that three others in a call fit into 80 characters."""
    made = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    made.add_column("")
    for line in lines:
        made.add_column(foreign(f"{line.listener} from {line.speaker}"), justify="right")
    made.add_row("connection", *(f"[green]{line.state}[/]" if line.state == "connected" else line.state for line in lines))
    made.add_row("last event", *("-" if line.seq is None else str(line.seq) for line in lines))
    made.add_row("picture", *(f"{line.size[0]}x{line.size[1]}" if line.frames else "-" for line in lines))
    made.add_row("frames decoded", *(f"{line.frames} ({line.frame_rate:.0f}/s)" for line in lines))
    made.add_row("sound now", *(f"{line.level:.0f} dB" for line in lines))
    made.add_row("sound heard", *(f"{line.audible_seconds:.1f} s" for line in lines))
    made.add_row("receiving", *(f"{line.received_bits / 1000:.0f} kbit/s" for line in lines))
    made.add_row("sending", *(f"{line.sent_bits / 1000:.0f} kbit/s" for line in lines))
    made.add_row("packets lost", *(f"{line.packets_lost} of {line.packets_received + line.packets_lost}" for line in lines))
    made.add_row("round trip", *("-" if line.round_trip is None else f"{line.round_trip * 1000:.1f} ms" for line in lines))
    return made
