"""The Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header), as every POST that creates takes it."""

from typing import Annotated

from litestar.params import HeaderParameter

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        max_length=128,
        description="A name that the client gives this request. A repeat with the same key returns what the first one made.",
    ),
]
