"""How the references write messages, where that differs from SecureConnect's wire. Called by side_by_side."""

import msgspec

from secureconnect.load.contents import Content
from secureconnect.load.wire import Arrival, RefusedError

NOTHING = msgspec.Raw()
TYPES = {"ice_candidate": "CANDIDATE", "offer": "OFFER"}


class _Payload(msgspec.Struct, gc=False):
    candidate: msgspec.Raw = NOTHING
    sdp: msgspec.Raw = NOTHING


class _PeerFrame(msgspec.Struct, gc=False):
    type: str
    payload: _Payload | None = None


class PeerWire:
    """The PeerJS server's: a type it knows, the payload it passes on, the addressee. It numbers nothing."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(_PeerFrame)

    def frame(self, content: Content, target: str) -> tuple[bytes, bytes]:
        opening = f'{{"type":"{TYPES[content.kind]}","dst":"{target}","payload":{{"{content.field}":'
        return opening.encode() + content.head, content.tail + b"}}"

    def read(self, payload: memoryview) -> Arrival | None:
        frame = self._decoder.decode(payload)
        if frame.type == "CANDIDATE" and frame.payload is not None:
            return Arrival(None, bytes(frame.payload.candidate))
        if frame.type == "OFFER" and frame.payload is not None:
            return Arrival(None, bytes(frame.payload.sdp))
        if frame.type in {"ERROR", "EXPIRE", "LEAVE"}:
            raise RefusedError(frame.type)
        return None
