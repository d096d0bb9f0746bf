"""The HTTP application: routes, who asks, errors, pages and the API's description put together. Made by parts; holds no rule."""

from collections.abc import Mapping, Sequence
from typing import Any

from litestar import Litestar, Request
from litestar.config.compression import CompressionConfig
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.router import Router
from litestar.types import ASGIApp
from msgspec import Struct

from secureconnect.accounts.administration import Administration
from secureconnect.accounts.application_tokens import ApplicationTokens
from secureconnect.accounts.blocks import Blocks
from secureconnect.accounts.devices import DeviceService
from secureconnect.accounts.password import PasswordService
from secureconnect.accounts.ring_tokens import RingTokens
from secureconnect.accounts.service import AccountService, Principal
from secureconnect.accounts.sign_in_limits import SignInLimits
from secureconnect.api import accounts as account_routes
from secureconnect.api import asyncapi
from secureconnect.api import blocks as block_routes
from secureconnect.api import calls as call_routes
from secureconnect.api import chat as chat_routes
from secureconnect.api import devices as device_routes
from secureconnect.api import ops as ops_routes
from secureconnect.api import passwords as password_routes
from secureconnect.api import quality as quality_routes
from secureconnect.api import recordings as recording_routes
from secureconnect.api import sockets as socket_routes
from secureconnect.api import webhooks as webhook_routes
from secureconnect.api.cookies import RULES, CookieRules
from secureconnect.api.cors import Cors
from secureconnect.api.description import correct, describe
from secureconnect.api.edge import Edge
from secureconnect.api.files import Files
from secureconnect.api.limits import RouteLimits
from secureconnect.api.metrics_page import MetricsPage
from secureconnect.api.options import Options
from secureconnect.api.pages import read_pages
from secureconnect.api.problems import EXCEPTION_HANDLERS
from secureconnect.api.requests import RequestLog
from secureconnect.calls.quality_log import QualityLog
from secureconnect.calls.receipt_book import ReceiptBook
from secureconnect.calls.ring_limits import RingLimits
from secureconnect.calls.service import CallService
from secureconnect.calls.silence import Silence
from secureconnect.calls.traces import CallTraces
from secureconnect.chat.addition_limits import AdditionLimits
from secureconnect.chat.service import ChatService
from secureconnect.errors import NotFound, Unauthenticated
from secureconnect.http.origins import Origins
from secureconnect.http.proxies import TrustedProxies
from secureconnect.ids import UserId
from secureconnect.media.ice import IceServerList
from secureconnect.ops.health import Health
from secureconnect.ops.metrics import Metrics
from secureconnect.ops.ratelimit import RateLimiter
from secureconnect.recording.service import Recordings
from secureconnect.webhooks.delivery import Webhooks

ROUTES: Mapping[str, Sequence[HTTPRouteHandler]] = {
    "auth": [*account_routes.routes, *password_routes.routes, *block_routes.routes, *device_routes.routes],
    "chat": [*chat_routes.routes, *socket_routes.routes["chat"]],
    "video": [
        *call_routes.routes,
        *quality_routes.routes,
        *recording_routes.routes,
        *webhook_routes.routes,
        *socket_routes.routes["video"],
    ],
}
"""What each service answers; health and the descriptions are everywhere."""
MAX_BODY_BYTES = 262_144
"""The largest body of any route is a message of 8 000 characters; four bytes each, JSON's escapes, and room."""


class Services(Struct, frozen=True):
    """What handlers may ask for, by the names they ask with."""

    accounts: AccountService
    passwords: PasswordService
    administration: Administration
    ring_tokens: RingTokens
    blocks: Blocks
    devices: DeviceService
    chat: ChatService
    calls: CallService
    quality: QualityLog
    receipts: ReceiptBook
    silence: Silence
    traces: CallTraces
    recordings: Recordings
    webhooks: Webhooks | None
    application_tokens: ApplicationTokens
    ice: IceServerList
    limiter: RateLimiter
    sign_in_limits: SignInLimits
    ring_limits: RingLimits
    addition_limits: AdditionLimits
    health_of: Health
    metrics_of: Metrics


class Place(Struct, frozen=True):
    """Where the application is reached, as far as answers depend on it. `public_url` is None when only clients know.

    `is_tls`: TLS ends in this process. `shows_metrics`: /metrics is beside the API, not on a listener of its own.
    """

    proxies: TrustedProxies
    origins: Origins
    public_url: str | None = None
    is_tls: bool = False
    shows_metrics: bool = False


def create_api(services: Services, *, served: Sequence[str], version: str, place: Place) -> Litestar:
    """The application that uvicorn serves: the routes of those of ROUTES that are `served`."""
    limits = RouteLimits(services.limiter)
    dependencies = {name: _always(getattr(services, name)) for name in services.__struct_fields__}
    dependencies |= _callers(services, limits)
    api = Router(
        "/",
        route_handlers=[*ops_routes.routes, *(route for name in served for route in ROUTES[name])],
    )
    application = Litestar(
        route_handlers=[api, asyncapi.make_route(version)],
        dependencies=dependencies,
        guards=[limits.count_by_network],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=describe(version),
        request_max_body_size=MAX_BODY_BYTES,
        # Films are packed as they are.
        compression_config=CompressionConfig(backend="gzip", minimum_size=1024, gzip_compress_level=6, exclude=["/film$"]),
        logging_config=None,
    )
    correct(application)
    secure = place.public_url.startswith("https:") if place.public_url is not None else None
    application.state[RULES] = CookieRules(place.origins, secure)
    application.asgi_handler = _surround(application.asgi_handler, services.metrics_of, place, limits, client="auth" in served)
    return application


def _callers(services: Services, limits: RouteLimits) -> dict[str, Provide]:
    """What a handler asks for to know who calls; each counts the request for its route."""

    async def principal(request: Request[Any, Any, Any]) -> Principal:
        found = await services.accounts.authenticate(_bearer(request))
        request.scope["state"]["user_id"] = found.user_id
        limits.count_by_user(request, found.user_id)
        return found

    async def rung(request: Request[Any, Any, Any]) -> UserId:
        token = _bearer(request)
        found = services.ring_tokens.bearer(token, request.path_params["call_id"])
        if found is None:
            found = (await services.accounts.authenticate(token)).user_id
        request.scope["state"]["user_id"] = found
        limits.count_by_user(request, found)
        return found

    async def webhooks(request: Request[Any, Any, Any]) -> Webhooks:
        services.application_tokens.require(_bearer(request))
        limits.count_by_application(request)
        if services.webhooks is None:
            raise NotFound("There are no webhooks here: set webhook_url.")
        return services.webhooks

    return {"principal": Provide(principal), "rung": Provide(rung), "webhooks": Provide(webhooks)}


def _surround(routes: ASGIApp, metrics: Metrics, place: Place, limits: RouteLimits, *, client: bool) -> ASGIApp:
    """Put around the routes what holds for all of them, outermost last.

    Not as the framework's middleware, which an address that leads nowhere never comes to.
    """
    files = Files(Options(routes), read_pages(client=client, public_url=place.public_url), limits.count_page)
    pages = MetricsPage(metrics, files, limits.count_page) if place.shows_metrics else files
    edge = Edge(Cors(pages, place.origins), proxies=place.proxies, is_tls=place.is_tls)
    return RequestLog(edge, metrics)


def _always(value: object) -> Provide:
    return Provide(lambda: value, sync_to_thread=False, use_cache=True)


def _bearer(request: Request[Any, Any, Any]) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated
    return token.strip()
