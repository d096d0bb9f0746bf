"""Devices: the routes by which one's devices become reachable by push. They parse, call accounts.devices, and answer."""

from datetime import datetime
from typing import Annotated

from litestar import delete, get, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from secureconnect.accounts.devices import Registration
from secureconnect.api.dependencies import Devices, SignedIn
from secureconnect.api.paging import Page, page_of
from secureconnect.api.problems import problems
from secureconnect.ids import DeviceId
from secureconnect.push import Provider
from secureconnect.store.devices import Device


class DeviceView(Struct, frozen=True):
    """One way to wake one device, or one that is signed in and cannot be woken: then `platform` and `provider` are null.

    Its token or subscription is never shown again. `signed_in`: a sign-in that named this device has not ended.
    """

    device_id: DeviceId
    platform: str | None
    provider: Provider | None
    signed_in: bool
    created_at: datetime
    seen_at: datetime


class WebPushKey(Struct, frozen=True):
    """The server's VAPID public key (RFC 8292)."""

    public_key: Annotated[str, Meta(description="For `PushManager.subscribe({applicationServerKey})`, base64url.")]


@put(
    "/v1/devices/{device_id:uuid}",
    tags=["devices"],
    summary="Make a device reachable by push",
    description="And say again, at each start of an app, that it is there. One device may register with several providers.",
    responses=problems(404, 422),
)
async def register(
    device_id: FromPath[DeviceId], data: JSONBody[Registration], principal: SignedIn, devices: Devices
) -> DeviceView:
    device = await devices.put(principal.user_id, device_id, data)
    signed_in = await devices.signed_in(principal.user_id)
    return _view(device, signed_in=device_id in {one.device_id for one in signed_in})


@delete(
    "/v1/devices/{device_id:uuid}",
    tags=["devices"],
    summary="Sign a device out",
    description=(
        "It is woken no more, the tokens of sign-ins that named it end at once, its sockets close and it leaves its calls. With "
        "`provider`, it is only not woken by that one any more. Doing it again changes nothing."
    ),
    responses=problems(404),
)
async def revoke(
    device_id: FromPath[DeviceId],
    principal: SignedIn,
    devices: Devices,
    provider: Annotated[Provider | None, QueryParameter(description="Forget this registration alone.")] = None,
) -> None:
    if provider is not None:
        await devices.forget(principal.user_id, device_id, provider)
    else:
        await devices.revoke(principal.user_id, device_id)


@get("/v1/devices", tags=["devices"], summary="One's devices", description="The last seen first.", responses=problems())
async def list_own(principal: SignedIn, devices: Devices) -> Page[DeviceView]:
    registered, signed_in = await devices.of_user(principal.user_id), await devices.signed_in(principal.user_id)
    known, alive = {device.device_id for device in registered}, {device.device_id for device in signed_in}
    views = [_view(device, signed_in=device.device_id in alive) for device in registered]
    views += [
        DeviceView(one.device_id, None, None, signed_in=True, created_at=one.created_at, seen_at=one.seen_at)
        for one in signed_in
        if one.device_id not in known
    ]
    return page_of(sorted(views, key=lambda view: view.seen_at, reverse=True), None)


@get("/v1/push/webpush-key", tags=["devices"], summary="What browsers subscribe with", responses=problems(404))
async def webpush_key(principal: SignedIn, devices: Devices) -> WebPushKey:
    return WebPushKey(devices.webpush_key())


def _view(device: Device, *, signed_in: bool) -> DeviceView:
    return DeviceView(
        device.device_id, device.platform, device.provider, signed_in, created_at=device.created_at, seen_at=device.seen_at
    )


routes: list[HTTPRouteHandler] = [register, revoke, list_own, webpush_key]
