"""Registration in the database: invitations, and whether the deployment began with 0.1. Called by accounts.registration."""

from datetime import datetime

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.ids import UserId
from secureconnect.store.access_tables import deployment, registration_invitations

UPGRADED_FROM = "upgraded_from"
"""Written by the migration when it finds a database of 0.1."""


async def began_with_open_registration(connection: AsyncConnection) -> bool:
    """Tell whether this database was made by 0.1, where everyone could register."""
    found = await connection.execute(select(deployment.c.value).where(deployment.c.name == UPGRADED_FROM))
    return found.first() is not None


async def insert_invitation(connection: AsyncConnection, token_hash: str, now: datetime, expires_at: datetime) -> None:
    """Keep an invitation, and delete those that expired unused."""
    table = registration_invitations
    await connection.execute(delete(table).where(table.c.expires_at <= now, table.c.used_at.is_(None)))
    await connection.execute(insert(table).values(token_hash=token_hash, created_at=now, expires_at=expires_at))


async def is_invited(connection: AsyncConnection, token_hash: str, now: datetime) -> bool:
    """Tell whether the invitation can still be used."""
    table = registration_invitations.c
    usable = (table.token_hash == token_hash) & table.used_at.is_(None) & (table.expires_at > now)
    return (await connection.execute(select(table.token_hash).where(usable))).first() is not None


async def use_invitation(connection: AsyncConnection, token_hash: str, user_id: UserId, now: datetime) -> bool:
    """Use the invitation up. Returns false if it is unknown, used or expired."""
    table = registration_invitations
    usable = (table.c.token_hash == token_hash) & table.c.used_at.is_(None) & (table.c.expires_at > now)
    return (await connection.execute(update(table).where(usable).values(used_at=now, used_by=user_id))).rowcount == 1
