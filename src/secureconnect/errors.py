"""What can go wrong, as one tree. Services raise these; `api.problems` and `signaling` turn them into answers.

ServiceError                    code, HTTP status, title; the docstring's first line is the default detail
├── BadRequest                  400 malformed
│   ├── PathNotCanonical        400 path_not_canonical
│   ├── TokenInQuery            400 token_in_query
│   └── BadSdp                  400 bad_sdp
├── Unauthenticated             401 unauthenticated
│   ├── TokenExpired            401 token_expired
│   ├── AccountDisabled         401 account_disabled
│   ├── WrongCredentials        401 wrong_credentials
│   └── RefreshReused           401 refresh_reused
├── Forbidden                   403 forbidden
│   ├── NotHost                 403 not_host
│   ├── WrongPassword           403 wrong_password
│   ├── RegistrationClosed      403 registration_closed
│   ├── InvitationRequired      403 invitation_required
│   └── OriginNotAllowed        403 origin_not_allowed
├── NotFound                    404 not_found
│   └── LinkExpired             404 link_expired
├── MethodNotAllowed            405 method_not_allowed
├── RequestTimeout              408 request_timeout
├── Conflict                    409 conflict
│   ├── EmailTaken              409 email_taken
│   ├── NoPassword              409 no_password
│   ├── CallEnded               409 call_ended
│   ├── CallFull                409 call_full
│   ├── TooManyDevices          409 too_many_devices
│   ├── TooManyCalls            409 too_many_calls
│   ├── TooManyConversations    409 too_many_conversations
│   ├── AlreadyJoined           409 already_joined
│   ├── AnsweredElsewhere       409 answered_elsewhere
│   ├── StaleEpoch              409 stale_epoch
│   ├── NotJoined               409 not_joined
│   ├── RecordingUnavailable    409 recording_unavailable
│   ├── NotRecording            409 not_recording
│   └── Superseded              409 superseded
├── TooLarge                    413 too_large
├── Unprocessable               422 unprocessable
│   ├── UnknownUser             422 unknown_user
│   ├── NotAMember              422 not_a_member
│   ├── CalleeIsCaller          422 callee_is_caller
│   ├── DuplicateCallee         422 duplicate_callee
│   ├── TooManyParticipants     422 too_many_participants
│   ├── TooManyBlocks           422 too_many_blocks
│   └── IdempotencyKeyReused    422 idempotency_key_reused
├── UpgradeRequired             426 upgrade_required
├── RateLimited                 429 rate_limited
├── HeadTooLarge                431 head_too_large
├── Internal                    500 internal
└── Unavailable                 503 unavailable
    ├── OutcomeUnknown          503 outcome_unknown
    ├── AtCapacity              503 at_capacity
    ├── SfuUnavailable          503 sfu_unavailable
    └── Draining                503 draining
"""

import re
from typing import ClassVar


class ServiceError(Exception):
    """Something went wrong."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    retry_after: int | None = None
    """Seconds after which a repeat may succeed; becomes the Retry-After header."""

    def __init__(self, detail: str | None = None, *, retry_after: int | None = None) -> None:
        self.detail = detail or (self.__doc__ or "").splitlines()[0]
        if retry_after is not None:
            self.retry_after = retry_after
        super().__init__(self.detail)

    @classmethod
    def title(cls) -> str:
        """The class name as words: stable for a code, as RFC 9457, section 3.1.3, asks."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", cls.__name__).capitalize()


class BadRequest(ServiceError):
    """The request could not be understood; see the API description for its shape."""

    status = 400
    code = "malformed"


class BadSdp(BadRequest):
    """The session description is not one that the SFU takes."""

    code = "bad_sdp"


class PathNotCanonical(BadRequest):
    """Write the path in its plain form: unreserved characters only, no empty or dot segments, no slash at the end."""

    code = "path_not_canonical"


class TokenInQuery(BadRequest):
    """A token in the query string ends in logs: send it in the Authorization header or as the subprotocol bearer.<JWT>."""

    code = "token_in_query"


class Unauthenticated(ServiceError):
    """Sign in first: send `Authorization: Bearer <access token>`."""

    status = 401
    code = "unauthenticated"


class TokenExpired(Unauthenticated):
    """The access token has expired: get a new one from /v1/auth/refresh."""

    code = "token_expired"


class AccountDisabled(Unauthenticated):
    """This account is disabled: ask the operator of this server."""

    code = "account_disabled"


class WrongCredentials(Unauthenticated):
    """Email and password do not belong together."""

    code = "wrong_credentials"


class RefreshReused(Unauthenticated):
    """This refresh token was used before, so all tokens of this sign-in have ended: sign in again."""

    code = "refresh_reused"


class Forbidden(ServiceError):
    """You may not do this here."""

    status = 403
    code = "forbidden"


