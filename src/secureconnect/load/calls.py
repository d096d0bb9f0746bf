"""`secureconnect bench calls`: whole calls at once, from initiate to the end; at the end no call may be left over.

Called by cli.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.progress import Progress

from secureconnect.load.inbox import open_inbox
from secureconnect.load.one_call import OneCall, Pair, Steps
from secureconnect.load.options import CallsOptions
from secureconnect.load.people import Person, all_of, converse, end, gather_people, unfinished
from secureconnect.load.report import Case, Report, machine, quantile
from secureconnect.load.rest import LoadError, Rest
from secureconnect.load.target import Target, open_target
from secureconnect.load.traffic import elapse


async def run_calls(options: CallsOptions, console: Console) -> Report:
    """Make calls for the time asked for. Raises LoadError when the people cannot be set up."""
    async with open_target(options) as target:
        rest = Rest(target.url, connections=max(2 * options.pairs, 16))
        try:
            with Progress(console=console, transient=True, refresh_per_second=4) as progress:
                run = _Run(rest, target, options, await gather_pairs(rest, target, options.pairs, progress))
                values = await run.measure(progress)
                problems = await run.problems()
        finally:
            rest.close()
        pace = "as fast as they end" if options.rate is None else f"{options.rate:g} begun a second"
        return Report(
            what=f"calls · {options.pairs} pairs, {pace}",
            url=target.url,
            machine=machine(),
            cases=[Case("calls", values)],
            problems=problems,
        )


async def gather_pairs(rest: Rest, target: Target, number: int, progress: Progress) -> list[Pair]:
    """So many pairs of people with a conversation each, all at their events sockets. Raises LoadError."""
    task = progress.add_task("people", total=2 * number)
    people = await gather_people(rest, 2 * number, target.secret, lambda done: progress.update(task, completed=done))

    async def one(caller: Person, callee: Person) -> Pair:
        inboxes = []
        for person in (caller, callee):
            inbox = await open_inbox(f"{target.socket_url}/v1/ws/events?device_id={person.device_id}", person)
            await inbox.until("welcome")
            inboxes.append(inbox)
        return Pair(caller, callee, await converse(rest, caller, callee), inboxes[0], inboxes[1])

    return await all_of(one(caller, callee) for caller, callee in zip(people[::2], people[1::2], strict=True))


class Schedule:
    """When the next call begins: shared by all pairs, whoever is free takes it."""

    def __init__(self, rate: float | None, seconds: float) -> None:
        self._rate = rate
        self._started = time.perf_counter()
        self._until = self._started + seconds
        self._given = 0

    def next(self) -> float | None:
        """The moment (perf_counter) of the next call, or None when time is over."""
        now = time.perf_counter()
        moment = now if self._rate is None else self._started + self._given / self._rate
        self._given += 1
        return moment if max(moment, now) < self._until else None


class _Run:
    """All calls of a run and what is known of them."""

    def __init__(self, rest: Rest, target: Target, options: CallsOptions, pairs: Sequence[Pair]) -> None:
        self._rest = rest
        self._target = target
        self._options = options
        self._pairs = pairs
        self._steps: list[Steps] = []
        self._late: list[float] = []
        self._errors: Counter[str] = Counter()

    async def measure(self, progress: Progress) -> dict[str, float]:
        """Call until time is over and the last call has ended; the values of the report."""
        process = self._target.process
        cpu = process.cpu_seconds() if process else 0.0
        driver_cpu = time.process_time()
        started = time.perf_counter()
        schedule = Schedule(self._options.rate, self._options.seconds)
        work = [asyncio.create_task(self._keep_calling(pair, schedule)) for pair in self._pairs]
        task = progress.add_task("calls", total=self._options.seconds)
        await elapse(self._options.seconds, lambda passed: progress.update(task, completed=passed))
        await asyncio.gather(*work)
        seconds = time.perf_counter() - started
        finished = len(self._steps)
        values = {
            "calls": float(finished),
            "calls_per_s": finished / seconds,
            "driver_busy": (time.process_time() - driver_cpu) / seconds,
            **self._latencies(),
        }
        if process:
            spent = process.cpu_seconds() - cpu
            values["call_cpu_ms"] = spent / max(finished, 1) * 1e3
            values["server_busy"] = spent / seconds
        return values

    async def problems(self) -> list[str]:
        """What failed, and which calls are not over although everybody has left."""
        left = await all_of(unfinished(self._rest, pair.caller) for pair in self._pairs)
        found = [f"{what}: {number:,}" for what, number in self._errors.items()]
        return found + [f"call {call.call_id} is still {call.status}" for calls in left for call in calls]

    def _latencies(self) -> dict[str, float]:
        samples = {
            "initiate": sorted(steps.initiated for steps in self._steps),
            "ring": sorted(steps.rang for steps in self._steps),
            "answer": sorted(steps.answered for steps in self._steps),
        }
        if self._options.rate is not None:
            samples["late"] = sorted(self._late)
        return {
            f"{name}_p{percent}_ms": quantile(ordered, percent / 100) * 1e3
            for name, ordered in samples.items()
            for percent in (50, 99)
        }

    async def _keep_calling(self, pair: Pair, schedule: Schedule) -> None:
        while (moment := schedule.next()) is not None:
            await asyncio.sleep(moment - time.perf_counter())
            self._late.append(time.perf_counter() - moment)
            try:
                self._steps.append(await OneCall(self._rest, self._target, pair, self._options.candidates).run())
            except LoadError as error:
                self._errors[str(error)] += 1
                await self._clear(pair)

    async def _clear(self, pair: Pair) -> None:
        """End what a failed call left behind, so that the next one of this pair begins clean."""
        try:
            for call in await unfinished(self._rest, pair.caller):
                await end(self._rest, pair.caller, call.call_id)
        except LoadError as error:
            self._errors[f"while clearing up: {error}"] += 1
