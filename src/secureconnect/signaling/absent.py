"""Sessions of this node whose socket has closed and whose client may come back: they end when their sign-in is revoked.

Without this, a client that drops its socket before its sign-in ends would stay in the call for the grace, and at the SFU with it.
"""

from collections.abc import Awaitable, Callable, Collection
from uuid import UUID

from secureconnect.accounts.revocations import Revocations
from secureconnect.ids import UserId
from secureconnect.signaling.call_room import Seat

EndSession = Callable[[Seat], Awaitable[None]]


class AbsentSessions:
    """Remembers each for the grace. `end` is spawned for one whose sign-in or user is revoked meanwhile."""

    def __init__(
        self,
        *,
        revocations: Revocations,
        monotonic: Callable[[], float],
        grace_seconds: float,
        end: EndSession,
        spawn: Callable[[Awaitable[None]], None],
    ) -> None:
        self._revocations = revocations
        self._monotonic = monotonic
        self._grace_seconds = grace_seconds
        self._end = end
        self._spawn = spawn
        self._seats: dict[str, tuple[float, Seat]] = {}
        revocations.listen(self._look)

    def __len__(self) -> int:
        return len(self._seats)

    def add(self, seat: Seat) -> None:
        """The socket of this session has closed without a leave."""
        now = self._monotonic()
        # All are kept for the same time, so the first in is the first out.
        while self._seats and (oldest := next(iter(self._seats.items())))[1][0] <= now:
            del self._seats[oldest[0]]
        self._seats.pop(seat.session_id, None)
        self._seats[seat.session_id] = (now + self._grace_seconds, seat)
        if self._revocations.is_revoked(seat.grant):
            self._end_one(seat)

    def remove(self, session_id: str) -> None:
        """The session has a socket here again, or has left."""
        self._seats.pop(session_id, None)

    def _look(self, _sign_ins: Collection[UUID], _users: Collection[UserId]) -> None:
        for _, seat in list(self._seats.values()):
            if self._revocations.is_revoked(seat.grant):
                self._end_one(seat)

    def _end_one(self, seat: Seat) -> None:
        del self._seats[seat.session_id]
        self._spawn(self._end(seat))
