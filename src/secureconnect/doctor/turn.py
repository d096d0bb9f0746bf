"""Whether TURN relays: two allocations at one server, and a word from the one to the other, over each transport.

With servers configured it asks those; otherwise it starts a coturn as `serve` would, on ports of its own, and ends it.
"""

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from aioice import stun
from aioice.turn import TurnClientTcpProtocol, TurnClientUdpProtocol

from secureconnect.clock import SystemClock
from secureconnect.config import Settings
from secureconnect.doctor.finding import Finding, failed, ok, skipped
from secureconnect.media import coturn
from secureconnect.media.child import Child, is_installed
from secureconnect.media.ice import parse_turn_url, turn_credentials
from secureconnect.media_servers import turn_options

ANSWER_SECONDS = 10.0
LIFETIME_SECONDS = 60
CHANNEL = 0x4000
"""The first that a client may bind (RFC 8656, section 12)."""
INSIDE = ("127.0.0.1", "169.254.169.254")
"""Where no relay may lead: to the server's own machine, and to what clouds tell a machine about itself."""
WITHOUT = "people behind strict networks cannot meet"

Client = TurnClientUdpProtocol | TurnClientTcpProtocol


class _Ear(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self.heard.done():
            self.heard.set_result(data)


class Allocation:
    """A place at a TURN server (RFC 8656, section 3.2)."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ear = _Ear()
        client.receiver = self._ear

    @property
    def address(self) -> tuple[str, int]:
        """Where others reach us through the server."""
        assert self._client.relayed_address is not None
        return self._client.relayed_address

    async def permit(self, peer: tuple[str, int]) -> None:
        """Bind a channel to a peer. Raises aioice.stun.TransactionFailed with what the server says instead."""
        await self._client.channel_bind(CHANNEL, peer)
        self._client.channel_to_peer[CHANNEL] = peer
        self._client.peer_to_channel[peer] = CHANNEL
        self._client.channel_refresh_at[CHANNEL] = float("inf")

    async def send(self, data: bytes, peer: tuple[str, int]) -> None:
        await self._client.send_data(data, peer)

    async def receive(self) -> bytes:
        return await self._ear.heard


@asynccontextmanager
async def allocate(url: str, username: str, password: str, *, trusting: bool = False) -> AsyncIterator[Allocation]:
    """An allocation at a TURN URL (RFC 7065). `trusting` takes any certificate.

    Raises ValueError for what is no such URL, OSError when nobody is there, aioice.stun.TransactionError when it refuses.
    """
    scheme, host, port, transport = parse_turn_url(url)
    loop = asyncio.get_running_loop()

    def make(kind: type[Client]) -> Client:
        return kind((host, port), username, password, LIFETIME_SECONDS, LIFETIME_SECONDS)

    client: Client
    if transport == "udp":
        _, client = await loop.create_datagram_endpoint(lambda: make(TurnClientUdpProtocol), remote_addr=(host, port))
    else:
        tls = _tls(trusting=trusting) if scheme == "turns" else None
        _, client = await loop.create_connection(lambda: make(TurnClientTcpProtocol), host, port, ssl=tls)
    try:
        allocation = Allocation(client)
        await client.connect()
        yield allocation
    finally:
        with contextlib.suppress(stun.TransactionError):
            await client.delete()


def _tls(*, trusting: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if trusting:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def turn(settings: Settings) -> list[Finding]:
    """One finding for each transport of each server, and one on where it refuses to relay to."""
    if settings.turn_servers and settings.turn_secret is not None:
        urls = [url for server in settings.turn_servers for url in server.urls]
        return await _each(urls, settings.turn_secret.get_secret_value())
    if settings.turn == "off" or "video" not in settings.served:
        return [skipped("TURN", f"none: {WITHOUT}")]
    if not is_installed(coturn.PROGRAM):
        return [skipped("TURN", f"none: {WITHOUT}; install coturn, and `serve` runs one, or set turn_servers")]
    return await _our_own(settings)


async def _our_own(settings: Settings) -> list[Finding]:
    advice = "look at the log of `serve`, or set turn=off"
    try:
        options = turn_options(settings, secrets.token_hex(16), port=0, tls_port=0)
    except OSError as failure:
        return [failed("TURN", str(failure), advice)]
    if options is None:
        return [skipped("TURN", "none: this machine has no address but loopback")]
    listening = asyncio.Event()
    child = Child(coturn.program(options), SystemClock(), on_change=lambda is_up: listening.set())
    running = asyncio.ensure_future(child.run_once())
    waiting = asyncio.ensure_future(listening.wait())
    try:
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if child.pid is None:
            return [failed("TURN", f"{coturn.PROGRAM} is installed and does not start", advice)]
        return await _each(coturn.server_at(options, options.address).urls, options.secret, trusting=True)
    finally:
        for task in (running, waiting):
            task.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)


async def _each(urls: list[str], secret: str, *, trusting: bool = False) -> list[Finding]:
    until = SystemClock().now() + timedelta(seconds=LIFETIME_SECONDS)
    name, password = turn_credentials(secret, "doctor", until)
    findings = [await _attempt(_relays, url, name, password, trusting=trusting) for url in urls]
    # Where it relays to does not depend on how it is asked.
    return [*findings, await _attempt(_keeps_out, urls[0], name, password, trusting=trusting)]


async def _relays(url: str, name: str, password: str, *, trusting: bool) -> Finding:
    clock = SystemClock()
    async with allocate(url, name, password, trusting=trusting) as one, allocate(url, name, password, trusting=trusting) as other:
        await one.permit(other.address)
        await other.permit(one.address)
        word, begun = secrets.token_bytes(16), clock.monotonic()
        await one.send(word, other.address)
        if await other.receive() != word:
            return failed(_subject(url), f"{url} relays something else than it was given", "look at what stands between")
        return ok(_subject(url), f"{url} relays in {(clock.monotonic() - begun) * 1000:.2f} ms")


async def _keeps_out(url: str, name: str, password: str, *, trusting: bool) -> Finding:
    async with allocate(url, name, password, trusting=trusting) as one:
        for host in INSIDE:
            try:
                await one.permit((host, 9))
            except stun.TransactionFailed:
                continue
            return failed("TURN limits", f"relays to {host}", "take the denied-peer-ip lines of deploy/coturn.conf")
    return ok("TURN limits", f"no relay to {' or '.join(INSIDE)}")


def _subject(url: str) -> str:
    """What is asked there: TURN by which transport."""
    if url.startswith("turns:"):
        return "TURN tls"
    return "TURN tcp" if url.endswith("transport=tcp") else "TURN udp"


async def _attempt(work: Callable[..., Awaitable[Finding]], url: str, name: str, password: str, *, trusting: bool) -> Finding:
    """What `work` finds, or in words why it could not."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await work(url, name, password, trusting=trusting)
    except TimeoutError:
        return failed(
            _subject(url), f"{url}: no answer within {ANSWER_SECONDS:g} s", "open its ports to clients, relay ports included"
        )
    except stun.TransactionFailed as refusal:
        code, words = refusal.response.attributes.get("ERROR-CODE", (0, "refused"))
        return failed(
            _subject(url), f"{url}: {code} {words}", "set turn_secret to the server's static-auth-secret; let both clocks agree"
        )
    except ssl.SSLError as failure:
        return failed(_subject(url), f"{url}: {failure.reason}", "give it a certificate for this name that browsers trust")
    except (OSError, ValueError, stun.TransactionError) as failure:
        return failed(_subject(url), f"{url}: {failure}", "set turn_servers to where a TURN server listens")
