"""One open WebSocket, from the listener that picows calls to the channel that an attachment writes to.

Counts every byte that waits for the client, control frames included, and stops reading from a client that does not read.
The handshake is in `signaling.socket`, the limits of a user and of the process in `signaling.outgoing`.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, cast

import structlog
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from secureconnect.ops.logging import request_id
from secureconnect.signaling.framing import text_frames
from secureconnect.signaling.lifetime import CLOSE_EXPIRED, CLOSE_REVOKED
from secureconnect.signaling.outgoing import CLOSE_POLICY
from secureconnect.signaling.protocol import CONNECTION_BYTES, MAX_FRAME_BYTES
from secureconnect.signaling.session import is_too_slow
from secureconnect.signaling.upgrade import Attachment

if TYPE_CHECKING:
    from secureconnect.signaling.socket import Sockets

log = structlog.get_logger(__name__)

WRITE_HIGH_WATER_BYTES = 65_536
"""Bytes in the transport's buffer above which frames wait in our queue and the client is not read from."""
MAX_CONTROL_FRAMES = 400
"""Pings and pongs of a client between two of our pings (20 s). A browser sends one pong, a library a ping a second."""
CLOSE_SECONDS = 2.0
"""How long a goodbye may take to be read before the connection is cut."""

CLOSE_UNSUPPORTED = 1003
CLOSE_TOO_BIG = 1009
"""Sent by picows: see `MAX_FRAME_BYTES`."""
CLOSE_TRY_AGAIN = 1013
CLOSE_SILENT = 4001
LOST = 1006
"""What stands in the log for a socket that ended without a close frame (RFC 6455, section 7.1.5). Never sent."""
COUNTED_CODES = frozenset({1000, 1001, 1003, 1005, 1006, 1008, 1009, 1011, 1012, 1013, CLOSE_SILENT, CLOSE_REVOKED, CLOSE_EXPIRED})
"""Ours and those of browsers. A client may say any number: the others are counted together."""

# Looking a member of an enumeration up costs more than comparing with it, and this happens for every frame.
_TEXT, _CLOSE, _BINARY, _CONTINUATION = WSMsgType.TEXT, WSMsgType.CLOSE, WSMsgType.BINARY, WSMsgType.CONTINUATION
_PING = WSMsgType.PING


