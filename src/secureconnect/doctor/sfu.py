"""Whether group calls have an SFU: each Janus answers to its secret, and to an offer with addresses that media can go by.

With servers configured it asks those; otherwise it starts a Janus as `serve` would, and ends it.
"""

import asyncio
import secrets
from collections.abc import Sequence
from ipaddress import ip_address

from secureconnect.clock import SystemClock
from secureconnect.config import Settings
from secureconnect.doctor.finding import Finding, Verdict, failed, ok, skipped
from secureconnect.media import Member, Room, SfuError, Stream, Track
from secureconnect.media.child import Child
from secureconnect.media.janus import TOO_OLD, UNAUTHORIZED, JanusError, JanusLost, open_janus
from secureconnect.media.janus_server import JanusProgram, find_program, program, url_of
from secureconnect.media.pool import SfuServer
from secureconnect.media.videoroom import RoomOptions, VideoRoomSeat
from secureconnect.sandbox import missing_parts
from secureconnect.sfu_servers import is_allowed, sfu_options
from secureconnect.signaling.sfu_frames import Source

ANSWER_SECONDS = 10.0
WITHOUT = "calls are for four people at most, each sends to all"
UPDATE = "run `secureconnect sfu install` on its machine, and start that Janus"

OFFER = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=doctor
t=0 0
a=group:BUNDLE 0
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=mid:0
a=sendonly
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=ice-ufrag:doctor
a=ice-pwd:doctordoctordoctordoctor
a=setup:actpass
a=fingerprint:sha-256 {fingerprint}
""".format(fingerprint=":".join(["AB"] * 32)).replace("\n", "\r\n")
"""What a browser with a microphone would offer, cut down to what must be there (RFC 8829)."""


class _Nothing:
    """Listens to a seat in which nothing happens."""

    def offered(self, sdp: str, streams: Sequence[Stream]) -> None: ...
    def published(self) -> None: ...
    def unpublished(self) -> None: ...
    def stopped_receiving(self) -> None: ...
    def talking(self, is_talking: bool) -> None: ...
    def lost(self) -> None: ...


async def sfu(settings: Settings) -> list[Finding]:
    """One finding for each Janus, or for the one that `serve` would start."""
    if settings.sfu == "off" or "video" not in settings.served:
        return [skipped("SFU", f"none: {WITHOUT}")]
    if settings.sfu_servers:
        return list(await asyncio.gather(*(_ask(server, ()) for server in settings.sfu_servers)))
    if settings.is_bus_shared:
        return [skipped("SFU", f"none: {WITHOUT}; nodes that share calls need sfu_servers, which all of them reach")]
    janus = find_program()
    if janus is None:
        return [skipped("SFU", f"none: {WITHOUT}; run `secureconnect sfu install`, and `serve` runs one, or set sfu_servers")]
    if not is_allowed(janus, settings):
        return [failed("SFU", f"Janus {janus.version_text} has known faults, so {WITHOUT}", "run `secureconnect sfu install`")]
    return [await _our_own(settings, janus)]


async def _our_own(settings: Settings, janus: JanusProgram) -> Finding:
    options = sfu_options(settings, secrets.token_hex(16))
    if options is None:
        return skipped("SFU", "none: this machine has no address but loopback")
    listening = asyncio.Event()
    child = Child(program(options, janus), SystemClock(), on_change=lambda is_up: listening.set())
    running = asyncio.ensure_future(child.run_once())
    waiting = asyncio.ensure_future(listening.wait())
    try:
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if child.pid is None:
            return failed("SFU", "janus is installed and does not start", "look at the log of `serve`, or set sfu=off")
        server = SfuServer(name="own", url=url_of(options), secret=options.secret)
        finding = await _ask(server, options.candidates)
        missing = missing_parts()
        if finding.verdict is not Verdict.OK or not missing:
            return finding
        return ok("SFU", f"{finding.detail}; its sandbox is incomplete, because this kernel has no {', no '.join(missing)}")
    finally:
        for task in (running, waiting):
            task.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)


async def _ask(server: SfuServer, wanted: tuple[str, ...]) -> Finding:
    """What it says to an offer; `wanted` is what its candidates should have for addresses, if that is known."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await _offer(server, wanted)
    except (JanusLost, TimeoutError) as failure:
        return failed(
            "SFU", f"{server.name}: no answer at {server.url} ({failure})", "start it, and let this machine reach its API"
        )
    except JanusError as refusal:
        if refusal.code == UNAUTHORIZED:
            return failed("SFU", f"{server.name}: it does not take our secret", "set its secret to the api_secret of that Janus")
        if refusal.code == TOO_OLD:
            return failed("SFU", f"{server.name}: {refusal}", UPDATE)
        return failed("SFU", f"{server.name}: {refusal}", "take its configuration from deploy/janus")
    except SfuError as refusal:
        return failed("SFU", f"{server.name}: {refusal}", "take its configuration from deploy/janus")


async def _offer(server: SfuServer, wanted: tuple[str, ...]) -> Finding:
    clock = SystemClock()
    janus = await open_janus(server.url, server.secret, clock)
    try:
        room = Room(server.name, f"doctor.{secrets.token_hex(8)}", 1)
        options = RoomOptions(admin_key=server.secret, key=secrets.token_bytes(16), bitrate=64_000)
        seat = VideoRoomSeat(janus, room, Member("doctor", "doctor"), options, listener=_Nothing())
        try:
            await seat.open()
            begun = clock.monotonic()
            answer = await seat.publish(OFFER, [Track("0", Source.MICROPHONE)], anew=False)
            took = (clock.monotonic() - begun) * 1000
        finally:
            await seat.leave()
    finally:
        await janus.close()
    addresses = sorted({line.split()[4] for line in answer.splitlines() if line.startswith("a=candidate:")})
    version = ".".join(map(str, janus.version))
    well = f"{server.name}: Janus {version} answers an offer in {took:.0f} ms, media by {', '.join(addresses)}"
    return _judge(server.name, addresses, wanted) or ok("SFU", well)


def _judge(name: str, addresses: list[str], wanted: tuple[str, ...]) -> Finding | None:
    """What is wrong with the addresses of an answer's candidates."""
    if not addresses:
        return failed("SFU", f"{name}: it has no address for media", "give that machine an address that is not loopback")
    if wanted and addresses != sorted(wanted):
        return failed(
            "SFU",
            f"{name}: media would go by {', '.join(addresses)}, not {', '.join(wanted)}",
            "see ice_enforce_list in deploy/janus",
        )
    if any(ip_address(one).is_link_local for one in addresses):
        advice = "set ice_enforce_list to the address that clients reach: one that matches nothing lets it offer all there are"
        return failed("SFU", f"{name}: it offers {', '.join(addresses)}", advice)
    return None
