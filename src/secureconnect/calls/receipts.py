"""Receipts as values: what one device made of one ring. Pure.

`calls.receipt_book` takes them down, `store.receipts` keeps them, `calls.trace` tells of them.
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from secureconnect.ids import CallId, DeviceId, UserId

UNNAMED = DeviceId(UUID(int=0))
"""All devices of a person that give no name."""


class ReceiptKind(StrEnum):
    """`delivered`: the ring went out on the device's events socket. `shown`: the device says so. `refused`: it wanted to answer."""

    DELIVERED = "delivered"
    SHOWN = "shown"
    REFUSED = "refused"


class ReceiptKey(Struct, frozen=True):
    """What there is one receipt of."""

    call_id: CallId
    user_id: UserId
    device_id: DeviceId
    kind: ReceiptKind


class Receipt(Struct, frozen=True):
    """What one device made of one ring, and when. `reason`: of a refusal, its code."""

    key: ReceiptKey
    at: datetime
    reason: str = ""