class Connection(WSListener):
    """One open socket: picows' listener below, the attachment's Channel above."""

    # Of the class until they are needed: an idle socket, of which there are tens of thousands, has none of these.
    held = 0
    """Bytes that wait, as `signaling.outgoing` counts them."""
    controls = 0
    _pong: bytes | None = None

    def __init__(self, sockets: "Sockets", attachment: Attachment) -> None:
        self._sockets = sockets
        self.attachment = attachment
        self.owner = sockets.outgoing.owner_of(attachment.user_id)
        self.request = request_id()
        self.farewell = (LOST, "connection lost")
        self._transport: WSTransport | None = None
        self._queue: deque[bytes] | None = None
        self._behind: list[bytes] | None = None
        self._queued_bytes = 0
        self._closing = False
        self._heard = sockets.monotonic()
        self.slot = id(self) >> 6

    @property
    def kind(self) -> str:
        """`signaling` or `events`."""
        return self.attachment.kind

    @property
    def is_closing(self) -> bool:
        """Whether one side has said goodbye."""
        return self._closing

    # picows' side

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)
        self._sockets.open.add(self)
        self._sockets.opened[self.attachment.kind] += 1
        self._sockets.outgoing.add(self.attachment.user_id, self)
        log.info("socket opened", kind=self.attachment.kind, **self.attachment.context)
        self._sockets.outgoing.limit_sockets(self.owner)
        if not self._sockets.lifetimes.end_if_over(self):
            self.attachment.opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        now = self._heard = self._sockets.monotonic()
        if self._closing:
            if frame.msg_type == _CLOSE:
                transport.disconnect()
        elif frame.msg_type == _TEXT and frame.fin:
            if frame.payload_size <= MAX_FRAME_BYTES:
                self.attachment.received(frame.get_payload_as_bytes(), now)
        else:
            self._on_other_frame(transport, frame)

    def _on_other_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == _CLOSE:
            self.farewell = (int(cast("int", frame.get_close_code())), "closed by the client")
            self._fall_silent()
            transport.send_close(frame.get_close_code())
            transport.disconnect()
            # A client that does not read would hold the connection until TCP gives it up.
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, transport.disconnect, False)
        elif frame.msg_type == _BINARY:
            self.close(CLOSE_UNSUPPORTED, "text frames only")
        elif frame.msg_type in (_TEXT, _CONTINUATION):
            self.close(CLOSE_UNSUPPORTED, "one message, one frame")
        else:
            self._on_control_frame(frame)

    def _on_control_frame(self, frame: WSFrame) -> None:
        """A ping or a pong. Of several pings in one turn of the loop the newest is answered (RFC 6455, section 5.5.3)."""
        self.controls += 1
        if self.controls > MAX_CONTROL_FRAMES:
            self.close(CLOSE_POLICY, "too many control frames")
        elif frame.msg_type == _PING:
            if self._pong is None and self._behind is None and self._queue is None:
                self._sockets.flush_after_turn(self)
            self._pong = frame.get_payload_as_bytes()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._fall_silent()
        self._sockets.open.discard(self)
        self._sockets.outgoing.remove(self.attachment.user_id, self)
        code, reason = self.farewell
        self._sockets.closed[self.attachment.kind, str(code) if code in COUNTED_CODES else "other"] += 1
        context = self.attachment.context
        log.info("socket closed", kind=self.attachment.kind, code=code, reason=reason, request=self.request, **context)

    def _fall_silent(self) -> None:
        """Nothing is written any more: a transport that is closed does not take it."""
        self._closing = True
        self._behind = self._queue = self._pong = None

    def pause_writing(self) -> None:
        if self._closing or self._queue is not None or self._transport is None:
            return
        behind, self._behind = self._behind, None
        self._queue = deque(behind or ())
        below = self._transport.underlying_transport
        if not below.is_closing():
            below.pause_reading()
        self._sockets.outgoing.hold(self, below.get_write_buffer_size() + self._queued_bytes)

    def resume_writing(self) -> None:
        if self._queue is None or self._transport is None:
            return
        queue, self._queue, self._queued_bytes = self._queue, None, 0
        self._sockets.outgoing.release(self)
        below = self._transport.underlying_transport
        if not below.is_closing():
            below.resume_reading()
        if self._pong is not None:
            self._sockets.flush_after_turn(self)
        for frame in queue:
            self.send(frame)

    # The attachment's side

    def send(self, frame: bytes) -> None:
        if self._closing or self._transport is None:
            return
        if self._queue is not None:
            self._enqueue(frame)
        elif self._behind is not None:
            self._behind.append(frame)
            self._queued_bytes += len(frame)
            if self._queued_bytes > CONNECTION_BYTES:
                self._give_up()
        else:
            # The first frame of a turn of the loop goes out at once. A busy socket has more behind it: they share one system call.
            self._behind = []
            self._sockets.flush_after_turn(self)
            self._transport.send(_TEXT, frame)

    def flush(self) -> None:
        """Write what has piled up behind the first frame, and the answer to the newest ping."""
        behind, self._behind = self._behind, None
        if behind and self._transport is not None:
            self._queued_bytes = 0
            self._transport.underlying_transport.write(text_frames(behind))
        if self._pong is not None and self._queue is None and self._transport is not None:
            pong, self._pong = self._pong, None
            self._transport.send_pong(pong)

    def _enqueue(self, frame: bytes) -> None:
        """Keep a frame for a client that does not read now, or give the client up."""
        assert self._queue is not None
        self._queue.append(frame)
        self._queued_bytes += len(frame)
        if is_too_slow(len(self._queue), self._queued_bytes):
            self._give_up()
        else:
            self._sockets.outgoing.hold(self, len(frame))

    def _give_up(self) -> None:
        """Drop what waits for a client that does not read, and say goodbye."""
        self._behind = None
        if self._queue is not None:
            self._queue.clear()
        self.close(CLOSE_TRY_AGAIN, "you did not read; come back with resume")

    def close(self, code: int, reason: str) -> None:
        if self._closing or self._transport is None:
            return
        self.farewell = (code, reason)
        self.flush()
        transport, waiting = self._transport, self._queue
        self._fall_silent()
        if transport.underlying_transport.is_closing():
            return
        if waiting:
            # The last words, an end or a leave, come before the goodbye; a client that does not read is cut off soon.
            transport.underlying_transport.write(text_frames(waiting))
        # Codes of our own are none of picows' enumeration, which its compiled code does not mind.
        transport.send_close(code, reason.encode()[:120])  # type: ignore[arg-type]
        if code == CLOSE_POLICY:
            transport.underlying_transport.pause_reading()  # a client that floods is not listened to any more
        else:
            transport.underlying_transport.resume_reading()  # the client's own goodbye
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, transport.disconnect, False)

    def abort(self, reason: str) -> None:
        """Cut the connection and let go of what waits: its user, or this process, holds too much."""
        self.farewell = (LOST, reason)
        self._fall_silent()
        self._sockets.outgoing.release(self)
        if self._transport is not None:
            self._transport.disconnect(False)

    def check(self, now: float, silence: float) -> None:
        """Ping, or give up one that has been silent for too long."""
        if self._transport is None:
            return
        self.controls = 0
        if now - self._heard >= silence:
            self.close(CLOSE_SILENT, "silence")
        elif not self._closing:
            self._transport.send_ping()
