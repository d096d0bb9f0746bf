"""Calls: the routes. They parse, call calls.service, and answer; no rule lives here."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from secureconnect.api.dependencies import Calls, Ice, Receipts, Ringing, Rung, SignedIn, Silencing, Traces
from secureconnect.api.idempotency import IdempotencyKey
from secureconnect.api.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, page_of
from secureconnect.api.problems import problems
from secureconnect.calls.call import CallType, Status
from secureconnect.calls.service import InitiateRequest
from secureconnect.calls.silence import Kind
from secureconnect.calls.trace import CallTrace
from secureconnect.ids import CallId, ConversationId, DeviceId, UserId
from secureconnect.signaling.protocol import IceServer
from secureconnect.signaling.views import CallView, view_of
from secureconnect.store.idempotency import Idempotency

RING_SECONDS = 45
RingTimeout = Annotated[int, Meta(ge=5, le=180, description="How long to ring, seconds.")]
Callees = Annotated[list[UserId], Meta(min_length=1, max_length=100)]
DEVICE = "The client's own id for this device."


class Initiation(Struct, frozen=True):
    """Whom to ring, where, and how."""

    call_type: CallType
    conversation_id: ConversationId
    callee_ids: Callees
    ring_timeout: RingTimeout = RING_SECONDS
    if_busy: Annotated[Literal["ring", "reject"], Meta(description="Ring people in another call as waiting, or not.")] = "ring"
    device_id: Annotated[DeviceId | None, Meta(description=DEVICE)] = None


class JoinChoice(Struct, frozen=True):
    """Which device joins, and what becomes of the other one."""

    device_id: Annotated[DeviceId | None, Meta(description=DEVICE)] = None
    mode: Annotated[Literal["add", "move"] | None, Meta(description="Beside the device that is in, or instead of it.")] = None


class DeclineChoice(Struct, frozen=True):
    """Which device declines."""

    device_id: Annotated[DeviceId | None, Meta(description=DEVICE)] = None


class ShownReport(Struct, frozen=True):
    """Which device shows the ring."""

    device_id: Annotated[DeviceId | None, Meta(description=DEVICE)] = None


class Invitation(Struct, frozen=True):
    """Whom else to ring."""

    user_ids: Callees
    ring_timeout: RingTimeout = RING_SECONDS


class Muting(Struct, frozen=True):
    """What is not to be heard or seen of somebody: audio, video, or both."""

    kinds: Annotated[list[Kind], Meta(min_length=1, max_length=2)]


class IceServers(Struct, frozen=True):
    """What an RTCPeerConnection is made with."""

    ice_servers: list[IceServer]
    expires_at: datetime | None


@post(
    "/v1/calls/initiate",
    tags=["calls"],
    summary="Ring people",
    description="The caller is in at once, the callees ring until their deadline.",
    responses=problems(404, 409, 422),
)
async def initiate(
    data: JSONBody[Initiation], principal: SignedIn, calls: Calls, ring_limits: Ringing, idempotency_key: IdempotencyKey = None
) -> CallView:
    await ring_limits.count_call(principal.user_id, data.conversation_id, data.callee_ids)
    request = InitiateRequest(
        conversation_id=data.conversation_id,
        call_type=data.call_type,
        callee_ids=tuple(data.callee_ids),
        ring=timedelta(seconds=data.ring_timeout),
        reject_busy=data.if_busy == "reject",
        device_id=data.device_id,
    )
    promise = Idempotency.of(principal.user_id, "call", idempotency_key, data)
    return view_of(await calls.initiate(principal.user_id, request, promise))


@post(
    "/v1/calls/{call_id:uuid}/join",
    status_code=200,
    tags=["calls"],
    summary="Answer, or join a running call",
    description="The first callee who joins makes the call active. The same device again changes nothing.",
    responses=problems(404, 409, 422),
)
async def join(call_id: FromPath[CallId], principal: SignedIn, calls: Calls, data: JSONBody[JoinChoice | None] = None) -> CallView:
    choice = data or JoinChoice()
    return view_of(await calls.join(principal.user_id, call_id, choice.device_id, choice.mode))


@post(
    "/v1/calls/{call_id:uuid}/decline",
    status_code=200,
    tags=["calls"],
    summary="Do not answer",
    description="Also with the `ring_token` of a push, by a device that is not signed in at the moment.",
    responses=problems(404, 409, 422),
)
async def decline(call_id: FromPath[CallId], rung: Rung, calls: Calls, data: JSONBody[DeclineChoice | None] = None) -> CallView:
    return view_of(await calls.decline(rung, call_id, data.device_id if data else None))


@post(
    "/v1/calls/{call_id:uuid}/leave",
    status_code=200,
    tags=["calls"],
    summary="Leave with all one's devices",
    responses=problems(404),
)
async def leave(call_id: FromPath[CallId], principal: SignedIn, calls: Calls) -> CallView:
    return view_of(await calls.leave(principal.user_id, call_id))


@post(
    "/v1/calls/{call_id:uuid}/participants/{user_id:uuid}/mute",
    status_code=200,
    tags=["calls"],
    summary="Silence somebody",
    description="By who started the call. They are heard or seen again when they say so themselves.",
    responses=problems(403, 404, 409, 422),
)
async def mute(
    call_id: FromPath[CallId], user_id: FromPath[UserId], data: JSONBody[Muting], principal: SignedIn, silence: Silencing
) -> CallView:
    return view_of(await silence.mute(principal.user_id, call_id, user_id, data.kinds))


@post(
    "/v1/calls/{call_id:uuid}/end",
    status_code=200,
    tags=["calls"],
    summary="End the call for everybody",
    description="For the one who started it, and for either side of a call of two.",
    responses=problems(403, 404),
)
async def end(call_id: FromPath[CallId], principal: SignedIn, calls: Calls) -> CallView:
    return view_of(await calls.end(principal.user_id, call_id))


@post(
    "/v1/calls/{call_id:uuid}/invite",
    status_code=200,
    tags=["calls"],
    summary="Ring more members into a running call",
    description="By somebody who is in it. Those who rang already or are in it are passed over.",
    responses=problems(404, 409, 422),
)
async def invite(
    call_id: FromPath[CallId], data: JSONBody[Invitation], principal: SignedIn, calls: Calls, ring_limits: Ringing
) -> CallView:
    await ring_limits.count_invitation(principal.user_id, call_id, data.user_ids)
    ring = timedelta(seconds=data.ring_timeout)
    return view_of(await calls.invite(principal.user_id, call_id, data.user_ids, ring))


@post(
    "/v1/calls/{call_id:uuid}/shown",
    status_code=204,
    tags=["calls"],
    summary="Say that the ring is shown",
    description="By a device that a push has woken; one with an events socket says it there. Again changes nothing.",
    responses=problems(404),
)
async def shown(call_id: FromPath[CallId], rung: Rung, receipts: Receipts, data: JSONBody[ShownReport | None] = None) -> None:
    await receipts.acknowledge(rung, call_id, data.device_id if data else None)


@get(
    "/v1/calls/{call_id:uuid}/trace",
    tags=["calls"],
    summary="What became of its rings",
    description="Per callee and device: queued, sent, the provider's answer, shown, answered or why not. For members.",
    responses=problems(404),
)
async def trace(call_id: FromPath[CallId], principal: SignedIn, traces: Traces) -> CallTrace:
    return await traces.trace(call_id, principal.user_id)


@get("/v1/calls/{call_id:uuid}", tags=["calls"], summary="A call as it is now", responses=problems(404))
async def read(call_id: FromPath[CallId], principal: SignedIn, calls: Calls) -> CallView:
    return view_of(await calls.get(principal.user_id, call_id))


@get(
    "/v1/calls",
    tags=["calls"],
    summary="One's calls",
    description="Those one was in or rung for, newest first.",
    responses=problems(),
)
async def history(
    principal: SignedIn,
    calls: Calls,
    conversation_id: Annotated[ConversationId | None, QueryParameter(description="Only those of this conversation.")] = None,
    status: Annotated[Status | None, QueryParameter(description="Only those of this status.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[CallView]:
    found = await calls.history(
        principal.user_id, conversation_id=conversation_id, status=status, before=decode_cursor(cursor), limit=limit + 1
    )
    page = found[:limit]
    return page_of([view_of(call) for call in page], page[-1].call_id if len(found) > limit else None)


@get(
    "/v1/calls/{call_id:uuid}/ice-servers",
    tags=["calls"],
    summary="STUN and TURN servers",
    description=(
        "What the browser's RTCPeerConnection takes as `iceServers`. TURN credentials expire with the token or a minute later."
    ),
    responses=problems(404),
)
async def ice_servers(
    call_id: FromPath[CallId],
    principal: SignedIn,
    calls: Calls,
    ice: Ice,
    region: Annotated[str | None, QueryParameter(description="TURN servers near there, instead of near this node.")] = None,
) -> IceServers:
    await calls.get(principal.user_id, call_id)
    offered = ice.offer(principal.user_id, principal.grant.expires_at, region=region)
    return IceServers(offered.servers, offered.expires_at)


@get(
    "/v1/ice-servers",
    tags=["calls"],
    summary="STUN and TURN servers for a test",
    description="For a test of the network before a call. TURN credentials are this user's, and good for two minutes.",
    responses=problems(),
)
async def ice_servers_for_a_test(
    principal: SignedIn,
    ice: Ice,
    region: Annotated[str | None, QueryParameter(description="TURN servers near there, instead of near this node.")] = None,
) -> IceServers:
    offered = ice.offer(principal.user_id, principal.grant.expires_at, region=region, is_test=True)
    return IceServers(offered.servers, offered.expires_at)


routes: list[HTTPRouteHandler] = [
    *(initiate, history, read, join, decline, leave, end, mute, invite),
    *(shown, trace, ice_servers, ice_servers_for_a_test),
]
