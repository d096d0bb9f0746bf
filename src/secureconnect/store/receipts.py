"""Receipts of rings in the database: the SQL beside the function that runs it. Called by calls.receipt_book and calls.traces."""

from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.receipts import Receipt, ReceiptKey, ReceiptKind
from secureconnect.ids import CallId, DeviceId, UserId
from secureconnect.store.tables import call_participants, calls, ring_receipts

REMEMBERED = timedelta(days=30)
"""As long as pushes are."""
MAX_RECEIPTS = 80
"""Of one person in one call: twenty devices, and what each may say of a ring."""


async def insert_receipts(connection: AsyncConnection, receipts: Collection[Receipt]) -> dict[ReceiptKey, UserId | None]:
    """Keep those that are the first of their key.

    Of one person in one call, `MAX_RECEIPTS` are kept. Returns the keys of all that concern someone who was rung in that call,
    each with the caller when it is the first and is kept, else None.
    """
    named = {receipt.key.call_id for receipt in receipts}
    people = call_participants.c
    rung = (
        select(people.call_id, people.user_id, calls.c.caller_id)
        .join(calls, calls.c.call_id == people.call_id)
        .where(people.call_id.in_(named), people.rang_at.is_not(None))
    )
    callers = {(row.call_id, row.user_id): UserId(row.caller_id) for row in await connection.execute(rung)}
    meant = {receipt.key: receipt for receipt in receipts if (receipt.key.call_id, receipt.key.user_id) in callers}
    if not meant:
        return {}
    earlier = {receipt.key for receipt in await _find(connection, {key.call_id for key in meant})}
    amount = Counter((key.call_id, key.user_id) for key in earlier)
    first: list[ReceiptKey] = []
    for key in meant.keys() - earlier:
        # A client may call itself any device.
        if amount[key.call_id, key.user_id] < MAX_RECEIPTS:
            amount[key.call_id, key.user_id] += 1
            first.append(key)
    if first:
        await connection.execute(insert(ring_receipts), [_columns(meant[key]) for key in first])
    return {key: callers[key.call_id, key.user_id] if key in first else None for key in meant}


async def receipts_of(connection: AsyncConnection, call_id: CallId) -> list[Receipt]:
    """All of a call, the earliest first."""
    return sorted(await _find(connection, [call_id]), key=lambda receipt: receipt.at)


async def forget_old_receipts(connection: AsyncConnection, now: datetime) -> None:
    """What nobody will ask about any more."""
    await connection.execute(delete(ring_receipts).where(ring_receipts.c.at < now - REMEMBERED))


async def _find(connection: AsyncConnection, call_ids: Collection[CallId]) -> list[Receipt]:
    rows = await connection.execute(select(ring_receipts).where(ring_receipts.c.call_id.in_(call_ids)))
    return [
        Receipt(
            ReceiptKey(CallId(row.call_id), UserId(row.user_id), DeviceId(row.device_id), ReceiptKind(row.kind)), row.at, row.reason
        )
        for row in rows
    ]


def _columns(receipt: Receipt) -> dict[str, object]:
    key = {name: getattr(receipt.key, name) for name in ReceiptKey.__struct_fields__}
    return {**key, "at": receipt.at, "reason": receipt.reason}
