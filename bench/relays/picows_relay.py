"""The bare relay: picows on uvloop, JSON by msgspec, and nothing else. The floor under SecureConnect's cost of a message.

    python picows_relay.py PORT

Decodes a message into a Struct, stamps it as SecureConnect does, encodes it and sends it. It authenticates nobody, refuses
nothing and keeps no log for those who come back. SDP and candidates pass through as the JSON they came as: the cheapest
way there is.
"""

import sys
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import msgspec
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server


class Inbound(msgspec.Struct, gc=False):
    """A message as a client sends it."""

    type: str
    target_id: str
    candidate: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    sdp: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Outbound(msgspec.Struct, gc=False, omit_defaults=True):
    """The same message, stamped."""

    type: str
    seq: int
    call_id: str
    sender_id: str
    session_id: str
    target_id: str
    timestamp: datetime
    candidate: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    sdp: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Call:
    """Who is in a call, and the number of its last message."""

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id
        self.seq = 0
        self.sockets: dict[str, WSTransport] = {}


class Member(WSListener):
    """One socket of a call."""

    def __init__(self, call: Call, session_id: str) -> None:
        self.call = call
        self.session_id = session_id
        self.sender_id = str(uuid4())

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.call.sockets[self.session_id] = transport
        transport.send(WSMsgType.TEXT, msgspec.json.encode({"type": "welcome", "session_id": self.session_id}))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is not WSMsgType.TEXT:
            return
        message = DECODER.decode(frame.get_payload_as_memoryview())
        call = self.call
        call.seq += 1
        stamped = Outbound(
            message.type,
            call.seq,
            call.call_id,
            self.sender_id,
            self.session_id,
            message.target_id,
            datetime.now(UTC),
            message.candidate,
            message.sdp,
        )
        call.sockets[message.target_id].send(WSMsgType.TEXT, ENCODER.encode(stamped))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.call.sockets.pop(self.session_id, None)


DECODER = msgspec.json.Decoder(Inbound)
ENCODER = msgspec.json.Encoder()


async def main(port: int) -> None:
    calls: dict[str, Call] = {}

    def admit(request: WSUpgradeRequest) -> Member:
        query = parse_qs(urlsplit(request.path.decode()).query)
        (call_id,), (session_id,) = query["call_id"], query["session_id"]
        return Member(calls.setdefault(call_id, Call(call_id)), session_id)

    server = await ws_create_server(admit, "127.0.0.1", port, read_buffer_init_size=2048, max_frame_size=65536)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
