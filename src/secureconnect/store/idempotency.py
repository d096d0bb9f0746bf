"""Idempotency keys: which request made which resource. Called inside the transaction that makes the resource."""

from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.errors import IdempotencyKeyReused
from secureconnect.store.prepared import Prepared, given
from secureconnect.store.tables import idempotency_keys

REMEMBERED = timedelta(days=2)
"""How long a key is known: a client that repeats a request does so within minutes."""


class Idempotency(msgspec.Struct, frozen=True):
    """A client's promise that all requests with this key are one request.

    `scope` separates users and kinds of resource, so that nobody's key finds somebody else's.
    """

    scope: str
    key: str
    fingerprint: str

    @classmethod
    def of(cls, owner: UUID | str, kind: str, key: str | None, body: msgspec.Struct) -> "Idempotency | None":
        """The promise behind an `Idempotency-Key` header, or None when there is none."""
        if key is None:
            return None
        return cls(scope=f"{kind}:{owner}"[:64], key=key, fingerprint=sha256(msgspec.json.encode(body)).hexdigest())


async def find_or_claim(connection: AsyncConnection, promise: Idempotency | None, resource_id: UUID, now: datetime) -> UUID | None:
    """The id that an earlier request with this key made, or None after `resource_id` has been noted as made by this one.

    Raises IdempotencyKeyReused when the key came with another request.
    """
    if promise is None:
        return None
    known = await _FIND.all(connection, scope=promise.scope, key=promise.key)
    if not known:
        await _CLAIM.run(
            connection,
            scope=promise.scope,
            key=promise.key,
            fingerprint=promise.fingerprint,
            resource_id=resource_id,
            created_at=now,
        )
        return None
    found = known[0]
    if found.fingerprint != promise.fingerprint:
        raise IdempotencyKeyReused
    earlier: UUID = found.resource_id
    return earlier


async def is_known(connection: AsyncConnection, promise: Idempotency | None) -> bool:
    """Tell whether an earlier request came with this key."""
    return promise is not None and bool(await _FIND.all(connection, scope=promise.scope, key=promise.key))


async def forget_old(connection: AsyncConnection, now: datetime) -> None:
    """Keys that nobody will repeat any more."""
    await connection.execute(delete(idempotency_keys).where(idempotency_keys.c.created_at < now - REMEMBERED))


_table = idempotency_keys.c
_FIND = Prepared(select(_table.fingerprint, _table.resource_id).where(_table.scope == given("scope"), _table.key == given("key")))
_CLAIM = Prepared(insert(idempotency_keys))
