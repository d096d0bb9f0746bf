"""Accounts as an operator manages them: the SQL. Called by accounts.administration and accounts.password.

Every function runs in the transaction of its caller. Revoking tokens is in store.revocations.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.ids import DeviceId, UserId
from secureconnect.store.tables import devices, password_resets, refresh_tokens, users
from secureconnect.store.unicode import fold

DELETED_NAME = "Deleted user"
"""Shown in place of the name of a deleted user, in conversations and calls of others."""


class UserRecord(Struct, frozen=True):
    """A user as an operator sees one. `sign_ins` counts those that have not ended; `seen_at` is when the last one was renewed."""

    user_id: UserId
    email: str | None
    display_name: str
    created_at: datetime
    has_password: bool
    disabled_at: datetime | None
    deleted_at: datetime | None
    sign_ins: int = 0
    seen_at: datetime | None = None


async def list_users(connection: AsyncConnection, words: str, now: datetime, *, limit: int, after: UUID | None) -> list[UserRecord]:
    """List users, the oldest first: those of whose name a word, or whose email, begins with `words`; all when it is empty."""
    query = _users().order_by(users.c.user_id).limit(limit)
    if words:
        by_name = users.c.search_text.contains(f" {fold(words)}", autoescape=True)
        query = query.where(by_name | users.c.email.istartswith(words.strip(), autoescape=True))
    if after is not None:
        query = query.where(users.c.user_id > after)
    return await _records(connection, query, now)


async def find_record(connection: AsyncConnection, user_id: UserId, now: datetime) -> UserRecord | None:
    """Find a user. None if there is no such user."""
    found = await _records(connection, _users().where(users.c.user_id == user_id), now)
    return found[0] if found else None


async def delete_push_addresses(connection: AsyncConnection, user_id: UserId, *, kept: DeviceId | None = None) -> None:
    """Wake the devices of a user no more, except one."""
    query = delete(devices).where(devices.c.user_id == user_id)
    await connection.execute(query if kept is None else query.where(devices.c.device_id != kept))


async def replace_password_hash(connection: AsyncConnection, user_id: UserId, former: str | None, password_hash: str) -> bool:
    """Set the hash of a password. Returns False, and changes nothing, if the present one is not `former`."""
    table = users.c
    is_former = table.password_hash.is_(None) if former is None else table.password_hash == former
    query = update(users).where(table.user_id == user_id, is_former).values(password_hash=password_hash)
    return (await connection.execute(query)).rowcount == 1


async def insert_reset(
    connection: AsyncConnection, token_hash: str, user_id: UserId, *, created_at: datetime, expires_at: datetime
) -> None:
    """Keep the hash of a token that resets a password. Earlier tokens of the user are void."""
    await delete_resets(connection, user_id)
    await connection.execute(
        insert(password_resets).values(token_hash=token_hash, user_id=user_id, created_at=created_at, expires_at=expires_at)
    )


async def find_reset(connection: AsyncConnection, token_hash: str, now: datetime) -> UserId | None:
    """Find the user whose password this token resets. None if it is unknown, used or expired."""
    table = password_resets.c
    query = select(table.user_id).where(table.token_hash == token_hash, table.expires_at > now)
    found = (await connection.execute(query)).scalar()
    return None if found is None else UserId(found)


async def delete_resets(connection: AsyncConnection, user_id: UserId) -> None:
    """Make all tokens void that reset the password of this user."""
    await connection.execute(delete(password_resets).where(password_resets.c.user_id == user_id))


async def begin_deletion(connection: AsyncConnection, user_id: UserId, at: datetime) -> None:
    """Delete what identifies a user and what lets the user in; `store.erasure` deletes the rest in batches.

    The row stays, because messages and calls of others refer to it.
    """
    await delete_resets(connection, user_id)
    await delete_push_addresses(connection, user_id)
    await connection.execute(
        update(users)
        .where(users.c.user_id == user_id)
        .values(
            email=None,
            password_hash=None,
            issuer=None,
            subject=None,
            display_name=DELETED_NAME,
            search_text="",
            disabled_at=at,
            deleted_at=at,
        )
    )


def _users() -> Select[Any]:
    table = users.c
    return select(
        table.user_id,
        table.email,
        table.display_name,
        table.created_at,
        table.password_hash.is_not(None).label("has_password"),
        table.disabled_at,
        table.deleted_at,
    )


async def _records(connection: AsyncConnection, query: Select[Any], now: datetime) -> list[UserRecord]:
    rows = (await connection.execute(query)).all()
    table = refresh_tokens.c
    lives = table.revoked_at.is_(None) & table.used_at.is_(None) & (table.expires_at > now)
    query_sign_ins = (
        select(table.user_id, func.count(table.family_id.distinct()).label("sign_ins"), func.max(table.created_at).label("seen_at"))
        .where(table.user_id.in_([row.user_id for row in rows]), lives)
        .group_by(table.user_id)
    )
    signed_in = {row.user_id: (row.sign_ins, row.seen_at) for row in await connection.execute(query_sign_ins)}
    found = []
    for row in rows:
        sign_ins, seen_at = signed_in.get(row.user_id, (0, None))
        columns = {**row._mapping, "has_password": bool(row.has_password)}
        found.append(UserRecord(**columns, sign_ins=sign_ins, seen_at=seen_at))
    return found
