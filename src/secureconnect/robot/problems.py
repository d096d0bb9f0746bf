"""What can go wrong between a client and the server, as exceptions.

    ClientError
    ├── ProblemError        the server refused: an RFC 9457 answer with status, code, detail
    └── UnreachableError    there was no answer at all

Raised by `client` and `sockets`. Not the tree of `secureconnect.errors`: that is what a server raises before it answers.
"""

from collections.abc import Mapping

import msgspec


class ClientError(Exception):
    """The server could not be asked, or said no; the message is a sentence for people."""


class UnreachableError(ClientError):
    """The server did not answer: it is down, restarting, or the address is wrong."""


class ProblemError(ClientError):
    """The server's refusal. `code` is stable and machine-readable, `retry_after` is in seconds, None when it named none."""

    def __init__(self, status: int, code: str, detail: str, retry_after: float | None = None) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after = retry_after
        super().__init__(f"{detail} ({status} {code})")

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed later without anything being changed about it."""
        return self.status in {429, 502, 503, 504}


class _Body(msgspec.Struct):
    code: str = "unknown"
    detail: str = "the server refused without a reason"


def problem(status: int, headers: Mapping[str, str], body: bytes | bytearray) -> ProblemError:
    """The ProblemError that an HTTP answer describes; a body that is not a problem (a gateway's page) gets the code `unknown`."""
    try:
        described = msgspec.json.decode(body, type=_Body)
    except msgspec.DecodeError:
        described = _Body()
    after = headers.get("Retry-After", "")
    return ProblemError(status, described.code, described.detail, float(after) if after.isdigit() else None)
