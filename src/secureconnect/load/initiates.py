"""`secureconnect bench initiates`: calls begun at a rate, and how long until the other's socket rings. Nobody answers.

Called by cli and bench/. What a person waits for after pressing the button, and the dearest thing a call asks of the database.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from rich.console import Console
from rich.progress import Progress

from secureconnect.load.calls import gather_pairs
from secureconnect.load.one_call import Pair
from secureconnect.load.options import InitiatesOptions
from secureconnect.load.paced import Paced
from secureconnect.load.people import initiate
from secureconnect.load.report import Case, Report, machine
from secureconnect.load.rest import LoadError, Rest
from secureconnect.load.target import Target, open_target


class Beside(Protocol):
    """Something that is measured in the same run; bench/ has pushes."""

    async def prepare(self, rest: Rest, pairs: Sequence[Pair]) -> None:
        """Before the first call."""

    def began(self, call_id: UUID, moment: float) -> None:
        """A call that counts, and when (perf_counter) it was due."""

    async def settle(self) -> None:
        """After the last call, before they are ended."""


WARM_UP_CALLS = 2
"""Calls a pair begins before anything is counted: connections are opened, statements prepared."""


async def run_initiates(options: InitiatesOptions, console: Console, beside: Beside | None = None) -> Report:
    """Begin calls for the time asked for. Raises LoadError when the people cannot be set up."""
    async with open_target(options) as target:
        rest = Rest(target.url, connections=max(2 * options.pairs, 16))
        try:
            with Progress(console=console, transient=True, refresh_per_second=4) as progress:
                pairs = await gather_pairs(rest, target, options.pairs, progress)
                if beside is not None:
                    await beside.prepare(rest, pairs)
                run = _Run(rest, target, options, pairs, beside)
                values = await run.measure(progress)
                if beside is not None:
                    await beside.settle()
                await run.clear()
        finally:
            rest.close()
        pace = "as fast as they are answered" if options.rate is None else f"{options.rate:g} a second"
        return Report(
            what=f"initiates · {options.pairs} pairs, {pace}",
            url=target.url,
            machine=machine(),
            cases=[Case("initiates", values)],
            problems=[f"{what}: {number:,}" for what, number in run.errors.items()],
        )


class _Run:
    """All initiates of a run, and what is known of them."""

    def __init__(self, rest: Rest, target: Target, options: InitiatesOptions, pairs: Sequence[Pair], beside: Beside | None) -> None:
        self._rest = rest
        self._paced = Paced("initiate", rest, target, options, pairs)
        self._beside = beside
        self._answered: list[float] = []
        self._rang: list[float] = []

    @property
    def errors(self) -> Counter[str]:
        return self._paced.errors

    async def measure(self, progress: Progress) -> dict[str, float]:
        """Initiate until time is over; the values of the report."""
        for _ in range(WARM_UP_CALLS):
            await asyncio.gather(*(self._ring(pair, time.perf_counter()) for pair in self._paced.pairs))
        self._answered.clear()
        self._rang.clear()
        return await self._paced.measure(progress, self._initiate, lambda: {"initiate": self._answered, "ring": self._rang})

    async def clear(self) -> None:
        """End the newest calls; the others ring until their time is over."""
        for pair in self._paced.pairs:
            await self._paced.clear(pair)

    async def _initiate(self, pair: Pair, moment: float) -> None:
        # With a rate it counts from when it was due, so that a pause of the server or of ours is seen.
        call_id = await self._ring(pair, moment)
        if call_id is not None and self._beside is not None:
            self._beside.began(call_id, moment)

    async def _ring(self, pair: Pair, began: float) -> UUID | None:
        try:
            call = await initiate(self._rest, pair.caller, pair.callee, pair.conversation_id)
            answered = time.perf_counter()
            rang, _ = await pair.callee_events.until("call.incoming", call.call_id)
        except LoadError as error:
            self.errors[str(error)] += 1
            return None
        self._answered.append(answered - began)
        self._rang.append(rang - began)
        return call.call_id
