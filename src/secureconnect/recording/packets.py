"""When something came in a track, out of the packet times that ffprobe lists. Pure, and bounded however long the track is.

Used by `recording.compose`. A camera that is switched off sends nothing, and its track goes on: what is between is no picture.
"""

from contextlib import suppress
from math import isfinite

MAX_LINE_BYTES = 64


class PacketTimes:
    """Takes the output of `commands.list_packets` as it comes; `pause`: nothing for so many seconds ends a stretch."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._rest = b""
        self._begin: float | None = None
        self._last = 0.0
        self._stretches: list[tuple[float, float]] = []

    def feed(self, chunk: bytes) -> None:
        """The next part of the output, cut anywhere. What is no time is passed over."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._rest = self._rest[:MAX_LINE_BYTES]
        for line in lines:
            with suppress(ValueError):
                self._add(float(line))

    def stretches(self) -> list[tuple[float, float]]:
        """From when to when something came, seconds of the track. A single packet is none: it has no length."""
        if self._begin is not None and self._last > self._begin:
            return [*self._stretches, (self._begin, self._last)]
        return list(self._stretches)

    def _add(self, time: float) -> None:
        if not isfinite(time):
            return
        if self._begin is None:
            self._begin = self._last = time
        elif time - self._last > self._pause:
            if self._last > self._begin:
                self._stretches.append((self._begin, self._last))
            self._begin = self._last = time
        else:
            self._last = max(self._last, time)
