"""How well a call's sessions were connected: the route. It asks calls.service who may see, and calls.quality_log what there is."""

from datetime import datetime
from typing import Annotated

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, QueryParameter
from msgspec import Struct
from msgspec.structs import asdict

from secureconnect.api.dependencies import Calls, Quality, SignedIn
from secureconnect.api.paging import Cursor, Page, decode_cursor, page_of
from secureconnect.api.problems import problems
from secureconnect.calls.quality import Reading
from secureconnect.ids import CallId, SessionId, UserId

ReadingLimit = Annotated[int, QueryParameter(ge=1, le=1000, description="How many readings at most.")]


class QualityReading(Struct, frozen=True):
    """One session's connection at one moment, as it said; `mos` is what listeners would think of it (ITU-T G.107), 1 to 4.5."""

    at: datetime
    session_id: SessionId
    user_id: UserId
    level: int | None
    rtt_ms: float | None
    jitter_ms: float | None
    loss: float | None
    in_kbps: float | None
    out_kbps: float | None
    mos: float | None


@get(
    "/v1/calls/{call_id:uuid}/quality",
    tags=["calls"],
    summary="How well everybody was connected",
    description="What sessions reported of their own connections, about every ten seconds, newest first; kept for 30 days.",
    responses=problems(404),
)
async def readings(
    call_id: FromPath[CallId],
    principal: SignedIn,
    calls: Calls,
    quality: Quality,
    limit: ReadingLimit = 200,
    cursor: Cursor = None,
) -> Page[QualityReading]:
    await calls.get(principal.user_id, call_id)
    found = await quality.of_call(call_id, before=decode_cursor(cursor), limit=limit + 1)
    page = found[:limit]
    return page_of([_shown(one) for one in page], page[-1].reading_id if len(found) > limit else None)


def _shown(one: Reading) -> QualityReading:
    return QualityReading(at=one.at, session_id=one.session_id, user_id=one.user_id, mos=one.mos, **asdict(one.report))


routes: list[HTTPRouteHandler] = [readings]
