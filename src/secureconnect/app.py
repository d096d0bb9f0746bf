"""The only wiring: everything that exists in a process, in the order it is made. Read top to bottom.

Nothing here decides anything about calls, people or sockets; it hands each part what it needs, and starts and stops them in order.
"""

import asyncio
import fcntl
import os
import secrets
import signal
import socket
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import IO
from uuid import uuid4

import httpx2
import structlog
import uvicorn
from litestar import Litestar
from msgspec import json

from secureconnect.accounts.credentials import PasswordHasher, TokenIssuer
from secureconnect.accounts.service import AccountService
from secureconnect.accounts.verification import TokenVerifier
from secureconnect.api.http import Services, create_api
from secureconnect.api.problems import PROBLEM_JSON, headers_of, problem_of
from secureconnect.bus import open_bus
from secureconnect.calls.service import CallService
from secureconnect.calls.timers import Timers
from secureconnect.chat.service import ChatService
from secureconnect.clock import SystemClock, unix_microseconds
from secureconnect.config import ConfigurationError, Settings
from secureconnect.errors import ServiceError
from secureconnect.ids import ConversationId, IdFactory, NodeId, UserId
from secureconnect.media.ice import IceServerList
from secureconnect.ops.health import Health
from secureconnect.ops.metrics import Metrics
from secureconnect.ops.ratelimit import RateLimiter
from secureconnect.signaling.call_socket import CallSockets
from secureconnect.signaling.inbox import InboxSockets
from secureconnect.signaling.protocol import Limits
from secureconnect.signaling.session import ResumeTokens
from secureconnect.signaling.socket import Sockets
from secureconnect.signaling.upgrade import Gate
from secureconnect.store import Database, open_database
from secureconnect.store.schema import current_revision, migrate, wanted_revision

log = structlog.get_logger(__name__)

VERSION = version("secureconnect")
BACKLOG = 4096
"""Connections that may wait to be accepted: a room full of clients comes back at once after a restart."""
SECRET_FILE = "jwt_secret"  # noqa: S105  (a file's name)


