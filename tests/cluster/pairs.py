"""Two servers behind one address, of which one takes over from the other: PostgreSQL with a hot standby, Redis with a replica."""

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fakes.postgres import PostgresServer
from tests.fakes.redis import KEPT, RedisServer, wait_until
from tests.fakes.switch import Switch


class PostgresPair:
    """A primary and its standby. `switch_over` exchanges them, however often."""

    def __init__(self) -> None:
        self.primary = PostgresServer()
        self.primary.start()
        self.standby = PostgresServer(self.primary)
        self.standby.start()
        self._switch = Switch(self.primary.port)

    @property
    def url(self) -> str:
        return self.primary.url.replace(f":{self.primary.port}/", f":{self._switch.port}/")

    def refuse_writes(self) -> None:
        """Make the primary read-only, as before it is switched over."""
        self.primary.sql("ALTER SYSTEM SET default_transaction_read_only = on")
        self.primary.sql("SELECT pg_reload_conf()")

    def take_writes(self) -> None:
        self.primary.sql("ALTER SYSTEM RESET default_transaction_read_only")
        self.primary.sql("SELECT pg_reload_conf()")

    def switch_over(self) -> None:
        """Promote the standby once it has everything. The primary of before answers on, read-only, to who is connected to it."""
        self.refuse_writes()
        self.primary.wait_for_standby()
        self.standby.promote()
        self.standby.sql("ALTER SYSTEM RESET default_transaction_read_only")
        self.standby.sql("SELECT pg_reload_conf()")
        self.primary, self.standby = self.standby, self.primary
        self._switch.lead_to(self.primary.port, cut=False)

    def follow(self) -> None:
        """Make the primary of before a standby of the new one."""
        self.standby.stop()
        self.standby.follow(self.primary)
        self.standby.start()

    async def __aenter__(self) -> Self:
        await self._switch.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._switch.__aexit__(kind, value, traceback)
        self.standby.close()
        self.primary.close()


class RedisPair:
    """A master and its replica. `switch_over` and `fail_over` exchange them, however often."""

    def __init__(self, folder: Path) -> None:
        self.master, self.replica = (self._made(folder / name) for name in ("one", "two"))
        self._switch = Switch(self.master.port)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._switch.port}"

    def follow(self) -> None:
        """Return once the replica has what the master has."""
        self.replica.command("REPLICAOF", "127.0.0.1", str(self.master.port))
        wait_until(lambda: self.replica.says("master_link_status:up"), "the replica follows")

    def switch_over(self) -> None:
        """Let the replica take over as the master asks it to (FAILOVER). Who is connected to the master of before stays there."""
        self.master.command("FAILOVER", "TO", "127.0.0.1", str(self.replica.port))
        wait_until(lambda: self.replica.says("role:master"), "the replica takes over")
        self._exchange(cut=False)

    def fail_over(self) -> None:
        """Kill the master and promote the replica. What the master had not passed on is gone; it comes back as a replica."""
        self.master.stop()
        self.replica.command("REPLICAOF", "NO", "ONE")
        self._exchange(cut=True)
        self.replica.start()

    def _exchange(self, *, cut: bool) -> None:
        self.master, self.replica = self.replica, self.master
        self._switch.lead_to(self.master.port, cut=cut)

    @staticmethod
    def _made(folder: Path) -> RedisServer:
        folder.mkdir(parents=True)
        return RedisServer(*KEPT, "--repl-diskless-sync-delay", "0", directory=folder)

    async def __aenter__(self) -> Self:
        self.master.start()
        self.replica.start()
        await asyncio.to_thread(self.follow)
        await self._switch.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._switch.__aexit__(kind, value, traceback)
        self.replica.stop()
        self.master.stop()
