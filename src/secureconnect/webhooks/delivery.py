"""Events for an outside application: written with the change of the call, sent in order per call and at least once, then kept.

One lane, started by app; any node sends any event.

`enqueue` is called by calls.service in its transaction. What an event is made of is in `webhooks.events`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.call import Call
from secureconnect.calls.commands import Event as Happening
from secureconnect.clock import Clock
from secureconnect.errors import ServiceError
from secureconnect.ids import IdFactory, NodeId, RecordingId, short
from secureconnect.ops.loops import keep_running
from secureconnect.push import Delivered, Gone, Refused, Retry, Verdict
from secureconnect.push.lane import Backoff, Lane
from secureconnect.store import Database
from secureconnect.store import webhooks as store
from secureconnect.store.webhooks import Answer
from secureconnect.webhooks import EventType, Kept, Webhook
from secureconnect.webhooks.events import events_of, recording_event

log = structlog.get_logger(__name__)

THE_APPLICATION = ""
"""All events go to one service."""
CONCURRENCY = 32
SEND_SECONDS = 15.0
"""How long the application may take to answer."""
LEASE = timedelta(seconds=4)
"""How long what a process had in hand when it died waits for another. Renewed while the application takes its time."""
BACKOFF = Backoff(1.0, 3600.0)
SETTLED = timedelta(seconds=10)
"""A cursor stays so far behind: an event written down late, under an id of a moment ago, is given twice rather than never."""
TIDYING_SECONDS = 3600.0

OnOutcome = Callable[[str], None]


class Sender(Protocol):
    """Who carries an event to the application."""

    async def send(self, webhook: Webhook) -> Verdict:
        """Hand it over. May be cancelled when it takes too long; what it raises counts as Retry."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Webhooks:
    """The events of one deployment. `on_outcome` hears of each attempt: an outcome, or `retried`."""

    name = "webhook"

    def __init__(
        self, *, database: Database, ids: IdFactory, clock: Clock, node_id: NodeId, sender: Sender, on_outcome: OnOutcome
    ) -> None:
        self.send = sender.send
        self._database = database
        self._ids = ids
        self._clock = clock
        self._node_id = node_id
        self._sender = sender
        self._on_outcome = on_outcome
        self._lane = Lane(self, clock, lease=LEASE, send_seconds=SEND_SECONDS, concurrency=CONCURRENCY)

    async def enqueue(
        self, connection: AsyncConnection, before: Call | None, after: Call, happened: Sequence[Happening], now: datetime
    ) -> None:
        """Write down what the saved change is told as. May run twice, like the transaction it is in. After the commit, `wake`."""
        events = events_of(before, after, happened, now)
        if events:
            ids = sorted(self._ids.new() for _ in events)  # those of one moment in the order of the events, too
            await store.insert_events(connection, list(zip(ids, events, strict=True)), now)

    async def enqueue_recording(
        self, connection: AsyncConnection, call: Call, recording_id: RecordingId, now: datetime, *, failure: str | None
    ) -> None:
        """Write down that the film of a recording is ready, or that there will be none. As `enqueue`."""
        last = await store.last_sequence(connection, call.call_id)
        kind = EventType.RECORDING_READY if failure is None else EventType.RECORDING_FAILED
        event = recording_event(kind, call, recording_id, now, after=last, reason=failure)
        await store.insert_events(connection, [(self._ids.new(), event)], now)

    def wake(self) -> None:
        """There may be something to send: look now."""
        self._lane.wake()

    async def after(self, event_id: UUID | None, limit: int) -> tuple[list[Kept], UUID | None]:
        """Up to `limit` events after that one, and the id to ask with next: the same one while nothing newer has settled."""
        found = await self._database.read(lambda connection: store.events_after(connection, event_id, limit))
        settled = [event.event_id for event in found if event.created_at <= self._clock.now() - SETTLED]
        return found, settled[-1] if settled else event_id

    # The loop

    async def start(self) -> None:
        """Nobody shares an SQLite file: what an earlier run was sending there is due at once."""
        if not self._database.is_shared:
            await self._database.transact(partial(store.release, now=self._clock.now()), isolation="committed")

    async def run(self) -> None:
        """Until cancelled: send, and forget what is old."""
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_running(self.name, self._lane.run))
            group.create_task(keep_running("old_webhooks", self._tidy))

    async def stop(self) -> None:
        """Once nothing runs any more, give back what was under way."""
        give_back = partial(store.release, now=self._clock.now(), owner=self._node_id)
        await self._database.transact(give_back, isolation="committed")

    async def close(self) -> None:
        """Let go of the connection to the application."""
        await self._sender.close()

    async def _tidy(self) -> None:
        while True:
            await self._clock.sleep(TIDYING_SECONDS)
            try:
                await self._database.transact(partial(store.forget_old_events, now=self._clock.now()), isolation="committed")
            except ServiceError as failure:
                log.warning("webhooks wait", reason=failure.detail)

    # The desk of the lane

    async def next_due(self) -> Mapping[str, datetime]:
        moment = await self._database.read(store.next_due)
        return {} if moment is None else {THE_APPLICATION: moment}

    async def claim(self, now: datetime, until: datetime, room: Mapping[str, int], limit: int) -> tuple[Sequence[Webhook], int]:
        places = min(room[THE_APPLICATION], limit)
        work = partial(store.claim, owner=self._node_id, now=now, until=until, limit=places)
        return await self._database.transact(work, isolation="committed")

    async def renew(self, webhooks: Sequence[Webhook], until: datetime) -> None:
        work = partial(store.renew, webhooks=webhooks, owner=self._node_id, until=until)
        await self._database.transact(work, isolation="committed")

    def service_of(self, webhook: Webhook) -> str:
        return THE_APPLICATION

    def judge(self, webhook: Webhook, verdict: Verdict, sent_at: datetime) -> Answer:
        """Whether it is over, and how, or when it is tried again: those behind it in its call wait with it."""
        now = self._clock.now()
        again = BACKOFF.again(verdict, webhook.attempts, now, webhook.expires_at)
        outcome = _outcome_of(verdict)
        word = "retried" if again is not None else outcome
        log.info(
            "webhook",
            call=short(webhook.call_id),
            event_id=str(webhook.event_id),
            type=str(webhook.type),
            outcome=word,
            detail=verdict.detail,
            attempt=webhook.attempts,
            ms=round((now - sent_at).total_seconds() * 1000),
        )
        self._on_outcome(word)
        return Answer(webhook.event_id, outcome, now, verdict.detail, again)

    async def record(self, answers: Sequence[Answer]) -> None:
        """Of what another has taken meanwhile nothing is written down: it sends it again, and its word counts."""
        work = partial(store.write_down, answers=answers, owner=self._node_id)
        await self._database.transact(work, isolation="committed")


def _outcome_of(verdict: Verdict) -> str:
    """The end that a verdict means; of a Retry, when there is no time left."""
    match verdict:
        case Delivered():
            return "delivered"
        case Gone() | Refused():
            return "refused"
        case Retry():
            return store.EXPIRED
