"""Which rate limits a route has: one row for each route. Enforced here for all of them; docs/limits.md shows the table.

The limits of the first column are counted by this node before a route does anything. Those that name other people are counted by
`calls.ring_limits`, `chat.addition_limits` and `accounts.sign_in_limits`, once the request is known to be about things that exist.
"""

from collections.abc import Mapping
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from secureconnect.ids import UserId
from secureconnect.ops.ratelimit import LIMITS, RateLimiter, Use, uses_by_network

ROUTE_LIMITS: Mapping[str, tuple[str, ...]] = {
    "POST /v1/auth/register": ("sign_in", "register"),
    "POST /v1/auth/login": ("sign_in", "login_proof", "login_device", "login_network", "login_account", "login_email"),
    "POST /v1/auth/refresh": ("token",),
    "POST /v1/auth/logout": ("token",),
    "GET /v1/auth/config": ("token",),
    "POST /v1/auth/logout-everywhere": ("change",),
    "POST /v1/auth/password": ("change", "password"),
    "POST /v1/auth/password/reset": ("sign_in",),
    "GET /v1/users/me": ("read",),
    "GET /v1/users": ("search",),
    "DELETE /v1/users/me/blocks/{user_id}": ("change",),
    "PUT /v1/users/me/blocks/{user_id}": ("change",),
    "GET /v1/users/me/blocks": ("read",),
    "GET /v1/devices": ("read",),
    "PUT /v1/devices/{device_id}": ("change",),
    "DELETE /v1/devices/{device_id}": ("change",),
    "GET /v1/push/webpush-key": ("read",),
    "POST /v1/conversations": ("change", "conversation", "added"),
    "GET /v1/conversations": ("read",),
    "GET /v1/conversations/{conversation_id}": ("read",),
    "PATCH /v1/conversations/{conversation_id}": ("rename",),
    "DELETE /v1/conversations/{conversation_id}": ("change",),
    "POST /v1/conversations/{conversation_id}/participants": ("change", "conversation", "added"),
    "DELETE /v1/conversations/{conversation_id}/participants/{user_id}": ("change",),
    "PUT /v1/conversations/{conversation_id}/read": ("change",),
    "POST /v1/conversations/{conversation_id}/decline": ("change",),
    "POST /v1/conversations/{conversation_id}/accept": ("change",),
    "GET /v1/conversations/invitations": ("read",),
    "POST /v1/messages": ("change", "message"),
    "GET /v1/messages": ("read",),
    "POST /v1/calls/initiate": ("call", "ring", "ring_one", "rung"),
    "GET /v1/calls": ("read",),
    "GET /v1/calls/{call_id}": ("read",),
    "POST /v1/calls/{call_id}/join": ("call",),
    "POST /v1/calls/{call_id}/decline": ("call",),
    "POST /v1/calls/{call_id}/leave": ("call",),
    "POST /v1/calls/{call_id}/end": ("call",),
    "POST /v1/calls/{call_id}/participants/{user_id}/mute": ("call",),
    "POST /v1/calls/{call_id}/invite": ("call", "ring", "ring_one", "rung"),
    "POST /v1/calls/{call_id}/shown": ("change",),
    "GET /v1/calls/{call_id}/trace": ("report",),
    "GET /v1/calls/{call_id}/quality": ("report",),
    "GET /v1/calls/{call_id}/ice-servers": ("ice",),
    "GET /v1/ice-servers": ("ice",),
    "POST /v1/calls/{call_id}/recording": ("call", "recording"),
    "DELETE /v1/calls/{call_id}/recording": ("call",),
    "GET /v1/calls/{call_id}/recordings": ("read",),
    "DELETE /v1/calls/{call_id}/recordings/{recording_id}": ("change",),
    "GET /v1/calls/{call_id}/recordings/{recording_id}/film": ("film",),
    "GET /v1/webhooks/events": ("application",),
    "GET /health": ("probe",),
    "GET /v1/calls/health": ("probe",),
    "GET /health/live": ("probe",),
    "GET /health/ready": ("probe",),
    "GET /metrics": ("probe",),
    "GET /asyncapi.json": ("page",),
    "GET /openapi.json": ("page",),
    "GET /openapi.json/{path}": ("page",),
    "GET /openapi.json/openapi.json": ("page",),
    "GET /v1/ws/events": ("probe",),
    "GET /v1/calls/ws/signaling": ("probe",),
    "GET /docs": ("page",),
    "GET /": ("page",),
    "GET /static": ("page",),
    "GET /sdk": ("page",),
}
"""HEAD counts as GET. Files are counted by the folder they are in. A socket that opens counts for the limits of sockets."""


class RouteLimits:
    """Counts each request for its route, by network or, once a token was checked, by user."""

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter

    async def count_by_network(self, connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        """Litestar guard for all routes: counts those that take no user. Raises RateLimited."""
        name = first_limit(connection.scope)
        if LIMITS[name].by == "network":
            self._limiter.hit_here(uses_by_network(name, address_of(connection)))

    def count_page(self, scope: Any) -> None:
        """Count a request that is answered before the routes. Raises RateLimited."""
        client = scope.get("client")
        self._limiter.hit_here(uses_by_network(first_limit(scope), client[0] if client else ""))

    def count_by_user(self, request: Request[Any, Any, Any], user_id: UserId) -> None:
        """Count a request of a signed-in user. Raises RateLimited."""
        self._limiter.hit_here([Use(first_limit(request.scope), str(user_id))])

    def count_by_application(self, request: Request[Any, Any, Any]) -> None:
        """Count a request with a token of the application. Raises RateLimited."""
        self._limiter.hit_here([Use(first_limit(request.scope), "application")])


def first_limit(scope: Any) -> str:
    """Return the limit that a request counts for before its route does anything."""
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    names = ROUTE_LIMITS.get(f"{method} {scope.get('path_template', '')}")
    return names[0] if names else "read"


def address_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Return the address of the client, as a trusted proxy gives it."""
    return connection.client.host if connection.client else ""
