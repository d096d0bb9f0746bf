"""uvicorn on our port, with the application's start before and its stop behind. Called by cli."""

import asyncio
import gc
import os
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from types import FrameType

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from secureconnect.app import Application
from secureconnect.config import ConfigurationError, Settings
from secureconnect.parts import VERSION

log = structlog.get_logger(__name__)

BACKLOG = 4096
"""Connections that may wait to be accepted: a room full of clients comes back at once after a restart."""

SPARE_FILES = 256
"""Open files besides the sockets: connections to the database and the bus, requests, files."""

REQUEST_SECONDS = 30.0
"""How long a request may take to arrive, from the first byte or the opened connection to the last byte of its body."""
KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays: longer than deploy/haproxy.cfg keeps one (60), so that it is never we who close it just as the
gateway sends the next request over it, which it cannot know to repeat."""
HEAD_BYTES = 32_768
"""Twice what HAProxy takes: a token, cookies, and room. What comes whole in one piece may be longer."""


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's HTTP, with an end to its patience.

    By itself it waits for ever for a request that has begun, and keeps a head that does not end: anybody could hold connections
    and fill the memory before saying who they are.
    """

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
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._expect_request()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._ended_one = True
        self._stop_expecting()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._stop_expecting()
        super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_expecting()
        super().connection_lost(exc)

    def _expect_request(self) -> None:
        self._stop_expecting()
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

    def _stop_expecting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: HTTPStatus) -> None:
        # In the middle of an answer there is no place for another. Before the first request there is no cycle.
        if self.cycle is None or self.cycle.response_complete:  # type: ignore[redundant-expr]
            head = f"HTTP/1.1 {status.value} {status.phrase}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            self.transport.write(head.encode())
        self.transport.close()


class Server(uvicorn.Server):
    """uvicorn on our port, with our start and stop around it; `listening` is set once it takes connections."""

    def __init__(self, application: Application, listener: socket.socket) -> None:
        settings = application.settings
        super().__init__(
            uvicorn.Config(
                application.api,
                loop="uvloop",
                http=PatientProtocol,
                ws=application.sockets.protocol,  # type: ignore[arg-type]  # a factory does what a class does
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=True,
                proxy_headers=True,
                forwarded_allow_ips=settings.trusted_proxies,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                # Half of the time for requests and sockets to end, half for what must be written down after them.
                timeout_graceful_shutdown=max(1, int(settings.shutdown_seconds / 2)),
                ssl_certfile=settings.tls_certificate,
                ssl_keyfile=settings.tls_key,
            )
        )
        self._application = application
        self.listening = asyncio.Event()
        self.port: int = listener.getsockname()[1]
        self._listener = listener

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own raises the signal again once it has stopped, and the process dies of it. To end as asked is success."""
        before = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Asked to end. Asked once more, the kernel ends the process at once: nothing in here has to work for that."""
        super().handle_exit(sig, frame)
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_DFL)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self._application.start()
        await super().startup(sockets or [self._listener])
        if self.started:
            log.info("listening", host=self._application.settings.host, port=self.port, version=VERSION)
            # What was imported stays for good: the garbage collector need not look at it ever again.
            gc.collect()
            gc.freeze()
            self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then close: whoever is asked to come back elsewhere finds this node refusing, and requests still answered."""
        application, settings = self._application, self._application.settings
        application.health.draining = True
        await application.sockets.drain(settings.drain)
        begun = application.clock.monotonic()
        await super().shutdown(sockets or [self._listener])
        await application.stop(settings.shutdown_seconds - (application.clock.monotonic() - begun))
        log.info("stopped")


def allow_open_files(sockets: int) -> None:
    """Raise this process's own limit to what so many sockets need, as far as the system lets it: shells begin with 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sockets + SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def listen(settings: Settings) -> socket.socket:
    """Take the port before anything else is done. Raises ConfigurationError when it is not to be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as failure:
        reason = os.strerror(failure.errno) if failure.errno else str(failure)
        raise ConfigurationError(
            f"port: cannot listen on {settings.host}:{settings.port} ({reason.lower()}); choose another with --port"
        ) from None
