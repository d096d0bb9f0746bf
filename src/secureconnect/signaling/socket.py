"""WebSockets on uvicorn's port: the handshake, and all sockets of this process. What an open one does is in `signaling.connection`.

uvicorn hands an upgrade to `SocketProtocol`; the handshake is held until `Gate.admit` has answered. Refused: an HTTP problem.
Allowed: picows answers 101 and speaks RFC 6455 from then on, in plain calls. Knows no calls and no messages, only attachments.
"""

import asyncio
import logging
import random
import select
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import structlog
from picows import WSAutoPingStrategy, WSUpgradeRequest
from picows.picows import (  # type: ignore[attr-defined]  # the compiled module exports more than its stub says
    WSProtocol,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)

from secureconnect.errors import AtCapacity, Draining, Internal, ServiceError, Unavailable
from secureconnect.ops.logging import request_id_from
from secureconnect.signaling.connection import Connection
from secureconnect.signaling.lifetime import Lifetimes
from secureconnect.signaling.outgoing import Outgoing
from secureconnect.signaling.protocol import MAX_FRAME_BYTES, SUBPROTOCOL, Reconnect, encode
from secureconnect.signaling.upgrade import Attachment, Gate, Handshake, parse_handshake, place_of, refusal

log = structlog.get_logger(__name__)

READ_BUFFER_BYTES = 2048
"""What a connection begins with and an idle one keeps; a 64 KiB frame makes it grow. 11 KB a connection instead of 29."""
RECEIVE_BYTES, SEND_BYTES = 65_536, 131_072
"""What the kernel keeps of a socket, each way; it takes twice as much. What it keeps to be read bounds what we read at once, and so
how far a client that floods makes our buffer grow.
"""
HANDSHAKES_AT_ONCE = 2_000
HANDSHAKE_SECONDS = 10.0

CLOSE_GOING_AWAY = 1012

# picows makes a child of a logging.Logger for every connection; an adapter is shared.
_picows_log = logging.LoggerAdapter(logging.getLogger("picows"), {})
logging.getLogger("picows").setLevel(logging.CRITICAL)

ProblemOf = Callable[[ServiceError], tuple[dict[str, str], bytes]]


class ServerState(Protocol):
    """The part of uvicorn's ServerState that a protocol must keep: what it closes and waits for on shutdown."""

    connections: set[Any]
    tasks: set[asyncio.Task[None]]


class Sockets:
    """All sockets of this process: how many, who lives, whether more may come."""

    def __init__(
        self,
        *,
        gate: Gate,
        problem_of: ProblemOf,
        monotonic: Callable[[], float],
        max_sockets: int,
        ping_seconds: float,
        outgoing: Outgoing,
        lifetimes: Lifetimes,
    ) -> None:
        self.gate = gate
        self.problem_of = problem_of
        self.monotonic = monotonic
        self.outgoing = outgoing
        self.open: set[Connection] = set()
        self.lifetimes = lifetimes
        lifetimes.watch(self.open)
        self.opened: Counter[str] = Counter()
        """Sockets since the start, by kind."""
        self.closed: Counter[tuple[str, str]] = Counter()
        """The same of those that are gone, by kind and close code."""
        self.handshakes = 0
        self.draining = False
        self._to_flush: list[Connection] = []
        self._max_sockets = max_sockets
        self._ping_seconds = ping_seconds

    def check_room(self) -> None:
        """Raises AtCapacity or Draining."""
        if self.draining:
            raise Draining
        if len(self.open) >= self._max_sockets or self.handshakes >= HANDSHAKES_AT_ONCE:
            raise AtCapacity(retry_after=5)

    async def keep_alive(self) -> None:
        """Until cancelled: ping every socket once a period, a slice of them at a time, and close those that are silent for two."""
        slices = 20
        turn = 0
        while True:
            await asyncio.sleep(self._ping_seconds / slices)
            turn = (turn + 1) % slices
            now = self.monotonic()
            for connection in [one for one in self.open if one.slot % slices == turn]:
                connection.check(now, silence=2 * self._ping_seconds)

    async def drain(self, seconds: float) -> None:
        """Let nobody in any more, and ask all who are here to come back elsewhere, each after a time of its own.

        The times are spread evenly over `seconds`: as many come back in its first second as in its last. Returns when it is over,
        at once when there is nobody to ask; those who stayed are closed by uvicorn's `shutdown`.
        """
        self.draining = True
        asked = random.sample(tuple(self.open), len(self.open))
        if not asked or seconds == 0:
            return
        log.info("draining", sockets=len(asked), seconds=seconds)
        for place, connection in enumerate(asked):
            after = (place + random.random()) / len(asked) * seconds  # noqa: S311  (jitter, not a secret)
            connection.send(encode(Reconnect(after_ms=int(after * 1000))))
        await asyncio.sleep(seconds)

    def flush_after_turn(self, connection: Connection) -> None:
        """Flush it when this turn of the event loop is over."""
        if not self._to_flush:
            asyncio.get_running_loop().call_soon(self._flush)
        self._to_flush.append(connection)

    def _flush(self) -> None:
        connections, self._to_flush = self._to_flush, []
        for connection in connections:
            connection.flush()

    def protocol(self, config: Any, server_state: ServerState, app_state: dict[str, Any]) -> "SocketProtocol":
        """uvicorn's `ws=` factory."""
        return SocketProtocol(self, server_state)


