"""uvicorn's HTTP/1.1 with an end to its patience, and with our words where it would refuse by itself. Made by server.

What the head alone decides is judged here, before the application and before an upgrade: api.edge and signaling.upgrade answer.
"""

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from secureconnect.api.edge import REFUSAL
from secureconnect.api.problems import plain_answer
from secureconnect.errors import BadRequest, HeadTooLarge, RequestTimeout, ServiceError
from secureconnect.http.fields import has_token, values_of
from secureconnect.http.targets import SINGLETONS, canonical_target, check_fields
from secureconnect.ops.logging import request_id_from

REQUEST_SECONDS = 30.0
"""How long a request may take to arrive, from the first byte or the opened connection to the last byte of its body."""
KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays: longer than deploy/haproxy.cfg keeps one (60), so that it is never we who close it just as the
gateway sends the next request over it, which it cannot know to repeat."""
HEAD_BYTES = 32_768
"""Twice what HAProxy takes: a token, cookies, and room. What comes whole in one piece may be longer."""
SAID_ONCE = frozenset(name.encode() for name in SINGLETONS)
READING_SECONDS = 30.0
"""How long a client may read nothing of an answer that waits for it."""
RESPONSE_BYTES = 64 * 1024 * 1024
"""What may wait in this process for all clients that do not read their answers."""
LOGGED_TARGET = 200
"""Bytes of a target that is refused."""


class SlowReaders:
    """Connections whose clients do not read their answers, and the bytes that wait for them in this process."""

    def __init__(self) -> None:
        self.held = 0
        self.cut = 0
        """Connections cut since the start: they read nothing, or all of them together held too much."""
        self._sizes: dict[PatientProtocol, int] = {}

    def add(self, connection: "PatientProtocol", size: int) -> None:
        """Count what waits for a client. Cuts those for whom most waits when all hold more than `RESPONSE_BYTES`."""
        self._sizes[connection] = size
        self.held += size
        while self.held > RESPONSE_BYTES:
            self.cut_off(max(self._sizes, key=self._sizes.__getitem__))

    def remove(self, connection: "PatientProtocol") -> None:
        """Nothing waits for this client any more."""
        self.held -= self._sizes.pop(connection, 0)

    def cut_off(self, connection: "PatientProtocol") -> None:
        """Cut a connection and let go of what waits."""
        self.cut += 1
        self.remove(connection)
        connection.transport.abort()


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's HTTP, with an end to its patience.

    By itself it waits for ever for a request that has begun, and keeps a head that does not end: anybody could hold connections
    and fill the memory before saying who they are. It waits as long for a client that does not read its answer.
    """

    slow_readers = SlowReaders()
    """Of all connections of this process."""
    _reading: asyncio.TimerHandle | None = None

    _deadline: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0
    _ended_one = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        self._ended_one = False
        super().data_received(data)
        # Of a piece that also ended the request before, nobody knows how much is head.
        if self._in_head and not self._ended_one:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(HeadTooLarge())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._expect_request()

    def on_headers_complete(self) -> None:
        self._in_head = False
        target, refusal = self.url, None
        try:
            self.url = self._canonical_target()
        except ServiceError as error:
            # An upgrade keeps its target: the same check refuses it there. The library must not stumble over it here.
            self.url, refusal = (target if self._should_upgrade() else b"/"), error
        super().on_headers_complete()
        if refusal is not None:
            self.scope["state"][REFUSAL] = refusal
            # For the log: neither a query nor what stands before a host may come there.
            path = target.partition(b"?")[0].partition(b"#")[0].rpartition(b"@")[2]
            self.scope["path"] = path[:LOGGED_TARGET].decode("latin-1")

    def _canonical_target(self) -> bytes:
        """Raises BadRequest or PathNotCanonical."""
        fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers if name in SAID_ONCE]
        host = check_fields(fields, wants_host=self.parser.get_http_version() != "1.0")
        return canonical_target(self.url.decode("latin-1"), host).encode("latin-1")

    def _get_upgrade(self) -> bytes | None:
        """Read both fields as lists, in any number of lines (RFC 9110, sections 7.6.1 and 7.8)."""
        wants = has_token(values_of(self.headers, b"connection"), "upgrade") and self.parser.get_http_version() == "1.1"
        return b"websocket" if wants and has_token(values_of(self.headers, b"upgrade"), "websocket") else None

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: an upgrade that is not known is passed over, as RFC 9110, section 7.8, has it."""

    def send_400_response(self, msg: str) -> None:
        self._refuse(BadRequest("This is not HTTP/1.1 as RFC 9112 has it."))

    def on_message_complete(self) -> None:
        self._ended_one = True
        self._stop_expecting()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._stop_expecting()
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        super().pause_writing()
        size = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(READING_SECONDS, self._check_reading, size)
        self.slow_readers.add(self, size)

    def resume_writing(self) -> None:
        self._stop_waiting()
        super().resume_writing()

    def _check_reading(self, before: int) -> None:
        """Cut a client that has read nothing since."""
        now = self.transport.get_write_buffer_size()
        if now >= before:
            self.slow_readers.cut_off(self)
        else:
            self._reading = self.loop.call_later(READING_SECONDS, self._check_reading, now)

    def _stop_waiting(self) -> None:
        self.slow_readers.remove(self)
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_expecting()
        super().connection_lost(exc)

    def _expect_request(self) -> None:
        self._stop_expecting()
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._refuse, RequestTimeout())

    def _stop_expecting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, error: ServiceError) -> None:
        # In the middle of an answer there is no place for another. Before the first request there is no cycle.
        if self.cycle is None or self.cycle.response_complete:  # type: ignore[redundant-expr]
            request = request_id_from("")
            fields, body = plain_answer(error, request)
            fields |= {
                "cache-control": "no-store",
                "connection": "close",
                "content-length": str(len(body)),
                "x-request-id": request,
            }
            lines = [
                f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
                *(f"{k}: {v}" for k, v in fields.items()),
                "",
                "",
            ]
            self.transport.write("\r\n".join(lines).encode("latin-1") + body)
        self.transport.close()
