"""Lists in pages: the one shape they all have, and the parameters that walk them. Used by every route that answers with a list.

A cursor is opaque to clients: base64url of the id to go on after. Ids are time-ordered, so a page neither repeats nor skips when
something new arrives at the front.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from litestar.params import QueryParameter
from msgspec import Struct

from secureconnect.errors import BadRequest

T = TypeVar("T")
DEFAULT_LIMIT = 50

Limit = Annotated[int, QueryParameter(ge=1, le=100, description="How many items at most.")]
Cursor = Annotated[
    str | None,
    QueryParameter(
        pattern="^[A-Za-z0-9_-]{21}[AQgw]$",  # base64url of 16 bytes: of the last character only two bits are used
        description="`next_cursor` of the page before; absent for the first.",
    ),
]


class Page(Struct, Generic[T], frozen=True):
    """Some items of a list. `next_cursor` leads to the following page and is null on the last."""

    items: list[T]
    next_cursor: str | None


def page_of(items: Sequence[T], go_on_after: UUID | None) -> Page[T]:
    """A page that leads on to what comes after the id, or nowhere."""
    return Page(list(items), None if go_on_after is None else encode_cursor(go_on_after))


def encode_cursor(go_on_after: UUID) -> str:
    return urlsafe_b64encode(go_on_after.bytes).rstrip(b"=").decode()


def decode_cursor(cursor: str | None) -> UUID | None:
    """The id in a cursor, None for the first page. Raises BadRequest for what no page ever named."""
    if cursor is None:
        return None
    try:
        decoded = UUID(bytes=urlsafe_b64decode(cursor + "=="))
    except ValueError:
        decoded = None
    if decoded is None or encode_cursor(decoded) != cursor:
        raise BadRequest("cursor: not one that a page named as next_cursor.")
    return decoded
