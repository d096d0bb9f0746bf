"""When the server's internal keys changed: the SQL beside the function that runs it. Called by app."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.store.tables import internal_keys

DERIVED = 1
"""The version of keys that are derived with HKDF."""


async def derived_keys_start(connection: AsyncConnection) -> datetime:
    """From when on calls and recordings use derived keys. The migration that made the table wrote it."""
    query = select(internal_keys.c.starts_at).where(internal_keys.c.version == DERIVED)
    moment: datetime = (await connection.execute(query)).scalar_one()
    return moment
