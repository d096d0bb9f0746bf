"""From one way of the media to another without a gap: who may let go of what. Pure; `call` asks it while both ways are open.

A session shows the new way once it carries pictures, and says `switched`; the old one is let go when both sides have said so, or
after a while (docs/protocol.md, "By the SFU").
"""

from secureconnect.ids import SessionId

FRAMES = 3
"""Pictures after which a way is known to carry: the first one comes by itself, and may be alone for a while."""
SECONDS = 0.2
"""Sound of a call without pictures."""
PATIENCE_SECONDS = 10.0


class Switching:
    """The switch to `epoch`, begun at `now` (seconds of any steady clock), away from connections with `others`."""

    def __init__(self, epoch: int, others: set[SessionId], now: float) -> None:
        self.epoch = epoch
        self._left = set(others)
        self._said: set[SessionId] = set()
        self._heard: set[SessionId] = set()
        self._ends_at = now + PATIENCE_SECONDS

    def heard(self, session: SessionId, epoch: int) -> None:
        """The other side shows us on the new way."""
        if epoch == self.epoch:
            self._heard.add(session)

    def carries(self, session: SessionId, *, frames: int, seconds: float, video: bool) -> bool:
        """Whether to tell the session so now: once."""
        ready = frames >= FRAMES if video else seconds >= SECONDS
        if not ready or session in self._said or session not in self._left:
            return False
        self._said.add(session)
        return True

    def done(self, now: float, present: set[SessionId]) -> set[SessionId]:
        """Those whose old way may go now: of `present` when both sides have said so, of all others, and of all in the end."""
        gone = self._left if now >= self._ends_at else (self._left & self._said & self._heard) | (self._left - present)
        self._left = self._left - gone
        return set(gone)

    @property
    def is_over(self) -> bool:
        return not self._left
