"""How long relays take, from the publish to the delivery by the bus: one in 16 is timed, on the node that published it.

The publisher of a frame is subscribed to the same topic as its addressees: it hears the frame as late as they do, at this node or
at another, and one clock measures it. Called on the hot path by `signaling.handlers` and `signaling.call_room`.
"""

from collections.abc import Callable

ONE_IN = 16
GIVEN_UP_SECONDS = 60.0
"""A frame that has not come back by then is not waited for: whoever listened has left. Until then no other is timed in its place,
or an outage would look as short as its last moments."""


class RelayTimer:
    """One frame under way at a time. `body` is what it is recognised by; empty when there is none."""

    __slots__ = ("_begun", "_monotonic", "_observe", "body")

    def __init__(self, monotonic: Callable[[], float], observe: Callable[[float], None]) -> None:
        self.body = b""
        self._begun = 0.0
        self._monotonic = monotonic
        self._observe = observe

    def begin(self, body: bytes) -> None:
        """This frame is about to be published."""
        now = self._monotonic()
        if not self.body or now - self._begun > GIVEN_UP_SECONDS:
            self.body, self._begun = body, now

    def end(self) -> None:
        """It has been delivered: `observe` gets the seconds."""
        self.body = b""
        self._observe(self._monotonic() - self._begun)
