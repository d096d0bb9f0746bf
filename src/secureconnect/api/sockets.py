"""The addresses of the sockets, asked for without an upgrade: refused with the word for it. The sockets are in `signaling`."""

from litestar import get
from litestar.handlers import HTTPRouteHandler

from secureconnect.errors import UpgradeRequired


@get("/v1/ws/events", include_in_schema=False, sync_to_thread=False)
def events() -> None:
    raise UpgradeRequired


@get("/v1/calls/ws/signaling", include_in_schema=False, sync_to_thread=False)
def signaling() -> None:
    raise UpgradeRequired


routes: dict[str, list[HTTPRouteHandler]] = {"chat": [events], "video": [signaling]}
