"""How a content becomes a frame of a server, and a frame of the server a content again.

Called by traffic. This is the one place where it knows SecureConnect's frames; bench/ has wires of its own for other servers.
"""

from typing import Protocol

import msgspec

from secureconnect.load.contents import Content


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """A relayed message: the sequence number the server gave it, None when it gives none, and the content's bytes."""

    seq: int | None
    value: bytes


class RefusedError(Exception):
    """The server answered a message with an error; the argument is its code."""


class Wire(Protocol):
    """A server's own way to write messages."""

    def frame(self, content: Content, target: str) -> tuple[bytes, bytes]:
        """What goes before and after the content's number in a frame to `target`."""
        ...

    def read(self, payload: memoryview) -> Arrival | None:
        """A relayed message, or None for what is none. Raises RefusedError."""
        ...


NOTHING = msgspec.Raw()


class _Frame(msgspec.Struct, gc=False):
    """A server's frame; the contents stay as the bytes they came as."""

    type: str
    seq: int | None = None
    candidate: msgspec.Raw = NOTHING
    sdp: msgspec.Raw = NOTHING
    code: str = ""


class SecureConnectWire:
    """docs/protocol.md, signaling."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(_Frame)

    def frame(self, content: Content, target: str) -> tuple[bytes, bytes]:
        opening = f'{{"type":"{content.kind}","target_id":"{target}","{content.field}":'
        return opening.encode() + content.head, content.tail + b"}"

    def read(self, payload: memoryview) -> Arrival | None:
        frame = self._decoder.decode(payload)
        if frame.type == "ice_candidate":
            return Arrival(frame.seq, bytes(frame.candidate))
        if frame.type == "offer":
            return Arrival(frame.seq, bytes(frame.sdp))
        if frame.type == "error":
            raise RefusedError(frame.code)
        return None
