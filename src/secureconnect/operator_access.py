"""What an operator's command needs to manage accounts: the services, on the database and, where nodes share one, the bus."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from uuid import uuid4

import structlog

from secureconnect.accounts.administration import Administration
from secureconnect.accounts.password import RESET_LIFETIME, create_reset
from secureconnect.accounts.registration import invite
from secureconnect.accounts.revocations import Revocations
from secureconnect.bus import open_bus
from secureconnect.clock import SystemClock, unix_microseconds
from secureconnect.config import Settings
from secureconnect.errors import Unprocessable
from secureconnect.ids import IdFactory
from secureconnect.store import Database
from secureconnect.store.account_admin import UserRecord

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 2.0
"""How long a command waits for the bus. Nodes that did not hear read the database anyway."""


class OperatorAccess:
    """The services of one command."""

    def __init__(self, settings: Settings, database: Database, administration: Administration) -> None:
        self.administration = administration
        self._settings = settings
        self._database = database

    async def make_reset_link(self, user: UserRecord) -> tuple[str, int]:
        """Make a link that sets a new password once; with it the seconds it works. Raises Unprocessable, Unavailable."""
        if user.email is None:
            raise Unprocessable("This account has no email to sign in with: its identity provider or application signs it in.")
        if user.disabled_at is not None:
            raise Unprocessable("This account is disabled: enable it first.")
        token = await create_reset(self._database, SystemClock().now(), user.user_id)
        return f"{_origin(self._settings)}/#reset={token}", int(RESET_LIFETIME.total_seconds())

    async def make_invitation_link(self, lifetime: timedelta) -> str:
        """Make a link with which one person can register. Raises Unavailable."""
        token = await invite(self._database, SystemClock().now(), lifetime)
        return f"{_origin(self._settings)}/#invitation={token}"


@asynccontextmanager
async def open_operator_access(settings: Settings, database: Database) -> AsyncIterator[OperatorAccess]:
    """Give the services, and wait at the end until running nodes have been told, as far as they can be."""
    clock = SystemClock()
    bus = open_bus(settings.bus_url, clock, f"operator-{uuid4()}")
    running = asyncio.ensure_future(bus.run())
    revocations = Revocations(database=database, bus=bus, clock=clock, lifetime=settings.max_token_lifetime)
    ids = IdFactory(lambda: unix_microseconds(clock.now()) // 1000, os.urandom)
    try:
        yield OperatorAccess(settings, database, Administration(database=database, ids=ids, clock=clock, revocations=revocations))
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await bus.flush()
        except TimeoutError:
            log.warning("nodes not told", reason="the bus does not answer; they read the database within seconds")
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await bus.close()


def _origin(settings: Settings) -> str:
    """Where clients reach the server."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    return f"{'https' if settings.tls_certificate else 'http'}://localhost:{settings.port}"
