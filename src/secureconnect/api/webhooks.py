"""Webhooks: the route by which an application reads again what it was told. It parses, calls webhooks.delivery, and answers."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from msgspec import Raw, Struct

from secureconnect.api.dependencies import ForApplication
from secureconnect.api.paging import DEFAULT_LIMIT, Limit, Page
from secureconnect.api.problems import problems
from secureconnect.webhooks import Event, EventType, Kept


class EventView(Struct, frozen=True):
    """One event, and what became of it. `event` is the body that was, or will be, sent; `id` its `webhook-id`."""

    id: UUID
    type: EventType
    created_at: datetime
    attempts: int
    outcome: str | None
    done_at: datetime | None
    detail: str | None
    event: Event


@get(
    "/v1/webhooks/events",
    tags=["webhooks"],
    summary="What an application is told of calls",
    description="In the order in which it was written, for 30 days. With a token of the application, not of a person.",
    responses=problems(404),
)
async def events(
    webhooks: ForApplication,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Annotated[UUID | None, QueryParameter(description="A `next_cursor`, or the last `webhook-id` seen.")] = None,
) -> Page[EventView]:
    found, following = await webhooks.after(cursor, limit)
    return Page([_view(event) for event in found], None if following is None else str(following))


def _view(kept: Kept) -> EventView:
    return EventView(
        id=kept.event_id,
        type=kept.type,
        created_at=kept.created_at,
        attempts=kept.attempts,
        outcome=kept.outcome,
        done_at=kept.done_at,
        detail=kept.detail,
        event=Raw(kept.body),  # type: ignore[arg-type]  # as it was signed, byte for byte
    )


routes: list[HTTPRouteHandler] = [events]
