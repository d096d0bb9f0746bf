"""The same thing again and again by many pairs, at a rate or as fast as it goes, and what it costs the server meanwhile.

`calls` and `initiates` say what the thing is and what is measured of it.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from rich.progress import Progress

from secureconnect.load.one_call import Pair
from secureconnect.load.options import CallsOptions, InitiatesOptions
from secureconnect.load.people import end, unfinished
from secureconnect.load.report import quantile
from secureconnect.load.rest import LoadError, Rest
from secureconnect.load.target import Target
from secureconnect.load.traffic import elapse

Act = Callable[[Pair, float], Awaitable[None]]
"""Does it once, for a moment (perf_counter) at which it was due."""
Samples = Mapping[str, Sequence[float]]
"""Seconds by what they were waited for; `ring` has one for each that was done."""


class Schedule:
    """When the next one begins: shared by all pairs, whoever is free takes it."""

    def __init__(self, rate: float | None, seconds: float) -> None:
        self._rate = rate
        self._started = time.perf_counter()
        self._until = self._started + seconds
        self._given = 0

    def next(self) -> float | None:
        """The moment (perf_counter) of the next one, or None when time is over."""
        now = time.perf_counter()
        moment = now if self._rate is None else self._started + self._given / self._rate
        self._given += 1
        return moment if max(moment, now) < self._until else None


class Paced:
    """A run of one thing, called `name`. `errors` counts what went wrong, in words."""

    def __init__(
        self, name: str, rest: Rest, target: Target, options: CallsOptions | InitiatesOptions, pairs: Sequence[Pair]
    ) -> None:
        self.pairs = pairs
        self.errors: Counter[str] = Counter()
        self._name = name
        self._rest = rest
        self._process = target.process
        self._options = options
        self._late: list[float] = []

    async def measure(self, progress: Progress, act: Act, samples: Callable[[], Samples]) -> dict[str, float]:
        """Act until time is over and the last one is done; the values of the report."""
        process, options = self._process, self._options
        cpu, driver_cpu = process.cpu_seconds() if process else 0.0, time.process_time()
        started = time.perf_counter()
        schedule = Schedule(options.rate, options.seconds)
        work = [asyncio.create_task(self._keep_acting(pair, schedule, act)) for pair in self.pairs]
        task = progress.add_task(f"{self._name}s", total=options.seconds)
        await elapse(options.seconds, lambda passed: progress.update(task, completed=passed))
        await asyncio.gather(*work)
        seconds = time.perf_counter() - started
        taken = samples()
        done = len(taken["ring"])
        values = {
            f"{self._name}s": float(done),
            f"{self._name}s_per_s": done / seconds,
            "driver_busy": (time.process_time() - driver_cpu) / seconds,
            **self._latencies(taken),
        }
        if process:
            spent = process.cpu_seconds() - cpu
            values[f"{self._name}_cpu_ms"] = spent / max(done, 1) * 1e3
            values["server_busy"] = spent / seconds
        return values

    async def clear(self, pair: Pair) -> None:
        """End the calls of this pair that are not over, as far as one page shows them."""
        try:
            for call in await unfinished(self._rest, pair.caller):
                await end(self._rest, pair.caller, call.call_id)
        except LoadError as error:
            self.errors[f"while clearing up: {error}"] += 1

    async def _keep_acting(self, pair: Pair, schedule: Schedule, act: Act) -> None:
        while (moment := schedule.next()) is not None:
            await asyncio.sleep(moment - time.perf_counter())
            self._late.append(time.perf_counter() - moment)
            await act(pair, moment)

    def _latencies(self, samples: Samples) -> dict[str, float]:
        late = {} if self._options.rate is None else {"late": self._late}
        return {
            f"{name}_p{percent}_ms": quantile(ordered, percent / 100) * 1e3
            for name, ordered in ((name, sorted(taken)) for name, taken in (*samples.items(), *late.items()))
            for percent in (50, 99)
        }
