"""Devices in the database: the SQL beside the function that runs it. Called by accounts.devices and by the push outbox.

A row is one way to wake one device of one person. An address (token, subscription) belongs to one row: the last to show it has it.
"""

from collections.abc import Collection
from datetime import datetime
from hashlib import sha256
from typing import Any

from msgspec import Struct
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.ids import DeviceId, UserId
from secureconnect.push import Provider
from secureconnect.store.prepared import Prepared, given
from secureconnect.store.tables import devices


class Device(Struct, frozen=True):
    """One way to wake one device. `address` is a provider's token, or a Web Push subscription as JSON: a secret between both."""

    user_id: UserId
    device_id: DeviceId
    provider: Provider
    platform: str
    address: str
    created_at: datetime
    seen_at: datetime


async def put_device(connection: AsyncConnection, device: Device) -> Device:
    """Keep it in place of what was there, and take its address from whoever had it. Returns it with its first `created_at`."""
    table, address_hash = devices.c, _hash(device.address)
    mine = (table.user_id == device.user_id) & (table.device_id == device.device_id) & (table.provider == device.provider)
    earlier = (await connection.execute(select(table.created_at).where(mine))).one_or_none()
    await connection.execute(delete(devices).where(mine | (table.address_hash == address_hash)))
    created_at = device.created_at if earlier is None else earlier.created_at
    row = {name: getattr(device, name) for name in device.__struct_fields__} | {"created_at": created_at}
    await connection.execute(insert(devices).values(**row, address_hash=address_hash))
    return Device(**row)


async def devices_of(connection: AsyncConnection, user_ids: Collection[UserId]) -> list[Device]:
    """All ways to wake these people, the most recently seen first."""
    return [_device(row) for row in await _DEVICES.all(connection, user_ids=list(user_ids))]


async def remove_device(
    connection: AsyncConnection, user_id: UserId, device_id: DeviceId, provider: Provider | None = None
) -> None:
    """Every way to wake this device of this person, or the one by this provider."""
    table = devices.c
    query = delete(devices).where(table.user_id == user_id, table.device_id == device_id)
    await connection.execute(query if provider is None else query.where(table.provider == provider))


async def remove_address(connection: AsyncConnection, address: str) -> None:
    """What the provider says is gone. A device that has registered anew in between has another address, and stays."""
    await connection.execute(delete(devices).where(devices.c.address_hash == _hash(address)))


def _hash(address: str) -> str:
    return sha256(address.encode()).hexdigest()


def _device(row: Any) -> Device:
    return Device(
        user_id=UserId(row.user_id),
        device_id=DeviceId(row.device_id),
        provider=Provider(row.provider),
        platform=row.platform,
        address=row.address,
        created_at=row.created_at,
        seen_at=row.seen_at,
    )


_DEVICES = Prepared(
    select(devices)
    .where(devices.c.user_id.in_(given("user_ids", many=True)))
    .order_by(devices.c.seen_at.desc(), devices.c.device_id, devices.c.provider)
)