class NotHost(Forbidden):
    """Only the one who started a group call can end it for everybody: leave it instead."""

    code = "not_host"


class WrongPassword(Forbidden):
    """The current password is another one."""

    code = "wrong_password"


class OriginNotAllowed(Forbidden):
    """This page's origin may not open sockets here: add it to allowed_origins."""

    code = "origin_not_allowed"


class NotFound(ServiceError):
    """There is no such thing, or it is not yours to see."""

    status = 404
    code = "not_found"


class LinkExpired(NotFound):
    """This link has expired or was used: ask for another."""

    code = "link_expired"


class MethodNotAllowed(ServiceError):
    """This address does not answer to that method."""

    status = 405
    code = "method_not_allowed"


class RequestTimeout(ServiceError):
    """The request did not arrive in time."""

    status = 408
    code = "request_timeout"


class UpgradeRequired(ServiceError):
    """This address speaks WebSocket version 13 (RFC 6455) only."""

    status = 426
    code = "upgrade_required"


class HeadTooLarge(ServiceError):
    """The headers of the request are too large."""

    status = 431
    code = "head_too_large"


class Conflict(ServiceError):
    """The request does not fit the present state."""

    status = 409
    code = "conflict"


class NoPassword(Conflict):
    """This account has no password here: change it where you sign in."""

    code = "no_password"


class EmailTaken(Conflict):
    """There is an account with this email already: sign in, or choose another."""

    code = "email_taken"


class CallEnded(Conflict):
    """The call is over."""

    code = "call_ended"


class StaleEpoch(Conflict):
    """The call's media goes another way by now: look at its topology and epoch, and offer again."""

    code = "stale_epoch"


class CallFull(Conflict):
    """The call holds no more people."""

    code = "call_full"


class TooManyDevices(Conflict):
    """You are in this call with four devices: leave with one of them first."""

    code = "too_many_devices"


class TooManyCalls(Conflict):
    """You are in as many calls as you may be: leave one of them first."""

    code = "too_many_calls"


class TooManyConversations(Conflict):
    """You own as many conversations as you may: delete some that you do not need."""

    code = "too_many_conversations"


class AlreadyJoined(Conflict):
    """You are in this call already: leave it instead."""

    code = "already_joined"


class AnsweredElsewhere(Conflict):
    """Another device of yours is in this call: join with mode add or move."""

    code = "answered_elsewhere"


class NotJoined(Conflict):
    """Join the call first."""

    code = "not_joined"


class RecordingUnavailable(Conflict):
    """This call cannot be recorded now."""

    code = "recording_unavailable"


class NotRecording(Conflict):
    """This call was never recorded, so there is nothing to stop."""

    code = "not_recording"


class Superseded(Conflict):
    """A later attempt to resume this session came first: go on with that one."""

    code = "superseded"


class TooLarge(ServiceError):
    """The body is larger than this address takes."""

    status = 413
    code = "too_large"


class Unprocessable(ServiceError):
    """The request is well-formed but cannot be accepted."""

    status = 422
    code = "unprocessable"


class UnknownUser(Unprocessable):
    """One of the users named does not exist."""

    code = "unknown_user"


class NotAMember(Unprocessable):
    """One of the people named is not a member of the conversation."""

    code = "not_a_member"


class CalleeIsCaller(Unprocessable):
    """One cannot ring oneself."""

    code = "callee_is_caller"


class DuplicateCallee(Unprocessable):
    """Somebody is named twice."""

    code = "duplicate_callee"


class TooManyParticipants(Unprocessable):
    """More people than a call holds here."""

    code = "too_many_participants"


class IdempotencyKeyReused(Unprocessable):
    """This Idempotency-Key was used for a different request: choose a new one."""

    code = "idempotency_key_reused"


class RateLimited(ServiceError):
    """Too many requests: slow down."""

    status = 429
    code = "rate_limited"
    retry_after = 1


class Internal(ServiceError):
    """Something went wrong here; the request_id finds it in the log."""


class Unavailable(ServiceError):
    """Something this needs is not reachable now; nothing was changed."""

    status = 503
    code = "unavailable"
    retry_after = 2


class SfuUnavailable(Unavailable):
    """No SFU serves this call now; when one does, the topology says so."""

    code = "sfu_unavailable"


class OutcomeUnknown(Unavailable):
    """The database went away while it was told to keep the change: it may have been made, or not. Ask again with the same key."""

    code = "outcome_unknown"


class AtCapacity(Unavailable):
    """This node holds as many sockets as it may: try another, or later."""

    code = "at_capacity"


class Draining(Unavailable):
    """This node is going away: connect again and reach another."""

    code = "draining"
    retry_after = 1


def all_errors(root: type[ServiceError] = ServiceError) -> list[type[ServiceError]]:
    """Every class of the tree, for the documents that must name each code."""
    found = []
    for child in root.__subclasses__():
        found += [child, *all_errors(child)]
    return found
