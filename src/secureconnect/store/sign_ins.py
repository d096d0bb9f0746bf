"""What an account knows of a client that signs in: the SQL. Called by accounts.sign_in_limits."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.ids import DeviceId, UserId
from secureconnect.store.tables import refresh_tokens


class Familiarity(Struct, frozen=True):
    """`device` names the device or sign-in that the client has proved; `network`: the account has signed in from there before."""

    device: UUID | None = None
    network: bool = False


async def familiarity_of(
    connection: AsyncConnection,
    user_id: UserId,
    *,
    device_id: DeviceId | None,
    token_hashes: Collection[str],
    network_mark: str,
    now: datetime,
) -> Familiarity:
    """Return what this user's sign-ins of the last weeks say of a client. A device that was signed out is not known."""
    table = refresh_tokens.c
    lives = table.revoked_at.is_(None)
    proofs = [and_(table.token_hash.in_(token_hashes), lives)] if token_hashes else []
    if device_id is not None:
        proofs.append(and_(table.device_id == device_id, lives))
    query = (
        select(table.device_id, table.family_id, table.revoked_at, table.token_hash, table.network_mark)
        .where(table.user_id == user_id, table.expires_at > now, or_(table.network_mark == network_mark, *proofs))
        .order_by(table.created_at.desc())
        .limit(200)
    )
    device, network = None, False
    for row in await connection.execute(query):
        network = network or row.network_mark == network_mark
        if row.revoked_at is None and (row.token_hash in token_hashes or (device_id is not None and row.device_id == device_id)):
            device = device or row.device_id or row.family_id
    return Familiarity(device, network)
