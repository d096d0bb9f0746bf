"""Errors as RFC 9457 problems, once for every route; and the documentation of which route answers which."""

from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec

from secureconnect import errors
from secureconnect.errors import ServiceError

log = structlog.get_logger(__name__)
PROBLEM_JSON = "application/problem+json"
OPEN_TO_ALL: list[dict[str, list[str]]] = [{}]
"""The security requirement of a route that asks for no token (OpenAPI 3.1, section 4.8.30)."""


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457 problem details. `code` is stable and for machines; `detail` says what to do."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


def problem_of(error: ServiceError, request_id: str) -> Problem:
    """The problem document for an error. `type` leads to its paragraph in the documentation."""
    return Problem(
        type=f"/docs/errors#{error.code}",
        title=error.title(),
        status=error.status,
        detail=error.detail,
        code=error.code,
        request_id=request_id,
    )


def headers_of(error: ServiceError) -> dict[str, str]:
    """Retry-After, WWW-Authenticate and Upgrade where they belong (RFC 9110, 10.2.3, 11.6.1, 15.5.22)."""
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    if error.status == 426:
        headers |= {"upgrade": "websocket", "sec-websocket-version": "13"}
    return headers


def plain_answer(error: ServiceError, request_id: str) -> tuple[dict[str, str], bytes]:
    """The same outside the framework: headers and body, for a socket that is refused before its upgrade."""
    return {"content-type": PROBLEM_JSON, **headers_of(error)}, msgspec.json.encode(problem_of(error, request_id))


def answer(request: Request[Any, Any, Any], error: ServiceError) -> Response[Problem]:
    """The HTTP answer for an error."""
    request_id = request.scope.get("state", {}).get("request_id", "-")
    return Response(problem_of(error, request_id), status_code=error.status, media_type=PROBLEM_JSON, headers=headers_of(error))


def on_service_error(request: Request[Any, Any, Any], error: ServiceError) -> Response[Problem]:
    return answer(request, error)


def on_http_exception(request: Request[Any, Any, Any], failure: HTTPException) -> Response[Problem]:
    """The framework's own refusals, in our words and with our codes; what it has put into headers (Allow, with 405) stays."""
    response = answer(request, _translate(failure))
    response.headers.update(failure.headers or {})
    return response


def on_exception(request: Request[Any, Any, Any], failure: Exception) -> Response[Problem]:
    """A fault of ours: everything to the log, nothing to the client but the request id."""
    log.error("request failed", path=request.url.path, exc_info=failure)
    return answer(request, errors.Internal())


def on_deep_body(request: Request[Any, Any, Any], _failure: RecursionError) -> Response[Problem]:
    """A body that is nested deeper than the decoder goes (msgspec raises what Python raises). No route recurses by itself."""
    return answer(request, errors.BadRequest("The JSON is nested too deeply."))


EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    ServiceError: on_service_error,
    HTTPException: on_http_exception,
    RecursionError: on_deep_body,
    Exception: on_exception,
}


def _translate(failure: HTTPException) -> ServiceError:
    if isinstance(failure, ValidationException):
        return errors.BadRequest(_first_fault(failure))
    by_status: dict[int, type[ServiceError]] = {
        400: errors.BadRequest,
        401: errors.Unauthenticated,
        404: errors.NotFound,
        405: errors.MethodNotAllowed,
        413: errors.TooLarge,
    }
    kind = by_status.get(failure.status_code, errors.Internal)
    return kind(failure.detail) if kind is errors.BadRequest else kind()


def _first_fault(failure: ValidationException) -> str:
    """`field: what is wrong with it`, for the first field at fault."""
    faults = failure.extra
    if isinstance(faults, list) and faults and isinstance(faults[0], dict):
        field, message = faults[0].get("key"), str(faults[0].get("message", failure.detail))
        if field == "data" and message == "'data'":
            return "The body is missing: send a JSON object."
        return f"{field}: {message}" if field else message
    return failure.detail


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """The `responses=` of a route: which refusals it documents. Those that every signed-in route may give are included."""
    described = {
        400: "Malformed",
        401: "Not signed in",
        404: "Not there or not yours",
        409: "Does not fit the present state",
    }
    described |= {
        403: "Not allowed",
        413: "Too large",
        422: "Not acceptable",
        429: "Too many requests",
        500: "Our fault",
        503: "Try again",
    }
    return {
        status: ResponseSpec(
            data_container=Problem, description=described[status], media_type=PROBLEM_JSON, generate_examples=False
        )
        for status in sorted({400, 401, 429, 500, 503, *statuses})
    }
