"""Users and refresh tokens: the SQL, beside the functions that run it. Called by accounts.service; chat.service asks who exists.

Every function takes the connection of a transaction that its caller opened; none of them hashes, signs or decides.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from sqlalchemy import ColumnElement, Row, Select, Text, case, delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.ids import DeviceId, UserId
from secureconnect.store.tables import conversation_members, conversations, refresh_tokens, users
from secureconnect.store.unicode import fold


class User(Struct, frozen=True):
    """A person. `email` is null for those whom an outside identity provider vouches for."""

    user_id: UserId
    email: str | None
    display_name: str


class Person(Struct, frozen=True):
    """A user as others find them: without the email."""

    user_id: UserId
    display_name: str


class Account(Struct, frozen=True):
    """A user and what proves a sign-in. Apart from User, so that the hash cannot slip into an answer."""

    user: User
    password_hash: str | None


class Identity(Struct, frozen=True):
    """Who an outside party says somebody is: the `iss` and `sub` of a token (RFC 7519, section 4.1)."""

    issuer: str
    subject: str


class RefreshToken(Struct, frozen=True):
    """One link of a family: a sign-in is a family, each refresh adds a link and uses up the one before."""

    token_hash: str
    family_id: UUID
    user_id: UserId
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    revoked_at: datetime | None = None
    device_id: DeviceId | None = None
    network_mark: str | None = None


class SignedInDevice(Struct, frozen=True):
    """A device with a sign-in that has not ended."""

    device_id: DeviceId
    created_at: datetime
    seen_at: datetime


async def insert_user(
    connection: AsyncConnection,
    user: User,
    created_at: datetime,
    *,
    password_hash: str | None = None,
    identity: Identity | None = None,
) -> None:
    await connection.execute(
        insert(users).values(
            user_id=user.user_id,
            email=user.email,
            display_name=user.display_name,
            password_hash=password_hash,
            issuer=identity.issuer if identity else None,
            subject=identity.subject if identity else None,
            # A space before every word turns "prefix of a word" into one LIKE.
            search_text=f" {fold(user.display_name)}",
            created_at=created_at,
        )
    )


async def find_user(connection: AsyncConnection, user_id: UserId) -> User | None:
    row = (await connection.execute(_user_columns().where(users.c.user_id == user_id))).one_or_none()
    return None if row is None else _user(row)


async def find_users(connection: AsyncConnection, user_ids: Collection[UserId]) -> list[User]:
    """Those of `user_ids` that exist and were not deleted, in no order."""
    query = _user_columns().where(users.c.user_id.in_(user_ids), users.c.deleted_at.is_(None))
    rows = await connection.execute(query)
    return [_user(row) for row in rows]


async def find_user_by_identity(connection: AsyncConnection, identity: Identity) -> User | None:
    query = _user_columns().where(users.c.issuer == identity.issuer, users.c.subject == identity.subject)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _user(row)


async def find_account(connection: AsyncConnection, *, email: str | None = None, user_id: UUID | None = None) -> Account | None:
    """The account with this email or, when none is given, with this id."""
    query = _user_columns().add_columns(users.c.password_hash)
    query = query.where(users.c.email == email if email is not None else users.c.user_id == user_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Account(_user(row), row.password_hash)


async def find_account_by_emails(connection: AsyncConnection, spellings: Sequence[str]) -> Account | None:
    """The account with one of these emails: the first of them that there is an account for."""
    query = _user_columns().add_columns(users.c.password_hash).where(users.c.email.in_(spellings))
    found = {row.email: Account(_user(row), row.password_hash) for row in await connection.execute(query)}
    return next((found[email] for email in spellings if email in found), None)


async def search_users(
    connection: AsyncConnection, words: str, *, asking: UserId, emails: Sequence[str] | None, limit: int, after: UUID | None
) -> list[Person]:
    """Find people in whose name a word begins with `words`, in the order in which they were made.

    Args:
        connection: Of an open transaction.
        words: The beginning of a word.
        asking: Who asks, and is not found.
        emails: Search all users, also those with one of these emails; None: only people who share a conversation with `asking`.
        limit: The most people.
        after: Only those after this id.
    """
    fits = _searched_name().contains(f" {fold(words)}", autoescape=True)
    if emails:
        fits = fits | users.c.email.in_(emails)
    query = select(users.c.user_id, users.c.display_name).where(fits, users.c.user_id != asking, users.c.disabled_at.is_(None))
    if emails is None:
        query = query.where(users.c.user_id.in_(_in_conversation_with(asking)))
    if after is not None:
        query = query.where(users.c.user_id > after)
    rows = await connection.execute(query.order_by(users.c.user_id).limit(limit))
    return [Person(UserId(row.user_id), row.display_name) for row in rows]


async def set_password_hash(connection: AsyncConnection, user_id: UserId, password_hash: str) -> None:
    await connection.execute(update(users).where(users.c.user_id == user_id).values(password_hash=password_hash))


async def insert_refresh_token(connection: AsyncConnection, token: RefreshToken) -> None:
    """Keep a new link, and forget the user's expired ones: the table stays as small as the sign-ins that live."""
    table = refresh_tokens
    await connection.execute(delete(table).where(table.c.user_id == token.user_id, table.c.expires_at <= token.created_at))
    await connection.execute(
        insert(table).values(
            token_hash=token.token_hash,
            family_id=token.family_id,
            user_id=token.user_id,
            created_at=token.created_at,
            expires_at=token.expires_at,
            device_id=token.device_id,
            network_mark=token.network_mark,
        )
    )


