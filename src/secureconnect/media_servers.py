"""The media servers that this process runs itself, when they are installed and no others are configured. Made by parts."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

import structlog

from secureconnect.clock import Clock
from secureconnect.config import Settings
from secureconnect.errors import Unavailable
from secureconnect.keys import InternalKeys
from secureconnect.media import binding, coturn
from secureconnect.media.address import media_address
from secureconnect.media.child import Child, is_installed
from secureconnect.media.coturn import CoturnOptions
from secureconnect.media.ice import IceServerList, TurnServer

log = structlog.get_logger(__name__)


LOOK_SECONDS = 0.05
ANSWER_SECONDS = 1.5
"""Within what a question about health may take, so that the answer says which server is silent."""


class OwnTurn:
    """A coturn beside us, and what clients are told of it. It takes its ports when it starts, and keeps them."""

    def __init__(self, settings: Settings, keys: InternalKeys, clock: Clock) -> None:
        self._settings = settings
        self._keys = keys
        self._clock = clock
        self._child: Child | None = None
        self._server: tuple[TurnServer, str] | None = None
        self._here: str | None = None

    async def run(self) -> None:
        """Keep it running, until cancelled."""
        options = turn_options(self._settings, self._keys.turn_secret)
        if options is None:
            log.warning("no TURN server started", reason="this machine has lost its address")
            await asyncio.get_running_loop().create_future()
            return
        lifetime = timedelta(seconds=self._settings.turn_seconds)
        if self._clock.now() < self._keys.derived_from + lifetime:
            options = replace(options, former_secret=self._keys.turn_secret_of_0_1)
        host = urlsplit(self._settings.public_url).hostname if self._settings.public_url else None
        self._server = (coturn.server_at(options, host), options.secret)
        self._here = coturn.server_at(options, options.address).urls[0]
        self._child = Child(coturn.program(options), self._clock)
        await self._child.run()

    def server(self) -> tuple[TurnServer, str] | None:
        """It and its secret, while it listens."""
        return self._server if self._child is not None and self._child.pid is not None else None

    async def ping(self) -> None:
        """Return once it answers, which one that is just starting does soon. Raises OSError when that is no STUN."""
        while self._here is None:
            await self._clock.sleep(LOOK_SECONDS)
        await binding.ask(self._here)


def turn_options(settings: Settings, secret: str, *, port: int | None = None, tls_port: int | None = None) -> CoturnOptions | None:
    """How our own coturn runs on this machine, by default at the ports in the settings; None without an address to relay from.

    Its `secret` is derived from ours: a node that starts again knows the credentials that it gave before.
    """
    address = media_address()
    if address is None:
        return None
    return CoturnOptions(
        address=address,
        secret=secret,
        port=coturn.free_port(address, settings.turn_port if port is None else port),
        tls_port=coturn.free_port(address, settings.turn_tls_port if tls_port is None else tls_port),
        external_ip=str(settings.turn_external_ip) if settings.turn_external_ip else None,
        mbps=settings.turn_mbps,
        certificate=settings.tls_certificate,
        key=settings.tls_key,
    )


def own_turn(settings: Settings, keys: InternalKeys, clock: Clock) -> OwnTurn | None:
    """Our own coturn, not started yet; None where there is to be none, or nothing to start, or no address to relay from."""
    wanted = settings.turn == "auto" and not settings.turn_servers and "video" in settings.served
    if not wanted or not is_installed(coturn.PROGRAM):
        return None
    if media_address() is None:
        log.warning("no TURN server started", reason="this machine has no address but loopback")
        return None
    return OwnTurn(settings, keys, clock)


def ice_servers(settings: Settings, clock: Clock, own: OwnTurn | None) -> IceServerList:
    """Return the servers that clients are given: those of the settings, and our own TURN if there is one."""
    return IceServerList(
        clock,
        stun_urls=settings.stun_urls,
        turn_servers=settings.turn_servers,
        secret=settings.turn_secret.get_secret_value() if settings.turn_secret is not None else "",
        region=settings.region,
        lifetime=timedelta(seconds=settings.turn_seconds),
        own=own.server if own is not None else lambda: None,
    )


def turn_probe(settings: Settings, own: OwnTurn | None) -> Callable[[], Awaitable[None]] | None:
    """The question whether the TURN servers that clients are sent to listen; None when there are none, or nobody is sent from here.

    It raises Unavailable with the name of each that answers over none of its transports.
    """
    if own is not None:
        return own.ping
    if not settings.turn_servers or "video" not in settings.served:
        return None

    async def ask_all() -> None:
        answers = await asyncio.gather(*(_answers(server) for server in settings.turn_servers))
        silent = [server.urls[0] for server, is_there in zip(settings.turn_servers, answers, strict=True) if not is_there]
        if silent:
            raise Unavailable(f"No answer from {', '.join(silent)}.")

    return ask_all


async def _answers(server: TurnServer) -> bool:
    """Whether it answers over any of its transports; each has the same short time."""
    asked = [asyncio.wait_for(binding.ask(url), ANSWER_SECONDS) for url in server.urls]
    return not all(isinstance(one, Exception) for one in await asyncio.gather(*asked, return_exceptions=True))
