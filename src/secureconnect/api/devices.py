"""Devices: the routes by which one's devices become reachable by push. They parse, call accounts.devices, and answer."""

from datetime import datetime
from typing import Annotated

from litestar import delete, get, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from secureconnect.accounts.devices import Registration
from secureconnect.api.dependencies import Devices, SignedIn
from secureconnect.api.paging import Page, page_of
from secureconnect.api.problems import problems
from secureconnect.ids import DeviceId
from secureconnect.push import Provider
from secureconnect.store.devices import Device


class DeviceView(Struct, frozen=True):
    """One way to wake one device. Its token or subscription is never shown again."""

    device_id: DeviceId
    platform: str
    provider: Provider
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
    return _view(await devices.put(principal.user_id, device_id, data))


@delete(
    "/v1/devices/{device_id:uuid}",
    tags=["devices"],
    summary="Push to this device no more",
    description="At sign-out, or for a device that was lost. Doing it again changes nothing.",
    responses=problems(404),
)
async def unregister(device_id: FromPath[DeviceId], principal: SignedIn, devices: Devices) -> None:
    await devices.remove(principal.user_id, device_id)


@get("/v1/devices", tags=["devices"], summary="One's devices", description="The last seen first.", responses=problems())
async def list_own(principal: SignedIn, devices: Devices) -> Page[DeviceView]:
    return page_of([_view(device) for device in await devices.of_user(principal.user_id)], None)


@get("/v1/push/webpush-key", tags=["devices"], summary="What browsers subscribe with", responses=problems(404))
async def webpush_key(principal: SignedIn, devices: Devices) -> WebPushKey:
    return WebPushKey(devices.webpush_key())


def _view(device: Device) -> DeviceView:
    return DeviceView(device.device_id, device.platform, device.provider, device.created_at, device.seen_at)


routes: list[HTTPRouteHandler] = [register, unregister, list_own, webpush_key]
