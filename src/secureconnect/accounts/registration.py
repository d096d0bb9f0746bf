"""Who may make an account here, and whom a search finds. Asked by accounts.service and by the page before anyone signs in.

Holds the policy as values and the invitations that an operator makes. Making the account is in accounts.service.
"""

import secrets
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.access_errors import InvitationRequired, RegistrationClosed
from secureconnect.clock import Clock
from secureconnect.ids import UserId
from secureconnect.store import Database
from secureconnect.store import registration as store

RegistrationMode = Literal["open", "invited", "off"]
Directory = Literal["off", "conversations", "application"]


class PublicConfig(Struct, frozen=True):
    """What a page must know before anyone signs in. `demo`: this is a demo server, whose links sign in."""

    registration: RegistrationMode
    demo: bool


class Registration:
    """The rule for new accounts.

    Args:
        mode: As configured. None means open for a demo and for a database that 0.1 made, and off for others.
        directory: As configured. None means application for a demo, and conversations for others.
    """

    def __init__(
        self, database: Database, clock: Clock, mode: RegistrationMode | None, directory: Directory | None, *, demo: bool
    ) -> None:
        self.mode: RegistrationMode = mode or ("open" if demo else "off")
        self.directory: Directory = directory or ("application" if demo else "conversations")
        self.demo = demo
        self._follows_database = mode is None and not demo
        self._database = database
        self._clock = clock

    async def load(self) -> None:
        """Read from the database whether an existing deployment keeps its open registration."""
        if self._follows_database and await self._database.read(store.began_with_open_registration):
            self.mode = "open"

    @property
    def public(self) -> PublicConfig:
        return PublicConfig(self.mode, self.demo)

    async def check(self, invitation: str | None, *, repeats: bool) -> None:
        """Refuse before any expensive work. A request that repeats an earlier one needs no second invitation.

        Raises:
            RegistrationClosed: Only an operator makes accounts.
            InvitationRequired: The invitation is missing, unknown, used or expired.
        """
        if self.mode == "off":
            raise RegistrationClosed
        if self.mode == "open" or repeats:
            return
        now, token_hash = self._clock.now(), _hash(invitation or "")
        if not await self._database.read(lambda connection: store.is_invited(connection, token_hash, now)):
            raise InvitationRequired

    async def admit(self, connection: AsyncConnection, user_id: UserId, invitation: str | None) -> None:
        """Use the invitation up, in the transaction that makes the account.

        Raises:
            InvitationRequired: Another account used it in the meantime.
        """
        if self.mode == "invited" and not await store.use_invitation(
            connection, _hash(invitation or ""), user_id, self._clock.now()
        ):
            raise InvitationRequired


async def invite(database: Database, now: datetime, lifetime: timedelta) -> str:
    """Make an invitation for one account. The token is returned here only; the database keeps its hash."""
    token = secrets.token_urlsafe(32)
    await database.transact(
        lambda connection: store.insert_invitation(connection, _hash(token), now, now + lifetime), isolation="committed"
    )
    return token


def _hash(token: str) -> str:
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
