"""When the next frame is due. Used by the tracks in `pictures` and `sounds`; it knows time and nothing of media."""

from secureconnect.clock import Clock

HOPELESS_SECONDS = 1.0
"""A track that is further behind than this skips what it missed instead of sending it all at once."""


class Rhythm:
    """Counts frames of `seconds` each, from the first one on."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._start: float | None = None
        self._index = 0

    async def next(self) -> int:
        """Return when the next frame is due, with its index."""
        if self._start is None:
            self._start = self._clock.monotonic()
            return 0
        self._index += 1
        early = self._start + self._index * self._seconds - self._clock.monotonic()
        if early > 0:
            await self._clock.sleep(early)
        elif early < -HOPELESS_SECONDS:
            self._index += int(-early / self._seconds)
        return self._index
