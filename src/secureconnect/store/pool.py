"""Connections that stay open from one transaction to the next. Called by the door of this room; knows no statement of ours.

SQLAlchemy opens them and runs what is not prepared; it neither pools them nor begins or ends anything: its checkout and its
transaction cost more than the statements between them.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from secureconnect.store.failures import is_of_the_server
from secureconnect.store.prepared import SqliteConnection, driver_of

log = structlog.get_logger(__name__)

ROLL_BACK_SECONDS = 1.0
"""How long a database may take to roll back. One that hangs must not keep whoever gave up on it; it rolls back when it hears that
the connection is gone."""


class Pool:
    """At most `size` connections. Whoever waits longer than `patience` seconds for one gets TimeoutError."""

    def __init__(self, engine: AsyncEngine, size: int, patience: float) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self.size = size
        self.in_use = 0
        self._patience = patience
        self._places = asyncio.Semaphore(size)
        self._idle: list[AsyncConnection] = []
        self._renewals = 0

    @asynccontextmanager
    async def begun(self, begin: str) -> AsyncIterator[AsyncConnection]:
        """A connection on which `begin` was said. COMMIT follows, or ROLLBACK when the block raises."""
        async with asyncio.timeout(self._patience):
            await self._places.acquire()
        self.in_use += 1
        renewals = self._renewals
        try:
            connection = await self._begin(begin)
            try:
                yield connection
                await driver_of(connection).execute("COMMIT")
                await _forget(connection)
            except BaseException as failure:
                if is_of_the_server(failure):
                    await self._renew(type(failure).__name__)
                await self._roll_back(connection, renewals)
                raise
            await self._keep(connection, renewals)
        finally:
            self.in_use -= 1
            self._places.release()

    async def _keep(self, connection: AsyncConnection, renewals: int) -> None:
        """Keep a connection for the next one, unless all of its time have been replaced."""
        if renewals == self._renewals:
            self._idle.append(connection)
        else:
            await _discard(connection)

    async def _renew(self, reason: str) -> None:
        """Drop all connections: this server may be the wrong one by now. Those in use are dropped when they come back."""
        log.info("database connections replaced", reason=reason)
        self._renewals += 1
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_discard(connection) for connection in idle))

    async def close(self) -> None:
        """Let go of those that nobody uses."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()

    async def _begin(self, begin: str) -> AsyncConnection:
        """One that died while nobody used it is replaced, and so are all others of that time: nothing was begun on them."""
        renewals = self._renewals
        if self._idle:
            connection = self._idle.pop()
            try:
                await driver_of(connection).execute(begin)
            except BaseException as failure:
                if isinstance(driver_of(connection), SqliteConnection) or not isinstance(failure, Exception):
                    await self._roll_back(connection, renewals)
                    raise
                log.info("connection lost", error=type(failure).__name__)
                dead, self._idle = [connection, *self._idle], []
                await asyncio.gather(*(_discard(one) for one in dead))
            else:
                return connection
        connection = await self._engine.connect()
        try:
            await driver_of(connection).execute(begin)
        except BaseException as failure:
            if is_of_the_server(failure):
                await self._renew(type(failure).__name__)
            await self._roll_back(connection, renewals)
            raise
        return connection

    async def _roll_back(self, connection: AsyncConnection, renewals: int) -> None:
        """Leave nothing begun on a connection that is kept; one on which that fails is not kept."""
        try:
            if not connection.invalidated:
                driver = driver_of(connection)
                async with asyncio.timeout(ROLL_BACK_SECONDS):
                    await (driver.rollback() if isinstance(driver, SqliteConnection) else driver.execute("ROLLBACK"))
                    await _forget(connection)
                await self._keep(connection, renewals)
                return
        except Exception as failure:  # whatever it is: the transaction has its own failure to tell
            log.info("connection lost", error=type(failure).__name__)
        await _discard(connection)


async def _forget(connection: AsyncConnection) -> None:
    """What ran through SQLAlchemy left it with a transaction of its own making, of which the database knows nothing."""
    if connection.in_transaction():
        await connection.rollback()


async def _discard(connection: AsyncConnection) -> None:
    if not connection.invalidated:
        await connection.invalidate()
    await connection.close()
