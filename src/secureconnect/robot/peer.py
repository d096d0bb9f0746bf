"""One remote session's media: an RTCPeerConnection, who offers, what happens when both do, and what to do when it breaks.

Made by `call`, one for each remote session; it never talks to the server, `send` does.

Perfect negotiation (W3C WebRTC, section 10.7) as docs/protocol.md asks for, bent to aiortc, which has no rollback, no ICE
restart and no trickle of its own: the candidates are in its SDP, and where a browser would roll back or restart, a fresh
RTCPeerConnection takes over.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRemoteInboundRtpStreamStats,
    RTCSessionDescription,
    RTCTransportStats,
)
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.stats import RTCInboundRtpStreamStats
from av import AudioFrame, VideoFrame

from secureconnect.clock import Clock
from secureconnect.ids import SessionId, short
from secureconnect.robot.backoff import Backoff
from secureconnect.robot.candidates import parse_candidate, take_candidates
from secureconnect.robot.meters import AudioMeter, VideoMeter
from secureconnect.robot.sources import Outgoing, Source
from secureconnect.robot.wire import CallType, Description, IceCandidate, IceServer

PATIENCE_SECONDS = 3.0
"""A lost connection is left to the other side for this long: a page that reloads offers a new one by itself."""

log = structlog.get_logger(__name__)


class Send(Protocol):
    """How a peer speaks: a frame of `type` to the session `target_id`."""

    async def __call__(self, type: str, **fields: object) -> object: ...


@dataclass(frozen=True)
class PeerStatistics:
    """A moment of one connection; bytes and packets count from its beginning, `round_trip` is in seconds or not yet known."""

    state: str
    packets_received: int = 0
    packets_lost: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    round_trip: float | None = None


@dataclass(frozen=True)
class PeerSetting:
    """What all peers of one call share. `connection_id` makes a new name, `random` gives floats in [0, 1)."""

    own: SessionId
    call_type: CallType
    source: Source
    ice_servers: list[IceServer]
    send: Send
    connection_id: Callable[[], str]
    random: Callable[[], float]
    clock: Clock


class Peer:
    """The connection with the session `remote`. Everything happens in one task, in the order in which it was asked for."""

    def __init__(self, remote: SessionId, setting: PeerSetting) -> None:
        self.remote = remote
        self.audio = AudioMeter()
        self.video = VideoMeter()
        self._setting = setting
        self._polite = setting.own < remote
        self._backoff = Backoff(setting.random)
        self._remote_id: str | None = None
        self._remote_ufrags: frozenset[str] = frozenset()
        self._held: list[IceCandidate] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._connection_id = setting.connection_id()
        self._outgoing, self._connection = self._connect()
        self._steps: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        self._worker = asyncio.create_task(self._work(), name=f"peer {short(remote)}")

    # What `call` asks for

    def offer(self) -> None:
        """Offer a connection: the newcomer does this, those present wait."""
        self._steps.put_nowait(self._offer)

    def receive(self, signal: Description | IceCandidate) -> None:
        """Take what the remote session sent."""
        match signal:
            case Description(type="offer"):
                self._steps.put_nowait(partial(self._take_offer, signal))
            case Description():
                self._steps.put_nowait(partial(self._take_answer, signal))
            case IceCandidate():
                self._steps.put_nowait(partial(self._take_candidate, signal))

    async def statistics(self) -> PeerStatistics:
        connection = self._connection
        reports = (await connection.getStats()).values()
        inbound = [report for report in reports if isinstance(report, RTCInboundRtpStreamStats)]
        transports = [report for report in reports if isinstance(report, RTCTransportStats)]
        trips = [report.roundTripTime for report in reports if isinstance(report, RTCRemoteInboundRtpStreamStats)]
        return PeerStatistics(
            state=connection.connectionState,
            packets_received=sum(report.packetsReceived for report in inbound),
            packets_lost=sum(report.packetsLost for report in inbound),
            bytes_received=sum(report.bytesReceived for report in transports),
            bytes_sent=sum(report.bytesSent for report in transports),
            round_trip=next((trip for trip in trips if trip), None),
        )

    async def close(self) -> None:
        """Stop everything; must be awaited before the event loop ends, or aiortc's threads outlive it."""
        self._worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._worker
        await self._drop()

    # Negotiation, one step at a time

    async def _work(self) -> None:
        while True:
            step = await self._steps.get()
            try:
                await step()
            except Exception:
                # Whatever a stranger's description provokes in a parser or codec must not end the call with the others.
                log.exception("negotiation failed", session=short(self.remote))

    async def _offer(self) -> None:
        for track in self._outgoing.tracks:
            self._connection.addTrack(track)
        sent = {track.kind for track in self._outgoing.tracks}
        for kind in ("audio",) if self._setting.call_type == "audio" else ("audio", "video"):
            if kind not in sent:
                self._connection.addTransceiver(kind, direction="recvonly")
        await self._connection.setLocalDescription()
        await self._describe()

    async def _take_offer(self, offer: Description) -> None:
        sdp, candidates = take_candidates(offer.sdp)
        offering = self._connection.signalingState == "have-local-offer"
        if offering and not self._polite:
            # Said again: a side that came back to a fresh snapshot was never given the first, and both would wait for ever.
            await self._describe()
            return
        if offering or self._connection.signalingState == "closed" or self._is_another(offer, sdp.ufrags):
            await self._replace(anew=self._remote_id not in {None, offer.connection_id})
        await self._connection.setRemoteDescription(RTCSessionDescription(sdp.text, "offer"))
        self._described_by(offer, sdp.ufrags)
        self._answer_with_tracks()
        await self._connection.setLocalDescription()
        await self._describe()
        await self._add(candidates)

    async def _take_answer(self, answer: Description) -> None:
        if self._connection.signalingState != "have-local-offer":
            log.debug("answer ignored: nothing was offered", session=short(self.remote))
            return
        sdp, candidates = take_candidates(answer.sdp)
        await self._connection.setRemoteDescription(RTCSessionDescription(sdp.text, "answer"))
        self._described_by(answer, sdp.ufrags)
        await self._add(candidates)

    async def _take_candidate(self, signal: IceCandidate) -> None:
        if self._remote_ufrags and signal.connection_id in {None, self._remote_id}:
            await self._add([_line(signal)])
        else:
            self._held.append(signal)

    def _is_another(self, offer: Description, ufrags: frozenset[str]) -> bool:
        """Whether the offer is for a new connection of the other side (a reloaded page) or restarts ICE (RFC 8445, section 9)."""
        if not self._remote_ufrags:
            return False
        return offer.connection_id != self._remote_id or not ufrags & self._remote_ufrags

    def _described_by(self, description: Description, ufrags: frozenset[str]) -> None:
        self._remote_id, self._remote_ufrags = description.connection_id, ufrags

    def _answer_with_tracks(self) -> None:
        """Send what we have through the sections that the offer made room for; a section we have nothing for only receives."""
        offered = {transceiver.kind for transceiver in self._connection.getTransceivers()}
        sending = {sender.track for sender in self._connection.getSenders()}
        for track in self._outgoing.tracks:
            if track.kind in offered and track not in sending:
                self._connection.addTrack(track)

    async def _add(self, candidates: list[str | None]) -> None:
        """Add candidates that came inside a description or after it, and those that came before."""
        held, self._held = self._held, []
        early = [_line(signal) for signal in held if signal.connection_id in {None, self._remote_id}]
        # Everything is bundled, and aiortc keeps the one transport with its first transceiver, whichever section that is.
        transport = self._connection.getTransceivers()[0]
        for line in early + candidates:
            candidate = None if line is None else parse_candidate(line)
            if candidate is not None:
                candidate.sdpMid = transport.mid
            if (line is None or candidate is not None) and self._connection.signalingState != "closed":
                await self._connection.addIceCandidate(candidate)

    async def _describe(self) -> None:
        description = self._connection.localDescription
        await self._setting.send(description.type, target_id=self.remote, sdp=description.sdp, connection_id=self._connection_id)

    # The connection and what comes through it

    def _connect(self) -> tuple[Outgoing, RTCPeerConnection]:
        servers = [RTCIceServer(server.urls, server.username, server.credential) for server in self._setting.ice_servers]
        # An empty list, unlike none at all, keeps aiortc from asking a public STUN server.
        connection = RTCPeerConnection(RTCConfiguration(servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        outgoing = self._setting.source()

        def on_track(track: MediaStreamTrack) -> None:
            self._start(self._read(track, outgoing))

        def on_state() -> None:
            self._state_changed(connection)

        connection.on("track", on_track)
        connection.on("connectionstatechange", on_state)
        return outgoing, connection

    def _state_changed(self, connection: RTCPeerConnection) -> None:
        log.debug("connection", session=short(self.remote), state=connection.connectionState)
        if connection.connectionState == "connected":
            self._backoff.succeeded()
        elif connection.connectionState in {"failed", "closed"} and not self._polite:
            # One of the two begins anew; the polite one is offered a new connection by the other.
            self._start(self._recover(connection))

    async def _recover(self, lost: RTCPeerConnection) -> None:
        await self._setting.clock.sleep(PATIENCE_SECONDS + self._backoff.failed())
        self._steps.put_nowait(partial(self._begin_anew, lost))

    async def _begin_anew(self, lost: RTCPeerConnection) -> None:
        if lost is self._connection:
            await self._replace(anew=True)
            await self._offer()

    async def _replace(self, *, anew: bool) -> None:
        """Take a fresh connection. `anew`: under a new name, so that the other side begins anew too; else it need not know."""
        await self._drop()
        if anew:
            self._connection_id = self._setting.connection_id()
        self._outgoing, self._connection = self._connect()
        self._remote_id, self._remote_ufrags = None, frozenset()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        """Run `work` for as long as the connection of now lasts."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drop(self) -> None:
        self._connection.remove_all_listeners()  # First, or an event in between would start one more task.
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Whoever is cancelled here leaves the closing to itself: aiortc cannot close what was half closed.
        await asyncio.shield(self._connection.close())
        self._outgoing.stop()

    async def _read(self, track: MediaStreamTrack, outgoing: Outgoing) -> None:
        """Take every decoded frame: aiortc queues without bound what nobody takes."""
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                if isinstance(frame, AudioFrame):
                    self.audio.add(frame)
                    outgoing.hear(frame)
                elif isinstance(frame, VideoFrame):
                    self.video.add(frame)


def _line(signal: IceCandidate) -> str | None:
    return None if signal.candidate is None else str(signal.candidate.get("candidate", ""))
