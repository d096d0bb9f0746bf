"""What an access token allows, and until when. Kept with each socket, so that it ends with the token.

Holds values only; `accounts.verification` makes them from a token, `accounts.revocations` judges them.
"""

from uuid import UUID

from msgspec import Struct

from secureconnect.ids import DeviceId, UserId


class Grant(Struct, frozen=True, gc=False):
    """The user, sign-in and times of one verified access token. Times are seconds since 1970, as in the token (RFC 7519).

    `issued_at` of a token without `iat` is the earliest moment at which it can have been issued. `sign_in` and `device_id` are
    None when the token names none: those of embedding applications do not.
    """

    user_id: UserId
    issued_at: float
    expires_at: float
    sign_in: UUID | None = None
    device_id: DeviceId | None = None
