"""The people of the chaos, in a process of their own, so that those who shake the cluster do not stand in their way.

`python -m tests.chaos.crowd OPTIONS` (JSON). It says `ready` when all calls talk; then it is told one word a line, and answers each
with a line of JSON: `begin NAME` a round, `settle` to end it with its `Round`, `leave` to end all calls and itself.
"""

import asyncio
import logging
import random
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from statistics import median
from typing import Any
from uuid import uuid4

import httpx2
import msgspec
import structlog
import uvloop

from secureconnect.clock import SystemClock
from secureconnect.ids import DeviceId, UserId
from secureconnect.load.people import all_of, sign
from secureconnect.robot.client import Client
from secureconnect.robot.problems import ClientError
from tests.chaos.people import Caller, Talker
from tests.chaos.results import Options, Round

REST_SECONDS = 150.0
"""How long a caller may take to come to rest: longer than all its patience with one call."""
OWN_END_SECONDS = 50.0
"""How long a call may last in which nobody is: the grace, and some patience."""
LOOK_SECONDS = 0.1
ATTEMPTS = 5


class Crowd:
    """Everybody at one cluster."""

    def __init__(self, options: Options, http: httpx2.AsyncClient) -> None:
        self._options = options
        self._http = http
        self._random = random.Random("chaos").random
        self._begun = 0.0
        self._round = Round("")
        self._talkers: list[Talker] = []
        self._callers: list[Caller] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def gather(self) -> None:
        """Everybody is there, and has heard the other side."""
        await all_of((_at_last(self._couple, number) for number in range(self._options.calls)), at_once=4)
        await all_of(_at_last(self._caller, number) for number in range(self._options.callers))
        await self._until_heard([1] * len(self._talkers), self._options.patience)
        for caller in self._callers:
            caller.begin_round(self._round)
            self._spawn(caller.call_again_and_again())

    def begin(self, disturbance: str) -> None:
        """A round begins: everything counts for it from now on."""
        self._begun = time.monotonic()
        self._round = Round(disturbance)
        for talker in self._talkers:
            talker.begin_round(self._round)
        for caller in self._callers:
            caller.begin_round(self._round)

    async def settle(self) -> Round:
        """The disturbance is over: wait until everybody is heard again, and judge."""
        round_, talkers = self._round, self._talkers
        marks = [one.hears.count + 1 for one in talkers]
        await self._until_heard(marks, self._options.patience)
        round_.seconds = time.monotonic() - self._begun
        silences = [one.silence() for one in talkers]
        round_.silence_max, round_.silence_median = max(silences), median(silences)
        self._judge(marks)
        await self._judge_callers()
        await self._judge_pictures()
        await self._judge_messages()
        return round_

    def _judge(self, marks: Sequence[int]) -> None:
        round_ = self._round
        for one, mark in zip(self._talkers, marks, strict=True):
            if one.hears.latest < mark:
                round_.stuck += 1
                round_.faults.append(f"{one.name} has not heard the other again")
            verdict = one.hears.judge(mark)
            for name in ("said", "lost", "repeated", "overtaken", "void", "refused"):
                setattr(round_, name, getattr(round_, name) + getattr(verdict, name))
            if verdict.lost or verdict.repeated or verdict.overtaken:
                round_.faults.append(f"{one.name}: {verdict}")

    async def _judge_callers(self) -> None:
        """Whoever begins and ends calls comes to rest; then no call of theirs may be there."""
        for caller in self._callers:
            caller.may_call.clear()
        try:
            async with asyncio.timeout(REST_SECONDS):
                for caller in self._callers:
                    await caller.resting.wait()
        except TimeoutError:
            pass
        for number, caller in enumerate(self._callers):
            if not caller.resting.is_set() or await self._left_over(caller):
                self._round.stuck += 1
                self._round.faults.append(f"caller {number} cannot end a call")
            caller.may_call.set()

    async def _left_over(self, caller: Caller) -> bool:
        """Whether a call stays although everybody hung up. One begun by a request that nobody waited for ends by the rules."""
        for _ in range(int(OWN_END_SECONDS)):
            if not await caller.left_over():
                return False
            await asyncio.sleep(1)
        return True

    async def _judge_pictures(self) -> None:
        """Everybody sees the other connected, which they are. The last word on it may still be on its way."""
        async with asyncio.timeout(REST_SECONDS):
            stale = self._talkers
            for _ in range(int(self._options.patience / LOOK_SECONDS)):
                stale = [one for one in stale if not _sees_both(one)]
                if not stale:
                    break
                await asyncio.sleep(LOOK_SECONDS)
            self._round.stale = len(stale)
            for one in stale:
                assert one.call_id is not None
                try:
                    truth = await one.client.call(one.call_id)
                    self._round.faults.append(f"{one.name} sees {_states(one.sees())}, it is {_states(truth)}")
                except ClientError as failure:
                    self._round.faults.append(f"{one.name} sees {_states(one.sees())}, and cannot ask: {failure}")

    async def _judge_messages(self) -> None:
        """What was written and answered was told to both."""
        waiting: set[str] = set()
        for _ in range(int(self._options.patience / LOOK_SECONDS)):
            waiting = {text for one in self._talkers for text in one.written - (one.other.inbox.messages & one.inbox.messages)}
            if not waiting:
                break
            await asyncio.sleep(LOOK_SECONDS)
        for one in self._talkers:
            self._round.events += len(one.written)
            for inbox in (one.inbox, one.other.inbox):
                inbox.messages -= one.written
            one.written = set()
        self._round.events_lost += len(waiting)
        self._round.faults += [f"nobody was told of the message {text}" for text in sorted(waiting)]

    async def leave(self) -> list[str]:
        """All hang up; the calls that are there nevertheless."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        first_sides = self._talkers[::2]
        await all_of(self._end(one) for one in first_sides)
        calls = await all_of(_call_of(one) for one in first_sides)
        return [str(call.call_id) for call in calls if call.live]

    async def _end(self, talker: Talker) -> None:
        assert talker.call_id is not None
        try:
            await talker.client.end(talker.call_id)
        except ClientError as failure:
            self._round.faults.append(f"{talker.name} cannot end the call: {failure}")

    async def _until_heard(self, marks: Sequence[int], patience: float) -> None:
        """Return when each has heard a number of its mark or later, or patience is over."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if all(one.hears.latest >= mark for one, mark in zip(self._talkers, marks, strict=True)):
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _couple(self, number: int) -> None:
        """Two people in a call of their own."""
        names = [f"{side} {number}" for side in ("Ada", "Ben")]
        (first, first_id), (second, second_id) = [await self._person(name) for name in names]
        conversation = await first.create_conversation([second_id])
        call = await first.initiate(conversation.conversation_id, [second_id], ring_timeout=180)
        ada = Talker(first, first_id, names[0], self._random, self._options.pause)
        ben = Talker(second, second_id, names[1], self._random, self._options.pause)
        ada.other, ben.other = ben, ada
        await second.join(call.call_id)
        for one in (ada, ben):
            one.enter(call)
            one.begin_round(self._round)
            self._talkers.append(one)
            # At once: who has no socket within the grace has left.
            self._spawn(one.talk())

    async def _caller(self, number: int) -> None:
        (first, _), (second, second_id) = [await self._person(f"{side} {number}") for side in ("Cleo", "Dora")]
        conversation = await first.create_conversation([second_id])
        self._callers.append(Caller(first, second, second_id, conversation.conversation_id, self._random))

    async def _person(self, name: str) -> tuple[Client, UserId]:
        """Somebody at a device of their own, whose token an embedding application signed."""
        user_id = uuid4()
        client = Client(self._options.url, self._http, clock=SystemClock(), device_id=DeviceId(uuid4()))
        client.use_token(sign(user_id, name, self._options.secret, seconds=86_400))
        await client.me()
        return client, UserId(user_id)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(_end_loudly)


