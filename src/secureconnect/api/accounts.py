"""Sign-in and people: the routes. They parse, count against the rate limits, call accounts.service, and answer.

No rule lives here; api.cookies knows the refresh token's cookie.
"""

from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta, Struct

from secureconnect.accounts.client import Client
from secureconnect.accounts.registration import PublicConfig
from secureconnect.accounts.service import (
    EMAIL_CHARS,
    PASSWORD_CHARS,
    AccountService,
)
from secureconnect.accounts.sign_in_limits import Attempt
from secureconnect.accounts.sign_ins import SignIn
from secureconnect.api.cookies import expired_cookie, refresh_token_of, refresh_tokens_of, refuse_other_sites, with_cookie
from secureconnect.api.dependencies import Accounts, SignedIn, SigningIn
from secureconnect.api.idempotency import IdempotencyKey
from secureconnect.api.limits import address_of
from secureconnect.api.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, page_of
from secureconnect.api.problems import OPEN_TO_ALL, problems
from secureconnect.errors import Unauthenticated
from secureconnect.ids import DeviceId, UserId
from secureconnect.store.accounts import Person, User
from secureconnect.text import NAME_CHARS

AnyRequest = Request[Any, Any, Any]
Email = Annotated[str, Meta(min_length=3, max_length=EMAIL_CHARS, examples=["ada@example.com"])]
OfDevice = Annotated[DeviceId | None, Meta(description="The client's own id for this device: to revoke it ends this sign-in.")]
OfInvitation = Annotated[
    Annotated[str, Meta(max_length=64)] | None, Meta(description="The token of an invitation, where registration is by invitation.")
]
AsCookie = Annotated[bool, Meta(description="Put the refresh token into an HttpOnly cookie instead of the answer: for browsers.")]


class Registration(Struct, frozen=True):
    """A new account."""

    email: Email
    password: Annotated[str, Meta(min_length=PASSWORD_CHARS[0], max_length=PASSWORD_CHARS[1])]
    display_name: Annotated[str, Meta(min_length=1, max_length=NAME_CHARS)]
    cookie: AsCookie = False
    device_id: OfDevice = None
    invitation: OfInvitation = None


class Login(Struct, frozen=True):
    """Somebody's email and password."""

    email: Email
    password: Annotated[str, Meta(max_length=PASSWORD_CHARS[1])]
    cookie: AsCookie = False
    device_id: OfDevice = None


class RefreshTokenChoice(Struct, frozen=True):
    """The refresh token itself or, for browsers, whose cookie is meant."""

    refresh_token: Annotated[str, Meta(max_length=256)] | None = None
    user_id: UserId | None = None


@post(
    "/v1/auth/register",
    security=OPEN_TO_ALL,
    tags=["accounts"],
    summary="Make an account",
    description=(
        "And sign in. A repeat with the same `Idempotency-Key`, email, name and password signs in again. "
        "Whether it is allowed, `GET /v1/auth/config` says."
    ),
    responses=problems(403, 409, 422),
)
async def register(
    request: AnyRequest,
    data: JSONBody[Registration],
    accounts: Accounts,
    sign_in_limits: SigningIn,
    idempotency_key: IdempotencyKey = None,
) -> Response[SignIn]:
    if data.cookie:
        refuse_other_sites(request)
    client = await sign_in_limits.register(address_of(request))
    signed_in = await accounts.register(
        email=data.email,
        password=data.password,
        display_name=data.display_name,
        idempotency_key=idempotency_key,
        device_id=data.device_id,
        client=client,
        invitation=data.invitation,
    )
    return answer_sign_in(request, accounts, signed_in, 201, as_cookie=data.cookie)


@get("/v1/auth/config", security=OPEN_TO_ALL, tags=["accounts"], summary="What a page may offer before anyone signs in")
async def config(accounts: Accounts) -> PublicConfig:
    return accounts.registration.public


