"""What the whole service looks like from the database, for operators. Called by instruments, once for each page of metrics.

Every count goes by an index over what is not over: the past, however long, costs nothing here.
"""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.call import Status
from secureconnect.push import Provider
from secureconnect.store.tables import calls, nodes, pushes, recordings, webhook_events


class Figures(Struct, frozen=True):
    """Of all nodes together, at one moment; seconds are ages.

    `overdue` is how long ago the call that waits longest should have been ticked. `outbox` counts the pushes that are not done,
    `outbox_overdue` is the age of the oldest that is due and that nobody is sending; both by provider, set up or not.
    `webhooks` counts the events that the application has not taken, `webhooks_age` is how long ago the oldest of them was made.
    `films` counts the recordings that are over and whose film is not made.
    """

    calls: Mapping[str, int]
    overdue: float
    nodes: int
    outbox: Mapping[str, int]
    outbox_overdue: Mapping[str, float]
    webhooks: int
    webhooks_age: float
    films: int


async def figures(connection: AsyncConnection, now: datetime) -> Figures:
    """Read them."""
    live = select(calls.c.status, func.count()).where(calls.c.due_at.is_not(None)).group_by(calls.c.status)
    by_status = {str(status): int(count) for status, count in await connection.execute(live)}
    due = (await connection.execute(select(func.min(calls.c.due_at)).where(calls.c.due_at.is_not(None)))).scalar()
    alive = (await connection.execute(select(func.count()).select_from(nodes).where(nodes.c.lease_until > now))).scalar_one()
    outbox, overdue = {}, {}
    for provider in Provider:
        waiting = select(func.count(), func.min(pushes.c.due_at)).where(pushes.c.provider == provider, pushes.c.due_at.is_not(None))
        count, oldest = (await connection.execute(waiting)).one()
        outbox[str(provider)], overdue[str(provider)] = int(count), _age(oldest, now)
    untold = select(func.count(), func.min(webhook_events.c.created_at)).where(webhook_events.c.due_at.is_not(None))
    webhooks, first_untold = (await connection.execute(untold)).one()
    unmade = select(func.count()).select_from(recordings).where(recordings.c.due_at.is_not(None))
    films = (await connection.execute(unmade)).scalar_one()
    return Figures(
        calls={str(status): by_status.get(status, 0) for status in (Status.RINGING, Status.ACTIVE)},
        overdue=_age(due, now),
        nodes=int(alive),
        outbox=outbox,
        outbox_overdue=overdue,
        webhooks=int(webhooks),
        webhooks_age=_age(first_untold, now),
        films=int(films),
    )


def _age(moment: datetime | None, now: datetime) -> float:
    return max(0.0, (now - moment).total_seconds()) if moment is not None else 0.0