async def _at_last(make: Callable[[int], Awaitable[None]], number: int) -> None:
    """Make it, from its start again when a machine that is busy with all the others does not answer in time."""
    for _ in range(ATTEMPTS):
        try:
            await make(number)
        except ClientError:
            await asyncio.sleep(1)
        else:
            return
    await make(number)


def _end_loudly(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        raise SystemExit(f"one of the crowd has a fault of its own: {task.exception()!r}") from task.exception()


async def _call_of(talker: Talker) -> Any:
    assert talker.call_id is not None
    return await talker.client.call(talker.call_id)


def _sees_both(talker: Talker) -> bool:
    call = talker.sees()
    return call is not None and {one.state for one in call.participants} == {"joined"}


def _states(call: Any) -> str:
    if call is None:
        return "nothing"
    return f"version {call.version} {call.status}: " + ", ".join(f"{one.display_name} {one.state}" for one in call.participants)


async def main(options: Options) -> None:
    # What is said on stdout is said to the conductor.
    logger = structlog.PrintLoggerFactory(sys.stderr)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING), logger_factory=logger)
    tls = ssl.create_default_context(cafile=options.certificate)
    limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64, keepalive_expiry=2.0)
    async with httpx2.AsyncClient(trust_env=False, verify=tls, timeout=15.0, limits=limits) as http:
        crowd = Crowd(options, http)
        await crowd.gather()
        _answer("ready")
        words = await _lines_of(sys.stdin)
        while line := (await words.readline()).decode().strip():
            word, _, rest = line.partition(" ")
            if word == "begin":
                crowd.begin(rest)
                _answer("begun")
            elif word == "settle":
                _answer(await crowd.settle())
            elif word == "leave":
                _answer(await crowd.leave())
                return


def _answer(what: Any) -> None:
    print(msgspec.json.encode(what).decode(), flush=True)


async def _lines_of(stream: Any) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), stream)
    return reader


if __name__ == "__main__":
    uvloop.run(main(msgspec.json.decode(sys.argv[1], type=Options)))
