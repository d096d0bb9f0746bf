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
from secureconnect.ops.loops import note_failure
from secureconnect.store import Database
from secureconnect.store import calls as store
from secureconnect.store.idempotency import forget_old
from secureconnect.store.receipts import forget_old_receipts

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
"""How often to look when nothing is due sooner: a deadline set by another node is seen at most this late."""
BATCH = 100
LEASE = timedelta(seconds=15)
"""A node that has not renewed for this long is taken for lost. Three renewals may fail before it comes to that."""
RENEWAL = timedelta(seconds=5)
LATE = RENEWAL / 2
"""Whoever renews later than this was kept from it. While the database is away everybody is, and no lease that ran out meanwhile
says that its node is lost; one that lives renews within `LEASE`. A lease cannot run out unless all others are as late as this."""
TIDYING = timedelta(hours=1)


class Timers:
    """Fires what is due."""

    def __init__(
        self,
        *,
        service: CallService,
        database: Database,
        clock: Clock,
        node_id: NodeId,
        on_lapse: Callable[[], None],
        on_fired: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`on_lapse` is called when the lease is held again after it had run out: others may have taken this node for lost.

        `on_fired` hears by how many seconds each deadline was late.
        """
        self._on_lapse = on_lapse
        self._service = service
        self._database = database
        self._clock = clock
        self._node_id = node_id
        self._renew_at = clock.now()
        self._judge_at = clock.now()
        self._tidy_at = clock.now() + TIDYING
        self._on_fired = on_fired
        self.lease_until = clock.now()
        """Until when others take this node for alive."""
        self.late_renewals = 0
        self.lost_calls = 0
        """Calls of nodes without a lease that this one took up since the start."""

    async def start(self) -> None:
        """Take the lease. Nobody shares an SQLite file: what an earlier run left there is lost at once.

        Of a database that others share, a newcomer cannot know whether it was away until now.
        """

        async def work(connection: AsyncConnection) -> None:
            if not self._database.is_shared:
                await store.end_all_leases(connection)
            await store.renew_lease(connection, self._node_id, self._clock.now() + LEASE)

        await self._database.transact(work)
        now = self._clock.now()
        self.lease_until = now + LEASE
        self._renew_at = now + RENEWAL
        self._judge_at = now + LEASE if self._database.is_shared else now
        await self._find_lost_nodes()

    async def run(self) -> None:
        """Until cancelled: renew, find the lost, fire the due, wait. A database that is away is waited for."""
        while True:
            try:
                await self._renew_when_needed()
                all_done = await self.fire_due()
                await self._tidy_when_needed()
                pause = await self._until_next() if all_done else POLL_SECONDS
            except ServiceError as failure:
                log.warning("timers wait", reason=failure.detail)
                pause = POLL_SECONDS
            except Exception as failure:
                note_failure("timers", failure)
                pause = POLL_SECONDS
            await self._clock.sleep(pause)

    async def stop(self) -> None:
        """Give the lease back, so that nobody waits for it to run out."""
        await self._database.transact(lambda connection: store.end_lease(connection, self._node_id))

    async def fire_due(self) -> bool:
        """Tick the calls that are due, at most `BATCH`: between two batches the lease is renewed. Returns whether all went well."""
        now = self._clock.now()
        calls = await self._database.read(lambda connection: store.due(connection, now, BATCH))
        went_well = True
        for call_id, due_at in calls:
            late = (self._clock.now() - due_at).total_seconds()
            if await self._guarded(lambda call_id=call_id: self._service.tick(call_id), call=short(call_id)):  # type: ignore[misc]
                self._on_fired(late)
            else:
                went_well = False
        return went_well

    async def _renew_when_needed(self) -> None:
        now = self._clock.now()
        if now < self._renew_at:
            return
        await self._database.transact(lambda connection: store.renew_lease(connection, self._node_id, now + LEASE))
        has_lapsed = self._clock.now() > self.lease_until
        self.lease_until = now + LEASE
        if self._clock.now() > self._renew_at + LATE:
            self.late_renewals += 1
            log.warning("lease renewed late", seconds=round((self._clock.now() - self._renew_at).total_seconds(), 1))
            self._judge_at = self._clock.now() + LEASE
        self._renew_at = now + RENEWAL
        if has_lapsed and self._database.is_shared:
            self._on_lapse()
        await self._find_lost_nodes()

    async def _tidy_when_needed(self) -> None:
        now = self._clock.now()
        if now >= self._tidy_at:
            await self._database.transact(lambda connection: forget_old(connection, now))
            await self._database.transact(lambda connection: forget_old_receipts(connection, now))
            self._tidy_at = now + TIDYING

    async def _find_lost_nodes(self) -> None:
        now = self._clock.now()
        if now < self._judge_at:
            return
        lost = await self._database.read(lambda connection: store.calls_of_lost_nodes(connection, now))
        self.lost_calls += len(lost)
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

    async def _guarded(self, deed: Callable[[], Awaitable[None]], **context: str) -> bool:
        """One call that cannot be handled, whatever the reason, keeps no other waiting; it stays due and is tried again."""
        try:
            await deed()
        except ServiceError as failure:
            log.warning("call not handled", reason=failure.detail, **context)
        except Exception:
            log.exception("call not handled", **context)
        else:
            return True
        return False
