"""uvicorn on our port, with the application's start before and its stop behind. Called by cli."""

import asyncio
import gc
import os
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import structlog
import uvicorn
from uvicorn.server import ServerState

from secureconnect.api.edge import Edge
from secureconnect.api.metrics_page import MetricsPage
from secureconnect.app import Application
from secureconnect.config import ConfigurationError, Settings
from secureconnect.http_protocol import KEEP_ALIVE_SECONDS, PatientProtocol
from secureconnect.parts import VERSION

log = structlog.get_logger(__name__)

BACKLOG = 4096
"""Connections that may wait to be accepted: a room full of clients comes back at once after a restart."""

SPARE_FILES = 256
"""Open files besides the sockets: connections to the database and the bus, requests, files."""


class Server(uvicorn.Server):
    """uvicorn on our port, with our start and stop around it; `listening` is set once it takes connections."""

    def __init__(self, application: Application, listener: socket.socket, metrics_listener: socket.socket | None = None) -> None:
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
                # Read by api.edge, and for sockets by the gate.
                proxy_headers=False,
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
        self._metrics_listener = metrics_listener
        self._metrics_server: asyncio.Server | None = None

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
            metrics_port = await self._serve_metrics()
            host = self._application.settings.host
            log.info("listening", host=host, port=self.port, metrics_port=metrics_port, version=VERSION)
            # What was imported stays for good: the garbage collector need not look at it ever again.
            gc.collect()
            gc.freeze()
            self.listening.set()

    async def _serve_metrics(self) -> int:
        """Serve /metrics on its own listener, in plain HTTP. Returns its port; the port of all else without one."""
        if self._metrics_listener is None:
            return self.port
        page = Edge(MetricsPage(self._application.metrics), proxies=self._application.place.proxies)
        config = uvicorn.Config(page, http=PatientProtocol, ws="none", lifespan="off", log_config=None, proxy_headers=False)
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        self._metrics_server = await loop.create_server(lambda: PatientProtocol(config, state, {}), sock=self._metrics_listener)
        return int(self._metrics_listener.getsockname()[1])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then close: whoever is asked to come back elsewhere finds this node refusing, and requests still answered."""
        application, settings = self._application, self._application.settings
        application.health.draining = True
        await application.sockets.drain(settings.drain)
        begun = application.clock.monotonic()
        await super().shutdown(sockets or [self._listener])
        if self._metrics_server is not None:
            self._metrics_server.close()
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
    return take_port(settings.host, settings.port, "choose another with --port")


def listen_for_metrics(settings: Settings) -> socket.socket | None:
    """Take the port of /metrics; None when it is beside the API, or when the default one is taken by another process.

    Raises ConfigurationError when one that was set is not to be had.
    """
    place = settings.metrics_listener
    if place is None:
        return None
    try:
        return take_port(*place, "choose another with metrics_port")
    except ConfigurationError as failure:
        if settings.metrics_port is not None:
            raise
        log.warning("metrics not served", reason=str(failure))
        return None


def take_port(host: str, port: int, advice: str) -> socket.socket:
    """Listen on a port. Raises ConfigurationError, with the advice, when it is not to be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as failure:
        reason = os.strerror(failure.errno) if failure.errno else str(failure)
        raise ConfigurationError(f"port: cannot listen on {host}:{port} ({reason.lower()}); {advice}") from None
