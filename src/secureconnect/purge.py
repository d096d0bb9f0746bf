"""The loop that deletes in the background what was marked as deleted. Made by app; what is deleted is given to it."""

from collections.abc import Awaitable, Callable, Sequence

import structlog

from secureconnect.clock import Clock
from secureconnect.errors import ServiceError

log = structlog.get_logger(__name__)

LOOK_SECONDS = 5.0
"""How often it looks for work. Each look is one short query a step."""

Step = Callable[[], Awaitable[bool]]
"""Delete one batch, in a transaction of its own. Returns whether there was anything to delete."""


class Purge:
    """Runs each step until nothing is left. Every node has one; steps leave alone what another node is deleting."""

    def __init__(self, clock: Clock, steps: Sequence[Step]) -> None:
        self._clock = clock
        self._steps = steps

    async def run(self) -> None:
        """Delete, until cancelled. A step that fails is tried again later and does not stop the others."""
        while True:
            for step in self._steps:
                try:
                    while await step():
                        await self._clock.sleep(0)
                except ServiceError as failure:
                    log.warning("deletion postponed", reason=failure.detail)
            await self._clock.sleep(LOOK_SECONDS)
