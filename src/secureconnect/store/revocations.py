"""Revoked sign-ins and users: the SQL. Access tokens themselves are stored nowhere.

Each function runs in the transaction of its caller. `accounts.revocations` keeps the results in memory and tells other nodes.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.ids import UserId
from secureconnect.store.tables import refresh_tokens, users


class NotBefore(Struct, frozen=True):
    """Tokens of a user that were issued before `moment` are refused, except those of the sign-in `kept`."""

    moment: datetime
    kept: UUID | None = None


class Revoked(NamedTuple):
    """What was revoked: sign-ins by family, users with their moment, disabled users. `enabled`: users with a moment who are not."""

    sign_ins: set[UUID]
    not_before: dict[UserId, NotBefore]
    disabled: set[UserId]
    enabled: set[UserId]


async def revoke_user_tokens(
    connection: AsyncConnection, user_id: UserId, before: datetime, *, at: datetime, kept: UUID | None = None
) -> list[UUID] | None:
    """Refuse the tokens of a user that were issued before a moment, and end the sign-ins.

    Args:
        connection: an open transaction.
        user_id: the user.
        before: the moment, as a rule now. One that is earlier than the stored one does not replace it.
        at: now.
        kept: the family of a sign-in that goes on, for example the one that changed the password.

    Returns:
        The families that ended, None if there is no such user.
    """
    query = select(users.c.tokens_not_before).where(users.c.user_id == user_id)
    found = (await connection.execute(query)).one_or_none()
    if found is None:
        return None
    if found.tokens_not_before is None or found.tokens_not_before <= before:
        values = {"tokens_not_before": before, "kept_sign_in": kept}
        await connection.execute(update(users).where(users.c.user_id == user_id).values(values))
    table = refresh_tokens.c
    theirs = table.user_id == user_id
    if kept is not None:
        theirs &= table.family_id != kept
    # A sign-in is as old as its first link.
    begun_before = func.min(table.created_at) <= before
    query_families = select(table.family_id).where(theirs).group_by(table.family_id).having(begun_before)
    begun = (await connection.execute(query_families)).scalars().all()
    alive = table.family_id.in_(begun) & table.revoked_at.is_(None)
    ended = await connection.execute(update(refresh_tokens).where(alive).values(revoked_at=at).returning(table.family_id))
    return list(set(ended.scalars()))


async def set_disabled(connection: AsyncConnection, user_id: UserId, at: datetime | None) -> None:
    """Disable a user, or enable one (None)."""
    await connection.execute(update(users).where(users.c.user_id == user_id).values(disabled_at=at))


async def read_revoked(connection: AsyncConnection, since: datetime, *, disabled_since: datetime | None = None) -> Revoked:
    """Read what was revoked after a moment; users who are disabled without one, or after theirs."""
    tokens, people = refresh_tokens.c, users.c
    sign_ins = await connection.execute(select(tokens.family_id).where(tokens.revoked_at > since).distinct())
    query = select(people.user_id, people.tokens_not_before, people.kept_sign_in, people.disabled_at)
    rows = (await connection.execute(query.where(people.tokens_not_before > since))).all()
    not_before = {UserId(row.user_id): NotBefore(row.tokens_not_before, row.kept_sign_in) for row in rows}
    enabled = {UserId(row.user_id) for row in rows if row.disabled_at is None}
    are_disabled = people.disabled_at.is_not(None) if disabled_since is None else people.disabled_at > disabled_since
    disabled = await connection.execute(select(people.user_id).where(are_disabled))
    return Revoked(set(sign_ins.scalars()), not_before, {UserId(user_id) for user_id in disabled.scalars()}, enabled)
