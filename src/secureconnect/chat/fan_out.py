"""How many bytes of events one user may cause: what is written once is sent to every member. Counts at this node.

A message of 8,000 characters to 256 people is up to 8 MiB, and everything that others say waits behind it.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import NoReturn, TypeVar
from uuid import UUID

from secureconnect.clock import Clock
from secureconnect.errors import RateLimited
from secureconnect.ids import UserId

Key = TypeVar("Key")
Value = TypeVar("Value")

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
        self._refused_until: OrderedDict[tuple[UserId, UUID | None], float] = OrderedDict()

    def check(self, user_id: UserId, conversation_id: UUID | None = None) -> None:
        """Refuse what was refused a moment ago, before the database is asked: a refusal costs less than what it refuses.

        Raises:
            RateLimited: the user is to wait before more is sent to this conversation.
        """
        left = self._refused_until.get((user_id, conversation_id), -math.inf) - self._clock.monotonic()
        if left > 0:
            self._refuse(left)

    def spend(self, user_id: UserId, members: int, text_bytes: int, conversation_id: UUID | None = None) -> None:
        """Count one event with a text of this size to so many members.

        Args:
            user_id: who causes it.
            members: how many users are told.
            text_bytes: the size of what is told.
            conversation_id: where; `check` refuses more of it for a while.

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
            wait = min(beyond, spent) / BYTES_PER_SECOND
            _keep(self._refused_until, (user_id, conversation_id), now + wait)
            self._refuse(wait)
        _keep(self._spent, user_id, (spent + size, now))

    def _refuse(self, wait: float) -> NoReturn:
        self._on_refusal()
        raise RateLimited("You send much to many people: wait a little.", retry_after=max(1, math.ceil(wait)))


def _keep(kept: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > USERS_KEPT:
        kept.popitem(last=False)