@post(
    "/v1/auth/login",
    security=OPEN_TO_ALL,
    status_code=200,
    tags=["accounts"],
    summary="Sign in",
    description="An access token for fifteen minutes, and a refresh token that buys the next.",
    responses=problems(422),
)
async def login(request: AnyRequest, data: JSONBody[Login], accounts: Accounts, sign_in_limits: SigningIn) -> Response[SignIn]:
    if data.cookie:
        refuse_other_sites(request)
    attempt = Attempt(data.email, address_of(request), data.device_id, refresh_tokens_of(request))

    async def sign_in(client: Client) -> SignIn:
        return await accounts.login(email=data.email, password=data.password, device_id=data.device_id, client=client)

    signed_in = await sign_in_limits.sign_in(attempt, sign_in)
    return answer_sign_in(request, accounts, signed_in, 200, as_cookie=data.cookie)


@post(
    "/v1/auth/refresh",
    security=OPEN_TO_ALL,
    status_code=200,
    tags=["accounts"],
    summary="Exchange a refresh token",
    description=(
        "Each refresh token is good for one exchange; the one used last is answered again for 30 seconds, in case the answer was "
        "lost. One that comes later was stolen: all tokens of that sign-in end, with `refresh_reused`. Browsers send the cookie, "
        "and `user_id` when several people are signed in."
    ),
    responses=problems(403),
)
async def refresh(
    request: AnyRequest, accounts: Accounts, sign_in_limits: SigningIn, data: JSONBody[RefreshTokenChoice | None] = None
) -> Response[SignIn]:
    choice = data or RefreshTokenChoice()
    token = choice.refresh_token or refresh_token_of(request, choice.user_id)
    if token is None:
        raise Unauthenticated("Send a refresh_token, or the cookie of one signed-in user (with user_id when there are several).")
    signed_in = await accounts.refresh(token, sign_in_limits.client_at(address_of(request)))
    # What came as a cookie goes back as one: script must never come to see it.
    return answer_sign_in(request, accounts, signed_in, 200, as_cookie=not choice.refresh_token, keeps_name=True)


@post(
    "/v1/auth/logout",
    security=OPEN_TO_ALL,
    status_code=204,
    tags=["accounts"],
    summary="Sign out",
    description="Ends the sign-in that the refresh token belongs to. Doing it again changes nothing.",
    responses=problems(403),
)
async def logout(request: AnyRequest, accounts: Accounts, data: JSONBody[RefreshTokenChoice | None] = None) -> Response[None]:
    choice = data or RefreshTokenChoice()
    token = choice.refresh_token or refresh_token_of(request, choice.user_id)
    if token is not None:
        await accounts.logout(token)
    return Response(None, status_code=204, cookies=expired_cookie(request, token))


@get("/v1/users/me", tags=["accounts"], summary="Who am I", responses=problems())
async def me(principal: SignedIn, accounts: Accounts) -> User:
    return await accounts.me(principal.user_id)


@get(
    "/v1/users",
    tags=["accounts"],
    summary="Find people",
    description=(
        "People in whose name a word begins with `q`, never oneself. By the setting `directory`: people who share a conversation "
        "with who asks, or all users of the server; then a whole email finds its owner. Emails are not shown."
    ),
    responses=problems(422),
)
async def search(
    principal: SignedIn,
    accounts: Accounts,
    q: Annotated[str, QueryParameter(max_length=EMAIL_CHARS, description="The beginning of a word; empty for all.")],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[Person]:
    return page_of(*await accounts.search(principal.user_id, q, limit=limit, after=decode_cursor(cursor)))


def answer_sign_in(
    request: AnyRequest,
    accounts: AccountService,
    signed_in: SignIn,
    status: int,
    *,
    as_cookie: bool,
    keeps_name: bool = False,
) -> Response[SignIn]:
    # Tokens must not stay in a cache (RFC 6749, section 5.1).
    headers = {"cache-control": "no-store"}
    if not as_cookie:
        return Response(signed_in, status_code=status, headers=headers)
    body, cookies = with_cookie(request, signed_in, accounts.refresh_lifetime, keeps_name=keeps_name)
    return Response(body, status_code=status, headers=headers, cookies=cookies)


routes: list[HTTPRouteHandler] = [config, register, login, refresh, logout, me, search]
