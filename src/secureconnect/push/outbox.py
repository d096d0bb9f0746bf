"""Sends what is in the outbox, at least once, and never what is over. One loop, started by app; any node sends anything.

Each provider has a lane of its own, and in the one of Web Push each push service its own places, so that one that hangs delays no
other. Decides nothing about calls: the claim looks whether somebody still rings. Between claim and answer a process may die; then
the lease runs out and another one sends.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

import structlog

from secureconnect.clock import Clock
from secureconnect.errors import ServiceError, Unavailable
from secureconnect.ids import NodeId, short
from secureconnect.ops.loops import keep_running
from secureconnect.push import Attempt, Delivered, Gone, Outcome, Provider, Push, Refused, Retry, Sender, Verdict
from secureconnect.push.lane import Backoff, Lane
from secureconnect.store import Database
from secureconnect.store import push as store
from secureconnect.store.push import Answer

log = structlog.get_logger(__name__)

CONCURRENCY = 64
"""Pushes to one service under way at a time. HTTP/2 carries them over one connection; beyond it they wait in the database."""
SEND_SECONDS = 8.0
"""How long a provider may take to answer."""
LEASE = timedelta(seconds=4)
"""How long what a process had in hand when it died waits for another. Renewed while a provider takes its time."""
BACKOFF = Backoff(0.5, 60.0)
HISTORY = 20
"""Attempts of one push that are remembered one by one, the last: a ring has no more, a notice is tried for a day."""
TIDYING_SECONDS = 3600.0
STUCK = timedelta(seconds=30)
"""A push that has been due for so long is being sent by nobody: of a ring that is most of its life."""

OnOutcome = Callable[[Push, str], None]


class Outbox:
    """The lanes, one a sender. `on_outcome` hears of each attempt: an outcome, or `retried`."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        node_id: NodeId,
        senders: Mapping[Provider, Sender],
        on_outcome: OnOutcome,
        lease: timedelta = LEASE,
        send_seconds: float = SEND_SECONDS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._node_id = node_id
        self._senders = senders
        self._lanes = [
            Lane(
                _Desk(database, clock, node_id, provider=provider, sender=sender, on_outcome=on_outcome),
                clock,
                lease=lease,
                send_seconds=send_seconds,
                concurrency=CONCURRENCY,
            )
            for provider, sender in senders.items()
        ]

    def wake(self) -> None:
        """There may be something to send: look now."""
        for lane in self._lanes:
            lane.wake()

    async def start(self) -> None:
        """Nobody shares an SQLite file: what an earlier run was sending there is due at once."""
        if not self._database.is_shared:
            now = self._clock.now()
            await self._database.transact(lambda connection: store.release(connection, now), isolation="committed")

    async def run(self) -> None:
        """Until cancelled: claim and send. A database that is away is waited for."""
        async with asyncio.TaskGroup() as group:
            for provider, lane in zip(self._senders, self._lanes, strict=True):
                group.create_task(keep_running(str(provider), lane.run))
            group.create_task(keep_running("old_pushes", self._tidy))

    async def stop(self) -> None:
        """Once nothing runs any more, give back what was under way, so that nobody waits for the leases to run out."""
        now = self._clock.now()
        await self._database.transact(lambda connection: store.release(connection, now, self._node_id), isolation="committed")

    async def ping(self) -> None:
        """Raises Unavailable when pushes wait that should have been sent long ago, or nobody can know."""
        now = self._clock.now()
        for provider in self._senders:
            due = await self._database.read(partial(store.next_due, provider=provider))
            oldest = min(due.values(), default=now)
            if now - oldest > STUCK:
                raise Unavailable(f"A push by {provider} has been due for {int((now - oldest).total_seconds())} s.")

    async def close(self) -> None:
        """Let go of the connections to providers."""
        for sender in self._senders.values():
            await sender.close()

    async def _tidy(self) -> None:
        while True:
            await self._clock.sleep(TIDYING_SECONDS)
            now = self._clock.now()
            try:
                await self._database.transact(partial(store.forget_old_pushes, now=now), isolation="committed")
            except ServiceError as failure:
                log.warning("pushes wait", reason=failure.detail)


class _Desk:
    """One provider's pushes: takes them from the database, and writes down what became of them."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        node_id: NodeId,
        *,
        provider: Provider,
        sender: Sender,
        on_outcome: OnOutcome,
    ) -> None:
        self.name = str(provider)
        self.send = sender.send
        self._database = database
        self._clock = clock
        self._node_id = node_id
        self._provider = provider
        self._on_outcome = on_outcome

    async def next_due(self) -> Mapping[str, datetime]:
        return await self._database.read(partial(store.next_due, provider=self._provider))

    async def claim(self, now: datetime, until: datetime, room: Mapping[str, int], limit: int) -> tuple[Sequence[Push], int]:
        work = partial(store.claim, provider=self._provider, owner=self._node_id, now=now, until=until, room=room, limit=limit)
        claim = await self._database.transact(work, isolation="committed")
        return claim.pushes, claim.taken

    async def renew(self, pushes: Sequence[Push], until: datetime) -> None:
        work = partial(store.renew, pushes=pushes, owner=self._node_id, until=until)
        await self._database.transact(work, isolation="committed")

    def service_of(self, push: Push) -> str:
        return push.service

    def judge(self, push: Push, verdict: Verdict, sent_at: datetime) -> Answer:
        """Whether it is over, and how, or when it is tried again."""
        now, detail = self._clock.now(), verdict.detail
        again = BACKOFF.again(verdict, push.attempts, now, push.expires_at)
        outcome = _outcome_of(verdict)
        word = "retried" if again is not None else str(outcome)
        log.info(
            "push",
            call=short(push.call_id),
            device=short(push.device_id),
            provider=str(push.provider),
            kind=str(push.kind),
            outcome=word,
            detail=detail,
            attempt=push.attempts,
        )
        self._on_outcome(push, word)
        history = (*push.history[1 - HISTORY :], Attempt(push.attempts, sent_at, now, word, detail))
        return Answer(push, outcome, now, detail, history, again)

    async def record(self, answers: Sequence[Answer]) -> None:
        """Of what another has taken meanwhile nothing is written down: it sends it again, and its word counts."""
        work = partial(store.write_down, answers=answers, owner=self._node_id)
        await self._database.transact(work, isolation="committed")


def _outcome_of(verdict: Verdict) -> Outcome:
    """The end that a verdict means; of a Retry, when there is no time left."""
    match verdict:
        case Delivered():
            return Outcome.DELIVERED
        case Gone():
            return Outcome.GONE
        case Refused():
            return Outcome.REFUSED
        case Retry():
            return Outcome.EXPIRED
