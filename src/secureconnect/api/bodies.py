"""Bodies whose JSON types count. The framework converts values leniently, so 0 or "false" would pass for a boolean."""

from typing import Any

import msgspec
from litestar import Request

from secureconnect.errors import BadRequest


async def require_json_types(request: Request[Any, Any, Any], kind: type[msgspec.Struct]) -> None:
    """Refuse a body that fits `kind` only after conversion between JSON types (RFC 8259, section 3). Raises BadRequest."""
    try:
        msgspec.convert(await request.json(), type=kind, strict=True)
    except msgspec.ValidationError as fault:
        raise BadRequest(f"{fault}.") from None
