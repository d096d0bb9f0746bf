"""The SFUs of this process: those of the settings, or a Janus of our own when it is there. Made by parts, tried by the doctor."""

import asyncio
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import structlog

from secureconnect.bus import Bus
from secureconnect.calls.at_sfu import CallsAtSfu
from secureconnect.calls.service import CallService
from secureconnect.clock import Clock
from secureconnect.config import Settings
from secureconnect.keys import InternalKeys
from secureconnect.media import janus_server
from secureconnect.media.address import listening_address, media_address
from secureconnect.media.child import Child
from secureconnect.media.janus_bundle import MINIMUM
from secureconnect.media.janus_server import JanusOptions, JanusProgram
from secureconnect.media.pool import JanusPool, SfuServer
from secureconnect.ops.health import Probe
from secureconnect.ops.loops import keep_running
from secureconnect.ops.metrics import Metrics

OWN = "own"
CORES = 4
"""As many processes as cores, up to so many, unless the settings say otherwise."""
WAIT_SECONDS = (0.05, 1.0)
"""How long before ours is started again, first and at most: calls wait for it, and it costs little to try."""

log = structlog.get_logger(__name__)


class SfuServers:
    """The pool of them, and those that we run ourselves, if any. `keys` are those that all nodes derive."""

    def __init__(self, settings: Settings, keys: InternalKeys, clock: Clock, recordings: Path | None) -> None:
        """`recordings` is the folder for what SFUs record; None: they record nothing."""
        servers = [_with_folder(server, recordings) for server in settings.sfu_servers] if settings.sfu == "auto" else []
        self._own: list[Child] = []
        self._clock = clock
        self._capacity = settings.sfu_capacity
        self._recordings = recordings
        janus = _own_program(settings)
        count = settings.sfu_processes or min(CORES, len(os.sched_getaffinity(0)))
        options = [sfu_options(settings, keys.sfu_secret, recordings) for _ in range(count)] if janus is not None else []
        for number, each in enumerate(options, start=1):
            if janus is None or each is None:
                log.warning("no SFU started", reason="this machine has no address but loopback")
                break
            # Its socket is known before it starts, so that the pool can wait for it there.
            own = SfuServer(name=OWN if number == 1 else f"{OWN}-{number}", url=janus_server.url_of(each), secret=each.secret)
            servers.append(_with_folder(own, recordings))
            self._own.append(Child(janus_server.program(each, janus), clock, wait=WAIT_SECONDS))
        self.pool = JanusPool(
            servers,
            clock,
            key_of=keys.for_rooms,
            bitrate=settings.sfu_kbps * 1000,
            region=settings.region,
            allow_version=settings.sfu_allow_version,
        )

    @property
    def probes(self) -> dict[str, Probe]:
        """The question about health whether a call could be placed; none where there is no SFU."""
        return {"sfu": self.pool.ping} if self.pool.size else {}

    def seats(self, calls: CallService, bus: Bus, metrics: Metrics, *, node: str) -> CallsAtSfu:
        """What the sessions of the node with this name have there, and how much that is."""
        seats = CallsAtSfu(
            calls=calls,
            sfu=self.pool,
            bus=bus,
            clock=self._clock,
            node=node,
            connection_id=lambda: str(uuid4()),
            capacity=self._capacity,
        )
        read = metrics.read_when_asked
        read("secureconnect_sfu_rooms", "Rooms at all SFUs, at the last look.", lambda: self.pool.rooms)
        read("secureconnect_sfu_sessions", "Sessions at all SFUs, at the last look.", lambda: self.pool.people)
        read("secureconnect_sfu_usable", "SFUs that can take a call.", lambda: self.pool.usable)
        read("secureconnect_sfu_seats", "Sessions that this node holds at an SFU.", lambda: len(seats))
        read("secureconnect_sfu_losses", "Calls here whose SFU was lost or emptied.", lambda: seats.reported, counts=True)
        return seats

    async def run(self) -> None:
        """Until cancelled: keep our own running, and the pool connected."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for own in self._own:
                    tasks.create_task(keep_running("own_sfu", own.run))
                tasks.create_task(keep_running("sfu_pool", self.pool.run))
        finally:
            if self._own and self._recordings is not None:
                with suppress(OSError):  # unless it is empty
                    self._recordings.rmdir()


def sfu_options(settings: Settings, secret: str, recordings: Path | None = None) -> JanusOptions | None:
    """How a Janus of our own runs on this machine; None without an address that media could go by."""
    address = media_address()
    if address is None:
        return None
    first, last = (int(port) for port in settings.sfu_ports.split("-"))
    # A NAT's public address stands for one of ours, and for no other.
    other = listening_address(settings.host) if settings.sfu_external_ip is None else None
    return JanusOptions(
        address=address,
        secret=secret,
        folder=janus_server.new_folder(),
        media_ports=(first, last),
        external_ip=str(settings.sfu_external_ip) if settings.sfu_external_ip else None,
        beside=(other,) if other is not None and other != address else (),
        recordings=recordings,
    )


def is_allowed(janus: JanusProgram, settings: Settings) -> bool:
    """Whether this version of Janus may run: one without known faults, or the one that the setting names."""
    return janus.version >= MINIMUM or janus.version_text == settings.sfu_allow_version


def can_run_sfu(settings: Settings) -> bool:
    """Whether Janus is installed, with all that is loaded of it, in a version that may run."""
    janus = janus_server.find_program()
    return janus is not None and is_allowed(janus, settings)


def _own_program(settings: Settings) -> JanusProgram | None:
    """The Janus that this process runs, where it is to run any.

    Only this process reaches it, so a call that other nodes hold sessions of could not use it: they need servers of their own.
    """
    wanted = settings.sfu == "auto" and not settings.sfu_servers and "video" in settings.served and not settings.is_bus_shared
    janus = janus_server.find_program() if wanted else None
    if janus is not None and not is_allowed(janus, settings):
        log.warning("no SFU started", reason=f"Janus {janus.version_text} has known faults: run `secureconnect sfu install`")
        return None
    return janus


def _with_folder(server: SfuServer, recordings: Path | None) -> SfuServer:
    """It writes to the folder that all know by one name, unless it was said that it calls it otherwise."""
    if recordings is None or server.recordings is not None:
        return server
    return replace(server, recordings=str(recordings))
