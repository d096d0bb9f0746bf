"""Recordings of calls: the routes. They parse, call recording.service, and answer; no rule lives here."""

import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

from litestar import Request, Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, QueryParameter
from litestar.response import Stream
from msgspec import Struct

from secureconnect.api.dependencies import Limiter, Recordings, SignedIn
from secureconnect.api.edge import HEAD_OF_GET
from secureconnect.api.idempotency import IdempotencyKey
from secureconnect.api.pages import HEADERS, content_policy
from secureconnect.api.paging import Page
from secureconnect.api.problems import OPEN_TO_ALL, problems
from secureconnect.ids import CallId, RecordingId, UserId
from secureconnect.recording.record import Record, Status
from secureconnect.recording.service import Link
from secureconnect.store.idempotency import Idempotency

RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)


class Recording(Struct, frozen=True):
    """One recording. `url` leads to its film until `url_expires_at`; at `kept_until` all of it is deleted. Null: unknown."""

    recording_id: RecordingId
    call_id: CallId
    status: Status
    started_by: UserId
    started_at: datetime
    stopped_at: datetime | None
    seconds: float | None
    bytes: int | None
    content_type: str | None
    url: str | None
    url_expires_at: datetime | None
    kept_until: datetime | None
    failure: str | None


class _OfCall(Struct, frozen=True):
    """What a request to start is about."""

    call_id: CallId


def _bytes(what: str) -> ResponseSpec:
    return ResponseSpec(bytes, description=what, media_type="video/mp4", generate_examples=False)


def _shown(record: Record, link: Link | None = None) -> Recording:
    return Recording(
        recording_id=record.recording_id,
        call_id=record.call_id,
        status=record.status,
        started_by=record.started_by,
        started_at=record.started_at,
        stopped_at=record.stopped_at,
        seconds=record.seconds,
        bytes=record.bytes,
        content_type=record.content_type,
        url=link.url if link is not None else None,
        url_expires_at=link.expires_at if link is not None else None,
        kept_until=record.kept_until,
        failure=record.failure,
    )


@post(
    "/v1/calls/{call_id:uuid}/recording",
    tags=["recordings"],
    summary="Record the call from now on",
    description="By somebody who is in it. Everybody sees that it is recorded, and by whom. Of one that is recorded already: 200.",
    responses=problems(404, 409, 422)
    | {200: ResponseSpec(Recording, description="It is recorded already", generate_examples=False)},
)
async def start(
    call_id: FromPath[CallId],
    principal: SignedIn,
    recordings: Recordings,
    limiter: Limiter,
    idempotency_key: IdempotencyKey = None,
) -> Response[Recording]:
    await limiter.hit("recording", str(principal.user_id))
    promise = Idempotency.of(principal.user_id, "recording", idempotency_key, _OfCall(call_id))
    record, is_new = await recordings.start(principal.user_id, call_id, promise)
    return Response(_shown(record), status_code=201 if is_new else 200)


@delete(
    "/v1/calls/{call_id:uuid}/recording",
    status_code=200,
    tags=["recordings"],
    summary="Record it no longer",
    description="By anybody who is in the call. What there is becomes a film: `recording.ready` says when.",
    responses=problems(404, 409),
)
async def stop(call_id: FromPath[CallId], principal: SignedIn, recordings: Recordings) -> Recording:
    return _shown(await recordings.stop(principal.user_id, call_id))


@get(
    "/v1/calls/{call_id:uuid}/recordings",
    tags=["recordings"],
    summary="What was recorded of the call",
    description="For members, newest first. Links are made anew for each answer.",
    responses=problems(404),
)
async def recordings_of_call(call_id: FromPath[CallId], principal: SignedIn, recordings: Recordings) -> Page[Recording]:
    found = await recordings.of_call(principal.user_id, call_id)
    return Page([_shown(record, await recordings.link_to(record)) for record in found], None)


@delete(
    "/v1/calls/{call_id:uuid}/recordings/{recording_id:uuid}",
    tags=["recordings"],
    summary="Delete a recording",
    description="By who started it, or who started the call. Nobody is shown it from then on; its film is gone within minutes.",
    responses=problems(403, 404, 409),
)
async def delete_recording(
    call_id: FromPath[CallId], recording_id: FromPath[RecordingId], principal: SignedIn, recordings: Recordings
) -> None:
    await recordings.delete(principal.user_id, call_id, recording_id)


@get(
    "/v1/calls/{call_id:uuid}/recordings/{recording_id:uuid}/film",
    tags=["recordings"],
    summary="A film, by its link",
    description="Whoever has the link may fetch it until it expires; no token is asked for. One range of bytes may be asked for.",
    security=OPEN_TO_ALL,
    responses=problems(404) | {206: _bytes("The range"), 416: _bytes("The range lies outside: nothing")},
    media_type="video/mp4",
)
async def film(
    request: Request[Any, Any, Any],
    call_id: FromPath[CallId],
    recording_id: FromPath[RecordingId],
    recordings: Recordings,
    expires: Annotated[int, QueryParameter(ge=0, le=2**53, description="As in the link.")],
    signature: Annotated[str, QueryParameter(max_length=64, description="As in the link.")],
    wanted: Annotated[str | None, HeaderParameter(name="range", description="As in RFC 9110, section 14.2.")] = None,
) -> Response[Any]:
    record = await recordings.film(call_id, recording_id, expires, signature)
    length = record.bytes or 0
    span = _span(wanted, length)
    headers = HEADERS | {
        "content-security-policy": content_policy(None),
        "accept-ranges": "bytes",
        "cache-control": "private, no-store",
        "content-disposition": f'inline; filename="{_file_name(record)}"',
    }
    media_type = record.content_type or "video/mp4"
    if span is None:
        return Response(b"", status_code=416, media_type=media_type, headers=headers | {"content-range": f"bytes */{length}"})
    start_at, end = span
    headers["content-length"] = str(end - start_at)
    if (start_at, end) != (0, length):
        headers["content-range"] = f"bytes {start_at}-{end - 1}/{length}"
    status = 206 if "content-range" in headers else 200
    if request.scope["state"].get(HEAD_OF_GET):
        return Response(b"", status_code=status, media_type=media_type, headers=headers)
    pieces: AsyncIterator[bytes] = await recordings.read(record, start_at, end)
    return Stream(pieces, status_code=status, media_type=media_type, headers=headers)


def _span(wanted: str | None, length: int) -> tuple[int, int] | None:
    """From where up to where: all of it when no range is asked for, or none that is understood (RFC 9110, section 14.2).

    None for one that lies outside.
    """
    match = RANGE.fullmatch(wanted.strip()) if wanted else None
    if match is None or match.groups() == ("", ""):
        return 0, length
    first, last = match.groups()
    if not first:
        return (max(0, length - int(last)), length) if int(last) else None
    end = min(int(last) + 1, length) if last else length
    return (int(first), end) if int(first) < end else None


def _file_name(record: Record) -> str:
    ending = "m4a" if (record.content_type or "").startswith("audio/") else "mp4"
    return f"call-{record.started_at:%Y-%m-%d-%H%M}.{ending}"


routes: list[HTTPRouteHandler] = [start, stop, recordings_of_call, delete_recording, film]
