"""A process from its start to its end: its parts, in the order in which they are opened and closed. Made by server and cli.

What the parts are is in parts.py. Nothing here decides anything about calls, people or sockets.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import IO

from secureconnect.accounts.erasure import Erasure
from secureconnect.background import begin, end, within
from secureconnect.config import ConfigurationError, Settings
from secureconnect.data_dir import claim
from secureconnect.ops.event_loop import watch_lag
from secureconnect.parts import Parts
from secureconnect.purge import Purge
from secureconnect.recording.watch import RecordingWatch
from secureconnect.store import Database
from secureconnect.store.internal_keys import derived_keys_start
from secureconnect.store.schema import current_revision, migrate, wanted_revision


class Application(Parts):
    """One process, started and stopped."""

    def __init__(self, settings: Settings, *, demo: bool = False) -> None:
        super().__init__(settings, demo=demo)
        erasure = Erasure(database=self.database, clock=self.clock, leave=self.chat.leave)
        self.purge = Purge(self.clock, [self.chat.purge_batch, erasure.erase_batch])
        self._loops: list[asyncio.Task[None]] = []
        self._lock: IO[str] | None = None

    async def start(self) -> None:
        """Open what must be open before the first request. Raises ConfigurationError when the schema is not ours."""
        if not self.database.is_shared:
            self._lock = claim(self.settings.data_dir)
        await prepare_schema(self.database)
        self.keys.derived_from = await self.database.read(derived_keys_start)
        if self.database.is_shared:
            await self.timekeeper.measure()
        await self.revocations.load()
        await self.accounts.registration.load()
        await self.timers.start()
        await self.outbox.start()
        loops: dict[str, Callable[[], Awaitable[None]]] = {
            "bus": self.bus.run,  # the first to begin, the last to end
            "timers": self.timers.run,
            "pings": self.sockets.keep_alive,
            "lifetimes": self.lifetimes.run,
            "pushes": self.outbox.run,
            "sfu": self.sfu.run,
            "quality": self.quality.run,
            "receipts": self.receipts.run,
            "revocations": self.revocations.run,
            "purge": self.purge.run,
            "event_loop": partial(watch_lag, self.clock, self.metrics.loop_lag.observe),
        }
        if self.turn is not None:
            loops["turn"] = self.turn.run
        if self.database.is_shared:
            loops["timekeeper"] = self.timekeeper.run
        if self.webhooks is not None:
            await self.webhooks.start()
            loops["webhooks"] = self.webhooks.run
        if self.films is not None:
            if self.settings.recording_dir is None:
                await asyncio.to_thread(self.recorder.adopt)
            await self.films.start()
            loops |= {"recordings": self.films.run, "recording limits": self._watch_recordings().run}
        self._loops += [begin(name, run) for name, run in loops.items()]

    def _watch_recordings(self) -> RecordingWatch:
        recorder = self.recorder
        return RecordingWatch(
            database=self.database,
            calls=self.calls,
            clock=self.clock,
            folder=recorder.written,
            limits=recorder.limits,
            silence=self.silence.mute_by_server,
        )

    async def stop(self, seconds: float = 10.0) -> None:
        """Let go of everything, in the other order, within `seconds`: a dependency that hangs must not keep the process alive.

        Sessions are written down as closed before the lease is given back, and others hear of both before the bus closes.
        """
        step = seconds / 4
        await within(step, *self._background)
        bus, others = self._loops[:1], self._loops[1:]
        await within(step, self.at_sfu.close())
        await end(others)
        books = (self.quality.write(), self.receipts.flush())
        lanes = (self.outbox, self.webhooks) if self.webhooks is not None else (self.outbox,)
        makers = (*lanes, self.films) if self.films is not None else lanes
        await within(step, self.timers.stop(), *books, *(one.stop() for one in makers), self.bus.flush())
        await end(bus)
        await within(
            step,
            *(one.close() for one in (*lanes, self.bus, self.limiter, self.database)),
            self.http.aclose(),
        )
        if self._lock is not None:
            self._lock.close()


async def prepare_schema(database: Database) -> None:
    """Bring our own SQLite file up to date; a database that others use too is the operator's to migrate."""
    if not database.is_shared:
        await migrate(database)
        return
    found, wanted = await current_revision(database), wanted_revision()
    if found != wanted:
        raise ConfigurationError(f"the database's schema is at {found}, this program needs {wanted}: run `secureconnect migrate`")
