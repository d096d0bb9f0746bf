"""How well each session of a call was connected, over its time: kept as it is reported, read when somebody asks.

`take` is called by signaling for every `quality` message, and waits for nothing; app runs `run`. Readings are worth less than
calls: while the database is away the newest wait, and older ones are let go.
"""

from collections import deque
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import structlog

from secureconnect.calls.quality import Reading, Report, mos_of, report_of
from secureconnect.clock import Clock
from secureconnect.errors import ServiceError
from secureconnect.ids import CallId, IdFactory, SessionId, UserId
from secureconnect.store import Database
from secureconnect.store import quality as store

log = structlog.get_logger(__name__)

KEPT_EVERY_SECONDS = 5.0
"""Of one session, at most one reading in this time is kept: a client that reports ten times a second fills no disk."""
WRITE_EVERY_SECONDS = 5.0
WAITING_READINGS = 10_000
"""While the database is away: 100 s of a thousand sessions, some 3 MB."""
REMEMBERED = timedelta(days=30)
TIDY_EVERY_SECONDS = 3600.0

OnReport = Callable[[Report, float | None], None]


class QualityLog:
    """The readings of this node's sessions on their way to the database, and everybody's from there."""

    def __init__(self, *, database: Database, ids: IdFactory, clock: Clock, on_report: OnReport) -> None:
        """`on_report` hears each report that is kept, with its opinion score: for metrics."""
        self._database = database
        self._ids = ids
        self._clock = clock
        self._on_report = on_report
        self._waiting: deque[tuple[CallId, Reading]] = deque(maxlen=WAITING_READINGS)
        self._kept_at: dict[SessionId, float] = {}
        self._tidied_at = clock.monotonic()

    def take(self, call_id: CallId, user_id: UserId, session_id: SessionId, report: bytes) -> None:
        """One report of one session, as JSON; what cannot be kept is passed over."""
        now = self._clock.monotonic()
        if now - self._kept_at.get(session_id, -KEPT_EVERY_SECONDS) < KEPT_EVERY_SECONDS:
            return
        kept = report_of(report)
        if kept is None:
            return
        mos = mos_of(kept)
        self._kept_at[session_id] = now
        self._waiting.append((call_id, Reading(self._ids.new(), self._clock.now(), session_id, user_id, kept, mos)))
        self._on_report(kept, mos)

    async def of_call(self, call_id: CallId, *, before: UUID | None, limit: int) -> list[Reading]:
        """The readings of a call, newest first; `before` names the one to go on after. Whoever asks has been let in."""
        return await self._database.read(lambda connection: store.readings_of(connection, call_id, before, limit))

    async def run(self) -> None:
        """Until cancelled: write down what waits, and forget what is old."""
        while True:
            await self._clock.sleep(WRITE_EVERY_SECONDS)
            await self.write()
            await self._tidy_when_needed()

    async def write(self) -> None:
        """Write down what waits. When that fails it goes on waiting."""
        self._forget_silent_sessions()
        batch = list(self._waiting)
        if not batch:
            return
        try:
            # Rows that nobody else writes: nothing here can be decided wrong by what others do.
            await self._database.transact(lambda connection: store.insert_readings(connection, batch), isolation="committed")
        except ServiceError as failure:
            log.warning("quality readings wait", waiting=len(batch), reason=failure.detail)
            return
        except Exception:
            # What the database will not take now it will not take later either.
            log.exception("quality readings lost", readings=len(batch))
        written = {reading.reading_id for _, reading in batch}
        while self._waiting and self._waiting[0][1].reading_id in written:
            self._waiting.popleft()

    def _forget_silent_sessions(self) -> None:
        silent_since = self._clock.monotonic() - KEPT_EVERY_SECONDS
        self._kept_at = {session: at for session, at in self._kept_at.items() if at > silent_since}

    async def _tidy_when_needed(self) -> None:
        if self._clock.monotonic() - self._tidied_at < TIDY_EVERY_SECONDS:
            return
        self._tidied_at = self._clock.monotonic()
        oldest = self._clock.now() - REMEMBERED
        try:
            await self._database.transact(lambda connection: store.forget_readings(connection, oldest), isolation="committed")
        except ServiceError as failure:
            log.warning("old quality readings stay", reason=failure.detail)
