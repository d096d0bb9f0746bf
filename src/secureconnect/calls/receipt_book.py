"""Receipts of rings: a ring went out on a socket, a device showed it, an answer was refused. Called by signaling.inbox, api.calls.

They come one by one and are written down together, a few times a second: a ring costs the database no transaction of its own.
A process that dies loses those of the last moment. Decides nothing about calls.
"""

import asyncio
from functools import partial

import structlog

from secureconnect.bus import Bus
from secureconnect.calls.announce import Announcer
from secureconnect.calls.receipts import UNNAMED, Receipt, ReceiptKey, ReceiptKind
from secureconnect.clock import Clock
from secureconnect.errors import Internal, NotFound, ServiceError, Unavailable
from secureconnect.ids import CallId, DeviceId, UserId
from secureconnect.ops.loops import note_failure
from secureconnect.store import Database
from secureconnect.store.receipts import insert_receipts

log = structlog.get_logger(__name__)

BATCH_SECONDS = 0.1
"""How long receipts wait for others to be written down with them."""
BATCH = 200
WAITING = 20_000
"""That may wait while the database is away; more are not kept."""
RETRY_SECONDS = 1.0

_Waiter = asyncio.Future[bool]


class ReceiptBook:
    """Takes receipts down. `run` writes them, and tells the caller of each device that shows the ring."""

    def __init__(self, *, database: Database, bus: Bus, clock: Clock) -> None:
        self._database = database
        self._announcer = Announcer(bus)
        self._clock = clock
        self._waiting: dict[ReceiptKey, tuple[Receipt, list[_Waiter]]] = {}
        self._bell = asyncio.Event()

    def delivered(self, user_id: UserId, call_id: CallId, device_id: DeviceId | None) -> None:
        """The ring was written to this device's events socket."""
        self._note(call_id, user_id, device_id, ReceiptKind.DELIVERED)

    def shown(self, user_id: UserId, call_id: CallId, device_id: DeviceId | None) -> None:
        """The device says that its person can see or hear the ring. Of a call that did not ring them nothing is kept."""
        self._note(call_id, user_id, device_id, ReceiptKind.SHOWN)

    def refused(self, user_id: UserId, call_id: CallId, device_id: DeviceId | None, code: str) -> None:
        """The device wanted to answer and was told why not."""
        self._note(call_id, user_id, device_id, ReceiptKind.REFUSED, reason=code)

    async def acknowledge(self, user_id: UserId, call_id: CallId, device_id: DeviceId | None) -> None:
        """The same as `shown`; returns when it is written down. Raises NotFound when this call never rang at this person."""
        known: _Waiter = asyncio.get_running_loop().create_future()
        if not self._note(call_id, user_id, device_id, ReceiptKind.SHOWN, waiter=known):
            raise Unavailable("Too much waits for the database; nothing was kept.")
        if not await known:
            raise NotFound

    async def run(self) -> None:
        """Until cancelled: write down what comes, a moment after the first of them. A database that is away is waited for."""
        while True:
            self._bell.clear()
            if not self._waiting:
                await self._bell.wait()
            await self._clock.sleep(BATCH_SECONDS)
            try:
                await self.flush()
            except ServiceError as failure:
                log.warning("receipts wait", reason=failure.detail, waiting=len(self._waiting))
                self._refuse_who_waits(failure)
                await self._clock.sleep(RETRY_SECONDS)
            except Exception as failure:
                note_failure("receipts", failure)
                self._refuse_who_waits(Internal())
                await self._clock.sleep(RETRY_SECONDS)

    async def flush(self) -> None:
        """Write down all that wait. Raises Unavailable; then they wait on."""
        while self._waiting:
            batch = list(self._waiting.values())[:BATCH]
            receipts = [receipt for receipt, _ in batch]
            kept = await self._database.transact(partial(insert_receipts, receipts=receipts), isolation="committed")
            for receipt in receipts:
                for waiter in self._waiting.pop(receipt.key)[1]:
                    if not waiter.done():
                        waiter.set_result(receipt.key in kept)
                caller_id = kept.get(receipt.key)
                if receipt.key.kind is ReceiptKind.SHOWN and caller_id is not None:
                    self._announcer.ringing(receipt.key.call_id, caller_id, receipt.key.user_id, self._clock.now())

    def _note(
        self,
        call_id: CallId,
        user_id: UserId,
        device_id: DeviceId | None,
        kind: ReceiptKind,
        *,
        reason: str = "",
        waiter: _Waiter | None = None,
    ) -> bool:
        key = ReceiptKey(call_id, user_id, device_id or UNNAMED, kind)
        entry = self._waiting.get(key)
        if entry is None:
            if len(self._waiting) >= WAITING:
                return False
            entry = self._waiting[key] = (Receipt(key, self._clock.now(), reason), [])
            self._bell.set()
        if waiter is not None:
            entry[1].append(waiter)
        return True

    def _refuse_who_waits(self, failure: ServiceError) -> None:
        for _, waiters in self._waiting.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(failure)
