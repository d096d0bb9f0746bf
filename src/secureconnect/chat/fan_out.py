"""How many bytes of events one user may cause: what is written once is sent to every member. Counts at this node.

A message of 8,000 characters to 256 people is up to 8 MiB, and everything that others say waits behind it.
"""

from collections import OrderedDict
from collections.abc import Callable

from secureconnect.clock import Clock
from secureconnect.errors import RateLimited
from secureconnect.ids import UserId

BURST_BYTES = 8 * 1024 * 1024
BYTES_PER_SECOND = 128 * 1024
EVENT_BYTES = 512
"""What an event has besides its text."""
USERS_KEPT = 10_000


class FanOut:
    """Bytes of events by the user who causes them.

    Args:
        clock: a steady clock.
        enabled: False lets everything pass, for load tests.
        on_refusal: hears of each refusal, for metrics.
    """

    def __init__(self, clock: Clock, *, enabled: bool = True, on_refusal: Callable[[], None] = lambda: None) -> None:
        self._clock = clock
        self._enabled = enabled
        self._on_refusal = on_refusal
        self._spent: OrderedDict[UserId, tuple[float, float]] = OrderedDict()
        """Bytes not forgiven yet, and when that was so; those who spent last at the end."""

    def spend(self, user_id: UserId, members: int, text_bytes: int) -> None:
        """Count one event with a text of this size to so many members.

        Raises:
            RateLimited: it is more than this user may send now; nothing is counted.
        """
        if not self._enabled:
            return
        now, size = self._clock.monotonic(), members * (text_bytes + EVENT_BYTES)
        spent, since = self._spent.get(user_id, (0.0, now))
        spent = max(0.0, spent - max(0.0, now - since) * BYTES_PER_SECOND)
        beyond = spent + size - BURST_BYTES
        if beyond > 0 and spent > 0:  # one event alone always passes
            self._on_refusal()
            raise RateLimited(
                "You send much to many people: wait a little.", retry_after=max(1, round(min(beyond, spent) / BYTES_PER_SECOND))
            )
        self._spent[user_id] = (spent + size, now)
        self._spent.move_to_end(user_id)
        if len(self._spent) > USERS_KEPT:
            self._spent.popitem(last=False)
