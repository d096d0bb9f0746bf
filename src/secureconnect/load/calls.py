"""`secureconnect bench calls`: whole calls at once, from initiate to the end; at the end no call may be left over.

Called by cli.
"""

from collections.abc import Sequence

from rich.console import Console
from rich.progress import Progress

from secureconnect.load.inbox import open_inbox
from secureconnect.load.one_call import OneCall, Pair, Steps
from secureconnect.load.options import CallsOptions
from secureconnect.load.paced import Paced, Samples
from secureconnect.load.people import Person, all_of, converse, gather_people, unfinished
from secureconnect.load.report import Case, Report, machine
from secureconnect.load.rest import LoadError, Rest
from secureconnect.load.target import Target, open_target


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


class _Run:
    """All calls of a run and what is known of them."""

    def __init__(self, rest: Rest, target: Target, options: CallsOptions, pairs: Sequence[Pair]) -> None:
        self._rest = rest
        self._target = target
        self._options = options
        self._paced = Paced("call", rest, target, options, pairs)
        self._steps: list[Steps] = []

    async def measure(self, progress: Progress) -> dict[str, float]:
        """Call until time is over and the last call has ended; the values of the report."""
        return await self._paced.measure(progress, self._call, self._samples)

    async def problems(self) -> list[str]:
        """What failed, and which calls are not over although everybody has left."""
        left = await all_of(unfinished(self._rest, pair.caller) for pair in self._paced.pairs)
        found = [f"{what}: {number:,}" for what, number in self._paced.errors.items()]
        return found + [f"call {call.call_id} is still {call.status}" for calls in left for call in calls]

    def _samples(self) -> Samples:
        return {
            "initiate": [steps.initiated for steps in self._steps],
            "ring": [steps.rang for steps in self._steps],
            "answer": [steps.answered for steps in self._steps],
        }

    async def _call(self, pair: Pair, _moment: float) -> None:
        try:
            self._steps.append(await OneCall(self._rest, self._target, pair, self._options.candidates).run())
        except LoadError as error:
            self._paced.errors[str(error)] += 1
            await self._paced.clear(pair)  # so that the next call of this pair begins clean
