"""Whether this process can do its work, dependency by dependency. Asked by api.ops; app names what to ask.

Every answer is a question put to the dependency within the last second, bounded in time: a flood of requests asks each dependency
once a second.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from msgspec import Struct

from secureconnect.clock import Clock

PROBE_SECONDS = 2.0
FRESH_SECONDS = 1.0
"""How long an answer of a dependency is given again."""

Probe = Callable[[], Awaitable[None]]


class Dependency(Struct, frozen=True, omit_defaults=True):
    """How one dependency answered: `healthy` with the time it took (milliseconds), or `unavailable` and why."""

    status: str
    latency_ms: float | None = None
    detail: str | None = None


class HealthReport(Struct, frozen=True):
    """`status`: healthy, degraded (something does not answer) or draining (this process is going away)."""

    status: str
    service: str
    version: str
    time: datetime
    dependencies: dict[str, Dependency]

    @property
    def is_good(self) -> bool:
        return self.status == "healthy"


class Health:
    """The dependencies of one process."""

    def __init__(
        self, *, service: str, version: str, clock: Clock, probes: Mapping[str, Probe], beside: Mapping[str, Probe] | None = None
    ) -> None:
        """Without `probes` no work can be done here. What is `beside` makes the service poorer, and no other node would do better
        without it: it is named, and does not make a gateway send work elsewhere.
        """
        self._service = service
        self._version = version
        self._clock = clock
        self._probes = probes
        self._beside = beside or {}
        self.draining = False
        self._answers: dict[str, tuple[float, asyncio.Task[Dependency]]] = {}

    async def report(self, *, ready: bool = False) -> HealthReport:
        """Ask everything. With `ready`, only what work needs; and a process that goes away says so: it wants no new work."""
        asked = self._probes if ready else {**self._probes, **self._beside}
        answers = await asyncio.gather(*(self._answer_of(name, probe) for name, probe in asked.items()))
        dependencies = dict(zip(asked, answers, strict=True))
        status = "healthy" if all(one.status == "healthy" for one in answers) else "degraded"
        if ready and self.draining:
            status = "draining"
        return HealthReport(status, self._service, self._version, self._clock.now(), dependencies)

    async def _answer_of(self, name: str, probe: Probe) -> Dependency:
        """What the dependency answered within the last second; all who want to know at once share one question."""
        now = self._clock.monotonic()
        asked_at, asking = self._answers.get(name, (now - FRESH_SECONDS, None))
        if asking is None or (asking.done() and now - asked_at >= FRESH_SECONDS):
            asking = asyncio.create_task(self._ask(probe))
            self._answers[name] = (now, asking)
        # A client that goes away must not take the answer from the others.
        return await asyncio.shield(asking)

    async def _ask(self, probe: Probe) -> Dependency:
        begun = self._clock.monotonic()
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await probe()
        except TimeoutError:
            return Dependency("unavailable", detail=f"no answer within {PROBE_SECONDS:g} s")
        except Exception as failure:  # whatever a driver raises, it is not healthy
            return Dependency("unavailable", detail=str(failure)[:200])
        return Dependency("healthy", latency_ms=round((self._clock.monotonic() - begun) * 1000, 2))
