"""The media servers that this process runs itself, when they are installed and no others are configured. Made by app."""

import asyncio
import hashlib
import hmac
from urllib.parse import urlsplit

import structlog

from secureconnect.clock import Clock
from secureconnect.config import Settings
from secureconnect.media import coturn
from secureconnect.media.address import media_address
from secureconnect.media.child import Child, is_installed
from secureconnect.media.coturn import CoturnOptions
from secureconnect.media.ice import TurnServer

log = structlog.get_logger(__name__)


class OwnTurn:
    """A coturn beside us, and what clients are told of it. It takes its ports when it starts, and keeps them."""

    def __init__(self, settings: Settings, secret: str, clock: Clock) -> None:
        self._settings = settings
        self._secret = secret
        self._clock = clock
        self._child: Child | None = None
        self._server: tuple[TurnServer, str] | None = None

    async def run(self) -> None:
        """Keep it running, until cancelled; without an address that media could go by there is nothing to run."""
        options = turn_options(self._settings, self._secret)
        if options is None:
            log.warning("no TURN server started", reason="this machine has no address but loopback")
            await asyncio.get_running_loop().create_future()
            return
        host = urlsplit(self._settings.public_url).hostname if self._settings.public_url else None
        self._server = (coturn.server_at(options, host), options.secret)
        self._child = Child(coturn.program(options), self._clock)
        await self._child.run()

    def server(self) -> tuple[TurnServer, str] | None:
        """It and its secret, while it listens."""
        return self._server if self._child is not None and self._child.pid is not None else None


def turn_options(settings: Settings, secret: str, *, port: int | None = None, tls_port: int | None = None) -> CoturnOptions | None:
    """How our own coturn runs on this machine, by default at the ports in the settings; None without an address to relay from.

    Its secret follows from ours: a node that starts again knows the credentials that it gave before.
    """
    address = media_address()
    if address is None:
        return None
    return CoturnOptions(
        address=address,
        secret=hmac.new(secret.encode(), b"turn", hashlib.sha256).hexdigest(),
        port=coturn.free_port(address, settings.turn_port if port is None else port),
        tls_port=coturn.free_port(address, settings.turn_tls_port if tls_port is None else tls_port),
        external_ip=str(settings.turn_external_ip) if settings.turn_external_ip else None,
        certificate=settings.tls_certificate,
        key=settings.tls_key,
    )


def own_turn(settings: Settings, secret: str, clock: Clock) -> OwnTurn | None:
    """Our own coturn, not started yet; None where there is to be none, or nothing to start."""
    wanted = settings.turn == "auto" and not settings.turn_servers and "video" in settings.served
    return OwnTurn(settings, secret, clock) if wanted and is_installed(coturn.PROGRAM) else None