class Application:
    """One process: what it is made of."""

    def __init__(self, settings: Settings) -> None:
        limited = settings.rate_limits == "on"
        secret = shared_secret(settings)
        self.settings = settings
        self.clock = clock = SystemClock()
        self.node_id = NodeId(uuid4())
        ids = IdFactory(lambda: unix_microseconds(clock.now()) // 1000, os.urandom)

        # What lasts, and what connects nodes
        self.database = database = open_database(settings.database)
        self.bus = bus = open_bus(settings.bus_url, clock)
        self.http = httpx2.AsyncClient(timeout=5.0)

        # What people can do
        token_life = timedelta(seconds=settings.access_token_seconds)
        self.accounts = accounts = AccountService(
            database=database,
            ids=ids,
            clock=clock,
            passwords=PasswordHasher(),
            issuer=TokenIssuer(secret=secret, issuer=settings.jwt_issuer, audience=settings.jwt_audience, lifetime=token_life),
            verifier=TokenVerifier(
                secret=secret,
                issuer=settings.jwt_issuer,
                audience=settings.jwt_audience,
                outside=settings.jwks,
                http=self.http,
                clock=clock,
            ),
            refresh_lifetime=timedelta(days=settings.refresh_token_days),
        )

        async def on_member_removed(conversation_id: ConversationId, user_id: UserId) -> None:
            await self.calls.member_removed(conversation_id, user_id)

        self.chat = ChatService(database=database, bus=bus, ids=ids, clock=clock, on_member_removed=on_member_removed)
        self.calls = CallService(
            database=database,
            bus=bus,
            ids=ids,
            clock=clock,
            node_id=self.node_id,
            grace=timedelta(seconds=settings.grace_seconds),
        )
        self.timers = Timers(service=self.calls, database=database, clock=clock, node_id=self.node_id)

        # Sockets
        ice = IceServerList(settings.stun_urls)
        self._background: set[asyncio.Task[None]] = set()
        call_sockets = CallSockets(
            calls=self.calls,
            bus=bus,
            clock=clock,
            tokens=ResumeTokens(secret.encode()),
            ice_servers=ice.servers_for,
            limits=Limits(grace_seconds=settings.grace_seconds),
            limited=limited,
            spawn=self._spawn,
        )
        inbox_sockets = InboxSockets(bus=bus, clock=clock, ringing_for=self.calls.ringing_for)

        async def authenticate(token: str) -> UserId:
            return (await accounts.authenticate(token)).user_id

        gate = Gate(
            endpoints={"/v1/calls/ws/signaling": call_sockets.admit, "/v1/ws/events": inbox_sockets.admit},
            authenticate=authenticate,
            allowed_origins=frozenset(settings.allowed_origins),
        )
        self.metrics = metrics = Metrics()
        self.sockets = Sockets(
            gate=gate,
            problem_of=lambda error: _problem_bytes(error, metrics),
            monotonic=clock.monotonic,
            max_sockets=settings.max_sockets,
            ping_seconds=settings.ping_seconds,
        )

        # HTTP
        self.health = Health(version=VERSION, clock=clock, probes={"database": database.ping, "bus": bus.ping})
        metrics.read_when_asked("secureconnect_sockets", "Open sockets.", lambda: len(self.sockets.open))
        metrics.read_when_asked(
            "secureconnect_relayed", "Signaling messages relayed.", lambda: call_sockets.handlers.relayed, counts=True
        )
        services = Services(
            accounts=accounts,
            chat=self.chat,
            calls=self.calls,
            ice=ice,
            limiter=RateLimiter(clock=clock, enabled=limited),
            health_of=self.health,
            metrics_of=metrics,
        )
        self.api: Litestar = create_api(services, version=VERSION, allowed_origins=settings.allowed_origins)
        self._loops: list[asyncio.Task[None]] = []
        self._lock: IO[str] | None = None

    async def start(self) -> None:
        """Open what must be open before the first request. Raises ConfigurationError when the schema is not ours."""
        if not self.database.is_shared:
            self._lock = claim(self.settings.data_dir)
        await prepare_schema(self.database)
        await self.timers.start()
        for run in (self.timers.run, self.sockets.keep_alive):
            task = asyncio.ensure_future(run())
            task.add_done_callback(_die_loudly)
            self._loops.append(task)

    async def stop(self) -> None:
        """Let go of everything, in the other order."""
        for task in self._loops:
            task.remove_done_callback(_die_loudly)
            task.cancel()
        await asyncio.gather(*self._loops, *self._background, return_exceptions=True)
        with suppress(ServiceError):
            await self.timers.stop()
        await self.bus.close()
        await self.http.aclose()
        await self.database.close()
        if self._lock is not None:
            self._lock.close()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


class Server(uvicorn.Server):
    """uvicorn on our port, with our start and stop around it; `listening` is set once it takes connections."""

    def __init__(self, application: Application, listener: socket.socket) -> None:
        settings = application.settings
        super().__init__(
            uvicorn.Config(
                application.api,
                loop="uvloop",
                http="httptools",
                ws=application.sockets.protocol,  # type: ignore[arg-type]  # a factory does what a class does
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=True,
                proxy_headers=True,
                forwarded_allow_ips="127.0.0.1",
                timeout_graceful_shutdown=int(settings.shutdown_seconds),
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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self._application.start()
        await super().startup(sockets or [self._listener])
        if self.started:
            log.info("listening", host=self._application.settings.host, port=self.port, version=VERSION)
            self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._application.health.draining = True
        self._application.sockets.draining = True
        await super().shutdown(sockets or [self._listener])
        await self._application.stop()
        log.info("stopped")


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


async def prepare_schema(database: Database) -> None:
    """Bring our own SQLite file up to date; a database that others use too is the operator's to migrate."""
    if not database.is_shared:
        await migrate(database)
        return
    found, wanted = await current_revision(database), wanted_revision()
    if found != wanted:
        raise ConfigurationError(f"the database's schema is at {found}, this program needs {wanted}: run `secureconnect migrate`")


def claim(data_dir: Path) -> IO[str]:
    """Hold the data directory for this process, as long as the file it returns is open.

    Raises ConfigurationError when another server holds it: each would take the other for one that was killed.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    file = (data_dir / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConfigurationError(f"data_dir: another server is using {data_dir}; stop it, or give this one its own") from None
    return file


def shared_secret(settings: Settings) -> str:
    """The secret that signs tokens: as configured, or one of our own making, kept with the data.

    Raises ConfigurationError where other nodes would have to know it too.
    """
    if settings.jwt_secret is not None:
        return settings.jwt_secret.get_secret_value()
    if not settings.database.startswith("sqlite"):
        raise ConfigurationError("jwt_secret: nodes that share a database must share a secret; set SECURECONNECT_JWT_SECRET")
    path = settings.data_dir / SECRET_FILE
    if not path.exists():
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        _write_private(path, secrets.token_urlsafe(48))
        log.info("made a secret for tokens", file=str(path))
    return path.read_text().strip()


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _problem_bytes(error: ServiceError, metrics: Metrics) -> tuple[dict[str, str], bytes]:
    metrics.refusals.labels(error.code).inc()
    request_id = secrets.token_hex(8)
    log.info("socket refused", code=error.code, request=request_id)
    return {"content-type": PROBLEM_JSON, **headers_of(error)}, json.encode(problem_of(error, request_id))


def _die_loudly(task: "asyncio.Task[None]") -> None:
    """A loop that ends is a node that no longer does its work: better none than one that only looks alive."""
    if not task.cancelled():
        log.critical("a background loop ended", exc_info=task.exception())
        os._exit(70)