async def find_refresh_token(connection: AsyncConnection, token_hash: str) -> RefreshToken | None:
    row = (await connection.execute(select(refresh_tokens).where(refresh_tokens.c.token_hash == token_hash))).one_or_none()
    return None if row is None else RefreshToken(**row._mapping)


async def use_refresh_token(connection: AsyncConnection, token_hash: str, at: datetime) -> None:
    """Mark the link as used."""
    await connection.execute(update(refresh_tokens).where(refresh_tokens.c.token_hash == token_hash).values(used_at=at))


async def use_family(connection: AsyncConnection, family_id: UUID, at: datetime) -> None:
    """Mark all links of a family as used at `at` or earlier: only one that is made afterwards is good."""
    table = refresh_tokens.c
    is_later = table.used_at.is_(None) | (table.used_at > at)
    await connection.execute(update(refresh_tokens).where(table.family_id == family_id, is_later).values(used_at=at))


async def count_successors(connection: AsyncConnection, family_id: UUID, used_at: datetime) -> tuple[int, int]:
    """Count links of a family after a link was used: those that were used later, and those that were made since."""
    table = refresh_tokens.c
    later = func.count().filter(table.used_at > used_at)
    made = func.count().filter(table.created_at >= used_at)
    row = (await connection.execute(select(later, made).where(table.family_id == family_id))).one()
    return int(row[0]), int(row[1])


async def family_of(connection: AsyncConnection, family_id: UUID) -> UserId | None:
    """The user whose sign-in this is. None if it is unknown or has ended."""
    table = refresh_tokens.c
    query = select(table.user_id).where(table.family_id == family_id, table.revoked_at.is_(None)).limit(1)
    found = (await connection.execute(query)).scalar()
    return None if found is None else UserId(found)


async def is_enabled(connection: AsyncConnection, user_id: UserId) -> bool:
    """Whether the user is there and not disabled."""
    query = select(users.c.user_id).where(users.c.user_id == user_id, users.c.disabled_at.is_(None))
    return (await connection.execute(query)).scalar() is not None


async def revoke_family(connection: AsyncConnection, family_id: UUID, at: datetime) -> None:
    table = refresh_tokens
    query = update(table).where(table.c.family_id == family_id, table.c.revoked_at.is_(None)).values(revoked_at=at)
    await connection.execute(query)


async def revoke_device(connection: AsyncConnection, user_id: UserId, device_id: DeviceId, at: datetime) -> list[UUID]:
    """End every sign-in of this device of this user; their families."""
    table = refresh_tokens.c
    theirs = (table.user_id == user_id) & (table.device_id == device_id) & table.revoked_at.is_(None)
    query = update(refresh_tokens).where(theirs).values(revoked_at=at).returning(table.family_id)
    return list({row.family_id for row in await connection.execute(query)})


async def signed_in_devices(connection: AsyncConnection, user_id: UserId, now: datetime) -> list[SignedInDevice]:
    """The devices that this user is signed in on and that said which they are, each with its first and last sign of life."""
    table = refresh_tokens.c
    lives = (table.user_id == user_id) & table.device_id.is_not(None) & table.revoked_at.is_(None) & (table.expires_at > now)
    query = (
        select(table.device_id, func.min(table.created_at).label("first"), func.max(table.created_at).label("last"))
        .where(lives)
        .group_by(table.device_id)
    )
    return [SignedInDevice(DeviceId(row.device_id), row.first, row.last) for row in await connection.execute(query)]


async def ended_since(connection: AsyncConnection, moment: datetime) -> set[UUID]:
    """The families that were ended after then."""
    table = refresh_tokens.c
    return {row.family_id for row in await connection.execute(select(table.family_id).where(table.revoked_at > moment).distinct())}


def _searched_name() -> ColumnElement[str]:
    """What is searched. A node of 0.1 appends the email to it, which during an upgrade must not be found by its beginning."""
    without_email = func.replace(users.c.search_text, literal(" ") + users.c.email, "", type_=Text())
    return case((users.c.email.is_(None), users.c.search_text), else_=without_email)


def _in_conversation_with(user_id: UserId) -> Select[tuple[UUID]]:
    mine, theirs = conversation_members.alias("mine"), conversation_members.alias("theirs")
    return (
        select(theirs.c.user_id)
        .join(mine, mine.c.conversation_id == theirs.c.conversation_id)
        .join(conversations, conversations.c.conversation_id == theirs.c.conversation_id)
        .where(mine.c.user_id == user_id, conversations.c.deleted_at.is_(None))
    )


def _user_columns() -> Select[tuple[UUID, str | None, str]]:
    return select(users.c.user_id, users.c.email, users.c.display_name)


def _user(row: Row[tuple[UUID, str | None, str]]) -> User:
    return User(UserId(row.user_id), row.email, row.display_name)
