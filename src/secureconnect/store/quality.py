"""Quality readings in the database: the SQL beside the function that runs it. Called by `calls.quality_log`."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec.structs import asdict
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.quality import Reading, Report
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


async def forget_readings(connection: AsyncConnection, oldest: datetime) -> None:
    """Those of calls that began before `oldest`: a call's id begins with its time, so this is one range of the primary key."""
    first_kept = IdFactory(lambda: unix_microseconds(oldest) // 1000, bytes).call()
    await connection.execute(delete(quality_readings).where(_table.call_id < first_kept))
