"""The refresh token as a browser's cookie: setting it, finding it, refusing other sites that ride on it. Used by api.accounts.

The name holds the user, so that two people may be signed in in one browser. The path keeps the cookie away from every other
route, and script never sees it.
"""

from datetime import timedelta
from typing import Any

from litestar import Request
from litestar.datastructures import Cookie
from msgspec import Struct
from msgspec.structs import replace

from secureconnect.accounts.sign_ins import SignIn
from secureconnect.api.edge import CAME_BY
from secureconnect.errors import BadRequest, OriginNotAllowed
from secureconnect.http.fields import values_of
from secureconnect.http.origins import Origins
from secureconnect.ids import UserId

PREFIX = "secureconnect_refresh_"
SECURE_PREFIX = f"__Secure-{PREFIX}"
"""Browsers take a cookie of this name over TLS only (RFC 6265bis, section 4.1.3). Not `__Host-`, which would need the path `/`."""
PATH = "/v1/auth"
RULES = "refresh_cookies"
"""Where the application keeps its CookieRules."""


class CookieRules(Struct, frozen=True):
    """What cookies depend on besides the request. `secure`: as public_url says; None when only the request tells."""

    origins: Origins = Origins(())
    secure: bool | None = None


def with_cookie(
    request: Request[Any, Any, Any], signed_in: SignIn, lifetime: timedelta, *, keeps_name: bool = False
) -> tuple[SignIn, list[Cookie]]:
    """Return the answer without its refresh token, and the cookies that hold it and forget others of this user.

    `keeps_name`: a token that is exchanged goes back under the name it came by. While nodes of version 0.1 are left, which know one
    name only, two names would hold two tokens, and a browser that is sent from node to node would show one of them twice.
    """
    assert signed_in.refresh_token is not None, "a service always gives one"
    secure, plain = (prefix + signed_in.user.user_id.hex for prefix in (SECURE_PREFIX, PREFIX))
    came_plain = keeps_name and plain in request.cookies and secure not in request.cookies
    name = secure if _is_secure(request) and not came_plain else plain
    kept = _cookie(request, name, signed_in.refresh_token, int(lifetime.total_seconds()))
    others = [_cookie(request, other, "", 0) for other in (secure, plain) if other != name and other in request.cookies]
    return replace(signed_in, refresh_token=None), [kept, *others]


def refresh_token_of(request: Request[Any, Any, Any], user_id: UserId | None) -> str | None:
    """The refresh token in this user's cookie, or in the only one there is when no user is named; None without one that fits.

    Raises OriginNotAllowed, BadRequest when the request may come from another site's page.
    """
    tokens = _tokens(request)
    if user_id is not None:
        tokens = {user: value for user, value in tokens.items() if user == user_id.hex}
    if len(tokens) != 1:
        return None
    refuse_other_sites(request)
    return next(iter(tokens.values()))


def refresh_tokens_of(request: Request[Any, Any, Any]) -> list[str]:
    """The refresh tokens in all cookies, of whichever user: they show which accounts have signed in on this browser."""
    return [value for name, value in request.cookies.items() if name.startswith(PREFIX)]


def expired_cookie(request: Request[Any, Any, Any], token: str | None) -> list[Cookie]:
    """What makes the browser forget the cookies of the user whose cookie held this token; nothing when it came in the body."""
    users = {user for user, value in _tokens(request).items() if value == token}
    return [_cookie(request, name, "", 0) for name in request.cookies if _user_of(name) in users]


def _tokens(request: Request[Any, Any, Any]) -> dict[str, str]:
    """Refresh tokens by user. Over TLS the name that only TLS can set goes before the one of version 0.1."""
    found: dict[str, str] = {}
    for name, value in sorted(
        request.cookies.items(), key=lambda cookie: cookie[0].startswith(SECURE_PREFIX) == _is_secure(request)
    ):
        user = _user_of(name)
        if user is not None:
            found[user] = value
    return found


def _user_of(name: str) -> str | None:
    for prefix in (SECURE_PREFIX, PREFIX):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return None


def _is_secure(request: Request[Any, Any, Any]) -> bool:
    rules = _rules(request)
    return request.url.scheme == "https" if rules.secure is None else rules.secure


def _rules(request: Request[Any, Any, Any]) -> CookieRules:
    rules = request.app.state.get(RULES, CookieRules())
    assert isinstance(rules, CookieRules)
    return rules


def _cookie(request: Request[Any, Any, Any], name: str, value: str, max_age: int) -> Cookie:
    secure = _is_secure(request) or name.startswith(SECURE_PREFIX)
    return Cookie(name, path=PATH, value=value, max_age=max_age, httponly=True, samesite="strict", secure=secure)


def refuse_other_sites(request: Request[Any, Any, Any]) -> None:
    """Cross-site request forgery: besides SameSite, a body must be JSON (no form can send it) and an Origin must be our own.

    Also where a cookie is given: a form elsewhere must not sign a visitor's browser in as somebody else. Raises BadRequest,
    OriginNotAllowed.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json" and (content_type or request.headers.get("content-length", "0") != "0"):
        raise BadRequest("With a cookie, send the body as application/json, or none.")
    origin = values_of(request.scope["headers"], b"origin")
    came_by = request.scope["state"].get(CAME_BY)
    if origin and not _rules(request).origins.owns(origin, request.headers.get("host", ""), came_by):
        raise OriginNotAllowed("This page's origin may not use the cookie of another site.")