class SocketProtocol(WSProtocol):  # type: ignore[misc]  # compiled class
    """picows' protocol with the handshake held until the gate has decided."""

    def __init__(self, sockets: Sockets, server_state: ServerState) -> None:
        super().__init__(
            None,
            None,
            False,  # server side
            self._accept,
            _picows_log,
            True,  # a listener that raises loses its connection, not the process
            HANDSHAKE_SECONDS * 2,
            False,  # pings are Sockets.keep_alive's
            20.0,
            20.0,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            False,  # pings are the connection's to answer
            MAX_FRAME_BYTES,
            None,
            READ_BUFFER_BYTES,
        )
        self._sockets = sockets
        self._server_state = server_state
        self._raw: Any = None
        self._head = b""
        self._task: asyncio.Task[None] | None = None
        self._attachment: Attachment | None = None
        self._handshake: Handshake | None = None
        self._request = ""
        self._lost = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
        self._raw = transport
        self._server_state.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """The handshake, from uvicorn. After it the transport reads into picows' own buffer."""
        if self._task is not None:
            self._raw.close()  # nothing may be said before the 101 (RFC 6455, section 4.1)
            return
        self._head = data
        self._raw.pause_reading()
        self._task = asyncio.ensure_future(self._decide())
        self._keep(self._task)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        super().connection_lost(exc)
        self._server_state.connections.discard(self)
        attachment, self._attachment = self._attachment, None
        if attachment is not None:
            self._keep(asyncio.ensure_future(self._close(attachment)))

    def shutdown(self) -> None:
        """uvicorn is going: every client is told to come back."""
        if self.listener is not None:
            self.listener.close(CLOSE_GOING_AWAY, "restarting")
        elif self._raw is not None:
            self._raw.close()

    def _keep(self, task: "asyncio.Task[None]") -> None:
        """uvicorn waits for these before it exits, so that a close is written down."""
        self._server_state.tasks.add(task)
        task.add_done_callback(self._server_state.tasks.discard)

    async def _decide(self) -> None:
        self._name("")
        if self._is_given_up():
            log.info("socket given up before it opened")
            self._raw.close()
            return
        self._sockets.handshakes += 1
        try:
            self._handshake = parse_handshake(self._head, *place_of(self._raw))
            self._name(self._handshake.line("x-request-id"))
            self._sockets.check_room()
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                attachment = await self._sockets.gate.admit(self._handshake)
        except ServiceError as refusal:
            self._refuse(refusal)
        except TimeoutError:
            self._refuse(Unavailable())
        except Exception:
            log.exception("upgrade failed")
            self._refuse(Internal())
        else:
            await self._open(attachment)
        finally:
            self._sockets.handshakes -= 1

    def _is_given_up(self) -> bool:
        """Whether the other end has closed already, as of requests that waited for this process to listen.

        A session opened for one would be taken away from the socket that its client holds by now.
        """
        poll = select.poll()
        poll.register(self._raw.get_extra_info("socket").fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))

    async def _close(self, attachment: Attachment) -> None:
        with structlog.contextvars.bound_contextvars(request=self._request):
            await attachment.closed()

    def _name(self, header: str) -> None:
        """Everything that is logged on behalf of this handshake has this name."""
        self._request = request_id_from(header)
        structlog.contextvars.bind_contextvars(request=self._request)

    async def _open(self, attachment: Attachment) -> None:
        if self._lost:
            await attachment.closed()
            return
        assert self._handshake is not None
        self._attachment = attachment
        head, self._head = self._handshake.opening(), b""
        while head:
            buffer = self.get_buffer(len(head))
            piece, head = head[: len(buffer)], head[len(buffer) :]
            buffer[: len(piece)] = piece
            self.buffer_updated(len(piece))
        self._raw.resume_reading()

    def _accept(self, request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        assert self._attachment is not None
        assert self._handshake is not None
        offered = self._handshake.subprotocols
        headers = {"X-Request-ID": self._request} | ({"Sec-WebSocket-Protocol": SUBPROTOCOL} if SUBPROTOCOL in offered else {})
        response = WSUpgradeResponse.create_101_response(headers)
        return WSUpgradeResponseWithListener(response, Connection(self._sockets, self._attachment))

    def _refuse(self, error: ServiceError) -> None:
        if self._lost:
            return
        self._raw.write(refusal(error, *self._sockets.problem_of(error), request=self._request))
        self._raw.close()
