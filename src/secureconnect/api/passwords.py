"""Passwords and all sign-ins of an account: the routes. They parse, count, call accounts.password, answer."""

from typing import Annotated, Any

from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody
from msgspec import Meta, Struct

from secureconnect.accounts.service import PASSWORD_CHARS
from secureconnect.accounts.sign_ins import SignIn
from secureconnect.api.accounts import AsCookie, OfDevice, answer_sign_in
from secureconnect.api.cookies import expired_cookie, refresh_token_of, refuse_other_sites
from secureconnect.api.dependencies import Accounts, Administering, Limiter, Passwords, SignedIn, SigningIn
from secureconnect.api.limits import address_of
from secureconnect.api.problems import OPEN_TO_ALL, problems

AnyRequest = Request[Any, Any, Any]
NewPassword = Annotated[str, Meta(min_length=PASSWORD_CHARS[0], max_length=PASSWORD_CHARS[1])]


class PasswordChange(Struct, frozen=True):
    """The present password and the one that replaces it."""

    current_password: Annotated[str, Meta(max_length=PASSWORD_CHARS[1])]
    new_password: NewPassword
    cookie: AsCookie = False


class PasswordReset(Struct, frozen=True):
    """The token of a one-time link, and a new password."""

    token: Annotated[str, Meta(min_length=1, max_length=256)]
    new_password: NewPassword
    cookie: AsCookie = False
    device_id: OfDevice = None


@post(
    "/v1/auth/password",
    status_code=200,
    tags=["accounts"],
    summary="Change the password",
    description="Ends all other sign-ins within a second: tokens, sockets, refresh tokens. This one goes on with new tokens.",
    responses=problems(403, 409, 422),
)
async def change_password(
    request: AnyRequest,
    data: JSONBody[PasswordChange],
    principal: SignedIn,
    accounts: Accounts,
    passwords: Passwords,
    limiter: Limiter,
    sign_in_limits: SigningIn,
) -> Response[SignIn]:
    if data.cookie:
        refuse_other_sites(request)
    await limiter.hit("password", str(principal.user_id))
    client = sign_in_limits.client_at(address_of(request), is_known=True)
    signed_in = await passwords.change(principal, data.current_password, data.new_password, client)
    return answer_sign_in(request, accounts, signed_in, 200, as_cookie=data.cookie)


@post(
    "/v1/auth/password/reset",
    security=OPEN_TO_ALL,
    status_code=200,
    tags=["accounts"],
    summary="Set a new password by a one-time link",
    description="With the token of a link from the operator. It works once, for 30 minutes. Ends all sign-ins, then signs in.",
    responses=problems(404, 409, 422),
)
async def reset_password(
    request: AnyRequest,
    data: JSONBody[PasswordReset],
    accounts: Accounts,
    passwords: Passwords,
    sign_in_limits: SigningIn,
) -> Response[SignIn]:
    if data.cookie:
        refuse_other_sites(request)
    client = sign_in_limits.client_at(address_of(request))
    signed_in = await passwords.reset(data.token, data.new_password, data.device_id, client)
    return answer_sign_in(request, accounts, signed_in, 200, as_cookie=data.cookie)


@post(
    "/v1/auth/logout-everywhere",
    status_code=204,
    tags=["accounts"],
    summary="Sign out everywhere",
    description="Ends all sign-ins of the user, this one included: their tokens, sockets and refresh tokens.",
    responses=problems(403),
)
async def logout_everywhere(request: AnyRequest, principal: SignedIn, administration: Administering) -> Response[None]:
    await administration.sign_out(principal.user_id)
    return Response(None, status_code=204, cookies=expired_cookie(request, refresh_token_of(request, principal.user_id)))


routes: list[HTTPRouteHandler] = [change_password, reset_password, logout_everywhere]
