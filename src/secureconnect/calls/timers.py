"""Ring, grace and life deadlines, the lease by which a lost node is found, and tidying up. One loop, started by app.

The due times are in the database, so any node may fire them, twice or late: `CallService.tick` has one effect. Decides nothing.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.service import CallService
from secureconnect.clock import Clock
from secureconnect.errors import ServiceError
from secureconnect.ids import NodeId, short
from secureconnect.store import Database
from secureconnect.store import calls as store
from secureconnect.store.idempotency import forget_old

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
"""How often to look when nothing is due sooner: a deadline set by another node is seen at most this late."""
BATCH = 100
LEASE = timedelta(seconds=15)
"""A node that has not renewed for this long is taken for lost. Three renewals may fail before it comes to that."""
RENEWAL = timedelta(seconds=5)
TIDYING = timedelta(hours=1)


class Timers:
    """Fires what is due."""

    def __init__(self, *, service: CallService, database: Database, clock: Clock, node_id: NodeId) -> None:
        self._service = service
        self._database = database
        self._clock = clock
        self._node_id = node_id
        self._renew_at = clock.now()
        self._tidy_at = clock.now() + TIDYING

    async def start(self) -> None:
        """Take the lease. Nobody shares an SQLite file: what an earlier run left there is lost at once."""

        async def work(connection: AsyncConnection) -> None:
            if not self._database.is_shared:
                await store.end_all_leases(connection)
            await store.renew_lease(connection, self._node_id, self._clock.now() + LEASE)

        await self._database.transact(work)
        await self._find_lost_nodes()

    async def run(self) -> None:
        """Until cancelled: renew, find the lost, fire the due, wait. A database that is away is waited for."""
        while True:
            try:
                await self._renew_when_needed()
                await self.fire_due()
                await self._tidy_when_needed()
                pause = await self._until_next()
            except ServiceError as failure:
                log.warning("timers wait", reason=failure.detail)
                pause = POLL_SECONDS
            await self._clock.sleep(pause)

    async def stop(self) -> None:
        """Give the lease back, so that nobody waits for it to run out."""
        await self._database.transact(lambda connection: store.end_lease(connection, self._node_id))

    async def fire_due(self) -> None:
        """Tick every call that is due now."""
        while True:
            now = self._clock.now()
            calls = await self._database.read(lambda connection, now=now: store.due(connection, now, BATCH))  # type: ignore[misc]
            for call_id in calls:
                await self._guarded(lambda call_id=call_id: self._service.tick(call_id), call=short(call_id))  # type: ignore[misc]
            if len(calls) < BATCH:
                return

    async def _renew_when_needed(self) -> None:
        now = self._clock.now()
        if now < self._renew_at:
            return
        await self._database.transact(lambda connection: store.renew_lease(connection, self._node_id, now + LEASE))
        self._renew_at = now + RENEWAL
        await self._find_lost_nodes()

    async def _tidy_when_needed(self) -> None:
        now = self._clock.now()
        if now >= self._tidy_at:
            await self._database.transact(lambda connection: forget_old(connection, now))
            self._tidy_at = now + TIDYING

    async def _find_lost_nodes(self) -> None:
        now = self._clock.now()
        lost = await self._database.read(lambda connection: store.calls_of_lost_nodes(connection, now))
        for call_id, node_id in lost:
            await self._guarded(
                lambda call_id=call_id, node_id=node_id: self._service.node_lost(call_id, node_id),  # type: ignore[misc]
                call=short(call_id),
                lost_node=short(node_id),
            )

    async def _until_next(self) -> float:
        moment = await self._database.read(store.next_due)
        if moment is None:
            return POLL_SECONDS
        return min(POLL_SECONDS, max(0.01, (moment - self._clock.now()).total_seconds()))

    async def _guarded(self, deed: Callable[[], Awaitable[None]], **context: str) -> None:
        """One call that cannot be handled must not keep the others waiting; it stays due and is tried again."""
        try:
            await deed()
        except ServiceError as failure:
            log.warning("call not handled", reason=failure.detail, **context)
