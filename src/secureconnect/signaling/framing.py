"""Text frames of the server, many at once (RFC 6455, section 5.2). Pure; `signaling.socket` writes with it what has piled up."""

from collections.abc import Iterable

_FIN_TEXT = b"\x81"
_SMALL = [_FIN_TEXT + bytes([size]) for size in range(126)]


def text_frames(payloads: Iterable[bytes]) -> bytes:
    """The payloads, each a final unmasked text frame, one behind the other."""
    parts: list[bytes] = []
    for payload in payloads:
        parts += (_header(len(payload)), payload)
    return b"".join(parts)


def _header(size: int) -> bytes:
    if size < 126:
        return _SMALL[size]
    if size < 65_536:
        return _FIN_TEXT + b"\x7e" + size.to_bytes(2, "big")
    return _FIN_TEXT + b"\x7f" + size.to_bytes(8, "big")
