"""The refresh token as a browser's cookie: setting it, finding it, refusing other sites that ride on it. Used by api.accounts.

The name holds the user, so that two people may be signed in in one browser. The path keeps the cookie away from every other
route, and script never sees it.
"""

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from litestar import Request
from litestar.datastructures import Cookie
from msgspec.structs import replace

from secureconnect.accounts.service import SignIn
from secureconnect.errors import BadRequest, OriginNotAllowed
from secureconnect.ids import UserId

PREFIX = "secureconnect_refresh_"
PATH = "/v1/auth"


def with_cookie(request: Request[Any, Any, Any], signed_in: SignIn, lifetime: timedelta) -> tuple[SignIn, Cookie]:
    """The answer without its refresh token, and the cookie that holds it."""
    assert signed_in.refresh_token is not None, "a service always gives one"
    cookie = _cookie(request, PREFIX + signed_in.user.user_id.hex, signed_in.refresh_token, int(lifetime.total_seconds()))
    return replace(signed_in, refresh_token=None), cookie


def refresh_token_of(request: Request[Any, Any, Any], user_id: UserId | None) -> str | None:
    """The refresh token in this user's cookie, or in the only one there is when no user is named; None without one that fits.

    Raises OriginNotAllowed, BadRequest when the request may come from another site's page.
    """
    tokens = {name: value for name, value in request.cookies.items() if name.startswith(PREFIX)}
    if user_id is not None:
        tokens = {name: value for name, value in tokens.items() if name == PREFIX + user_id.hex}
    if len(tokens) != 1:
        return None
    refuse_other_sites(request)
    return next(iter(tokens.values()))


def refresh_tokens_of(request: Request[Any, Any, Any]) -> list[str]:
    """The refresh tokens in all cookies, of whichever user: they show which accounts have signed in on this browser."""
    return [value for name, value in request.cookies.items() if name.startswith(PREFIX)]


def expired_cookie(request: Request[Any, Any, Any], token: str | None) -> list[Cookie]:
    """What makes the browser forget the cookie that held this token; nothing when it came in the body."""
    return [_cookie(request, name, "", 0) for name, value in request.cookies.items() if name.startswith(PREFIX) and value == token]


def _cookie(request: Request[Any, Any, Any], name: str, value: str, max_age: int) -> Cookie:
    return Cookie(
        name, path=PATH, value=value, max_age=max_age, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )


def refuse_other_sites(request: Request[Any, Any, Any]) -> None:
    """Cross-site request forgery: besides SameSite, a body must be JSON (no form can send it) and an Origin must be our own.

    Also where a cookie is given: a form elsewhere must not sign a visitor's browser in as somebody else. Raises BadRequest,
    OriginNotAllowed.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json" and (content_type or request.headers.get("content-length", "0") != "0"):
        raise BadRequest("With a cookie, send the body as application/json, or none.")
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
        raise OriginNotAllowed("This page's origin may not use the cookie of another site.")
