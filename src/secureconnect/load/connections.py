"""`secureconnect bench connections`: how many idle sockets a server holds, what each costs, and whether it keeps them alive.

Called by cli. Opens events sockets, lets the server ping them and answers.
"""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count, cycle
from typing import Protocol
from uuid import uuid4

from picows import WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from rich.console import Console
from rich.progress import Progress

from secureconnect.load.options import ConnectionsOptions
from secureconnect.load.people import Person, gather_people
from secureconnect.load.proc import allow_open_files
from secureconnect.load.report import Case, Report, machine, quantile
from secureconnect.load.rest import LoadError, Rest
from secureconnect.load.target import Target, open_target
from secureconnect.load.traffic import elapse

SOCKETS_A_PERSON = 16
"""Fewer than `sockets_per_user` by default: the server closes the oldest beyond it."""
SPARE_FILES = 200
"""Open files a server and a driver need besides their sockets."""
PER_ADDRESS = 10_000
"""Sockets from one loopback address: fewer than there are ephemeral ports."""


class Ledger:
    """What all idle sockets of a run share."""

    def __init__(self) -> None:
        self.open = 0
        self.pings = 0
        self.lost = 0
        self.closing = False


class IdleSocket(WSListener):
    """Answers pings and hopes for nothing else."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.transport: WSTransport | None = None
        self.welcomed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done with the first frame: from there on the server holds the socket for good; or with the socket's end."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
            self._ledger.pings += 1
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.disconnect()
        elif not self.welcomed.done():
            self.welcomed.set_result(None)
            self.transport = transport
            self._ledger.open += 1

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._ledger.closing:
            return
        self._ledger.lost += 1
        if self.welcomed.done():
            self._ledger.open -= 1
        else:
            self.welcomed.set_result(None)


async def run_connections(options: ConnectionsOptions, console: Console) -> Report:
    """Open the sockets, hold them, report. Raises LoadError when the server is not there or takes no people."""
    limit = allow_open_files(options.sockets + SPARE_FILES)
    wanted = min(options.sockets, limit - SPARE_FILES)
    notes = []
    if wanted < options.sockets:
        notes.append(f"{options.sockets:,} were asked for; the limit on open files here is {limit:,}, so {wanted:,} were tried")
    count = max(options.people, -(-wanted // SOCKETS_A_PERSON))
    if count > options.people:
        notes.append(f"{options.people:,} people were asked for; a server holds few sockets of each, so these are of {count:,}")
    async with open_target(options) as target:
        rest = Rest(target.url)
        try:
            with Progress(console=console, transient=True, refresh_per_second=4) as progress:
                task = progress.add_task("people", total=count)
                people = await gather_people(rest, count, target.secret, lambda done: progress.update(task, completed=done))
                case, problems = await _hold(target, people, wanted, options, progress)
        finally:
            rest.close()
        return Report(
            what=f"connections · events sockets of {count} people, idle",
            url=target.url,
            machine=machine(),
            cases=[case],
            problems=problems,
            notes=notes,
        )


async def _hold(
    target: Target, people: Sequence[Person], wanted: int, options: ConnectionsOptions, progress: Progress
) -> tuple[Case, list[str]]:
    opening = _Opening(target, people, wanted, progress)
    ledger = opening.ledger
    process = target.process
    memory = process.memory_bytes() if process else 0
    cpu = process.cpu_seconds() if process else 0.0
    started = time.perf_counter()
    await opening.run(options.opening)
    opened = ledger.open
    values = {
        "accept_per_s": opened / (time.perf_counter() - started),
        "accept_p99_ms": quantile(sorted(opening.handshakes), 0.99) * 1e3,
    }
    if process:
        values["accept_cpu_us"] = (process.cpu_seconds() - cpu) / max(opened, 1) * 1e6
        cpu = process.cpu_seconds()
    task = progress.add_task(f"holding {opened:,} sockets", total=options.hold_seconds)
    await elapse(options.hold_seconds, lambda passed: progress.update(task, completed=passed))
    values |= {"sockets": ledger.open, "lost": ledger.lost, "pings_per_socket": ledger.pings / max(opened, 1)}
    if process:
        values["idle_cpu"] = (process.cpu_seconds() - cpu) / options.hold_seconds
        # Read at the end: what a socket needs once it was pinged is what it needs.
        values["memory_kb"] = (process.memory_bytes() - memory) / max(opened, 1) / 1024
        values["server_mb"] = process.memory_bytes() / 1024**2
    problems = opening.problems() + ([f"sockets lost: {ledger.lost:,}"] if ledger.lost else [])
    opening.close()
    return Case(f"{wanted:,} sockets", values), problems


class _Opening:
    """The sockets of a run on their way to being open."""

    def __init__(self, target: Target, people: Sequence[Person], wanted: int, progress: Progress) -> None:
        self.ledger = Ledger()
        self.handshakes: list[float] = []
        self._target = target
        self._progress = progress
        self._task = progress.add_task("sockets", total=wanted)
        self._refusals: Counter[str] = Counter()
        self._sockets: list[IdleSocket] = []
        # Workers share one iterator, so that each socket is opened once.
        self._work = iter(zip(range(wanted), cycle(people), _addresses(target), strict=False))

    async def run(self, at_once: int) -> None:
        """Open all, `at_once` at a time. Raises LoadError when one that was accepted has no first frame in ten seconds."""
        await asyncio.gather(*(self._open_some() for _ in range(at_once)))
        try:
            async with asyncio.timeout(10):
                await asyncio.gather(*(idle.welcomed for idle in self._sockets))
        except TimeoutError:
            raise LoadError(f"{len(self._sockets) - self.ledger.open} sockets were accepted and never welcomed") from None

    async def _open_some(self) -> None:
        for _, person, address in self._work:
            idle = IdleSocket(self.ledger)
            began = time.perf_counter()
            try:
                await _open(self._target, person, address, idle)
            except (WSError, OSError, TimeoutError) as error:
                self._refusals[repr(error)] += 1
                continue
            self.handshakes.append(time.perf_counter() - began)
            self._sockets.append(idle)
            self._progress.update(self._task, completed=len(self._sockets))

    def problems(self) -> list[str]:
        return [f"refused, {reason}: {number:,}" for reason, number in self._refusals.items()]

    def close(self) -> None:
        self.ledger.closing = True
        for idle in self._sockets:
            if idle.transport is not None:
                idle.transport.disconnect(graceful=False)


class _SocketFactory(Protocol):
    def __call__(self, url: object) -> socket.socket | None: ...


async def _open(target: Target, person: Person, address: str | None, idle: IdleSocket) -> None:
    def bound(url: object) -> socket.socket | None:
        if address is None:
            return None
        made = socket.socket()
        made.setblocking(False)
        made.bind((address, 0))
        return made

    factory: _SocketFactory = bound
    await ws_connect(
        lambda: idle,
        f"{target.socket_url}/v1/ws/events?device_id={uuid4()}",
        extra_headers=person.headers,
        enable_auto_pong=False,
        websocket_handshake_timeout=30,
        read_buffer_init_size=1024,
        socket_factory=factory,
    )


def _addresses(target: Target) -> Iterator[str | None]:
    """Where each socket comes from: 127.0.0.1, 127.0.0.2 … when the server is on loopback, else wherever the system likes."""
    if not target.url.startswith("http://127."):
        yield from cycle([None])
    for number in count():
        yield f"127.0.0.{1 + number // PER_ADDRESS}"
