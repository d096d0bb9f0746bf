"""Quality readings in the database: the SQL beside the function that runs it. Called by `calls.quality_log`."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec.structs import asdict
from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.quality import Reading, Report, SessionQuality
from secureconnect.clock import unix_microseconds
from secureconnect.ids import CallId, IdFactory, SessionId, UserId
from secureconnect.store.tables import quality_readings

_table = quality_readings.c


async def insert_readings(connection: AsyncConnection, readings: Sequence[tuple[CallId, Reading]]) -> None:
    """Keep them, each with its call."""
    rows = [
        {
            "call_id": call_id,
            "reading_id": reading.reading_id,
            "session_id": reading.session_id,
            "user_id": reading.user_id,
            "at": reading.at,
            "mos": reading.mos,
            **asdict(reading.report),
        }
        for call_id, reading in readings
    ]
    await connection.execute(insert(quality_readings), rows)


async def readings_of(connection: AsyncConnection, call_id: CallId, before: UUID | None, limit: int) -> list[Reading]:
    """So many readings of a call, newest first, older than the one named."""
    query = select(quality_readings).where(_table.call_id == call_id).order_by(_table.reading_id.desc()).limit(limit)
    if before is not None:
        query = query.where(_table.reading_id < before)
    return [
        Reading(
            reading_id=row.reading_id,
            at=row.at,
            session_id=SessionId(row.session_id),
            user_id=UserId(row.user_id),
            report=Report(row.level, row.rtt_ms, row.jitter_ms, row.loss, row.in_kbps, row.out_kbps),
            mos=row.mos,
        )
        for row in await connection.execute(query)
    ]


async def sessions_of(connection: AsyncConnection, call_id: CallId) -> list[SessionQuality]:
    """Each session's readings in a few figures, in the order in which the sessions began to report."""
    query = (
        select(
            _table.session_id,
            _table.user_id,
            func.min(_table.at).label("first_at"),
            func.max(_table.at).label("last_at"),
            func.count().label("readings"),
            func.avg(_table.mos).label("mos"),
            func.min(_table.mos).label("worst_mos"),
            func.avg(_table.rtt_ms).label("rtt_ms"),
            func.max(_table.rtt_ms).label("worst_rtt_ms"),
            func.avg(_table.loss).label("loss"),
            func.max(_table.loss).label("worst_loss"),
        )
        .where(_table.call_id == call_id)
        .group_by(_table.session_id, _table.user_id)
        .order_by(func.min(_table.at), _table.session_id)
    )
    return [
        SessionQuality(
            session_id=SessionId(row.session_id),
            user_id=UserId(row.user_id),
            first_at=row.first_at,
            last_at=row.last_at,
            readings=row.readings,
            mos=_rounded(row.mos, 2),
            worst_mos=row.worst_mos,
            rtt_ms=_rounded(row.rtt_ms, 0),
            worst_rtt_ms=row.worst_rtt_ms,
            loss=_rounded(row.loss, 4),
            worst_loss=row.worst_loss,
        )
        for row in await connection.execute(query)
    ]


def _rounded(mean: float | None, digits: int) -> float | None:
    return None if mean is None else round(float(mean), digits)


async def forget_readings(connection: AsyncConnection, oldest: datetime) -> None:
    """Those of calls that began before `oldest`: a call's id begins with its time, so this is one range of the primary key."""
    first_kept = IdFactory(lambda: unix_microseconds(oldest) // 1000, bytes).call()
    await connection.execute(delete(quality_readings).where(_table.call_id < first_kept))
