"""A robot's media by the SFU: one connection that publishes, one that receives everybody. Made by `call`, one for each epoch.

It speaks docs/protocol.md, "By the SFU". aiortc sends one layer, and its candidates come inside its descriptions.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

import structlog
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription, RTCTransportStats
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.stats import RTCInboundRtpStreamStats
from av import AudioFrame, VideoFrame

from secureconnect.clock import Clock
from secureconnect.ids import SessionId
from secureconnect.robot.candidates import parse_candidate, take_candidates
from secureconnect.robot.meters import AudioMeter, VideoMeter
from secureconnect.robot.peer import PeerSetting, PeerStatistics
from secureconnect.robot.wire import SfuDescription

SFU = "sfu"
SOURCES = {"audio": "microphone", "video": "camera"}
AGAIN_SECONDS = 0.5
CONNECT_SECONDS, LOOK_SECONDS = 2.0, 0.02

log = structlog.get_logger(__name__)


class Forwarded:
    """What comes from the session `remote` by the SFU."""

    def __init__(self, remote: SessionId, link: "SfuLink") -> None:
        self.remote = remote
        self.audio = AudioMeter()
        self.video = VideoMeter()
        self._link = link

    async def statistics(self) -> PeerStatistics:
        """Of the one connection that carries everybody."""
        return await self._link.statistics()


class SfuLink:
    """Both connections of one epoch. Everything happens in one task, in the order in which it was asked for."""

    def __init__(self, setting: PeerSetting, epoch: int) -> None:
        self.epoch = epoch
        self.others: dict[SessionId, Forwarded] = {}
        self._setting = setting
        self._outgoing = setting.source()
        self._publishing: RTCPeerConnection | None = None
        self._publishing_id = ""
        self._receiving: RTCPeerConnection | None = None
        self._receiving_id = ""
        self._senders: dict[str, SessionId] = {}
        self._taken: dict[str, SessionId] = {}
        self._sections = 0
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._steps: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        self._worker = asyncio.create_task(self._work(), name=f"sfu link {epoch}")
        self._steps.put_nowait(self._publish)

    @property
    def has_offered(self) -> bool:
        """Whether what is published has been described to the SFU."""
        return self._publishing is not None and self._publishing.localDescription is not None

    def receive(self, description: SfuDescription) -> None:
        """Take what the SFU offers or answers."""
        if description.epoch == self.epoch:
            take = self._take_offer if description.type == "offer" else self._take_answer
            self._steps.put_nowait(partial(take, description))

    def refused(self, code: str) -> None:
        """The server did not take what was said last: it may next time."""
        if code == "sfu_unavailable":
            self._steps.put_nowait(self._publish_again)

    def forget(self, *sessions: SessionId) -> None:
        """They have left."""
        for session in sessions:
            self.others.pop(session, None)

    async def statistics(self) -> PeerStatistics:
        if self._receiving is None:
            return PeerStatistics(state="new")
        reports = (await self._receiving.getStats()).values()
        inbound = [report for report in reports if isinstance(report, RTCInboundRtpStreamStats)]
        transports = [report for report in reports if isinstance(report, RTCTransportStats)]
        return PeerStatistics(
            state=self._receiving.connectionState,
            packets_received=sum(report.packetsReceived for report in inbound),
            packets_lost=sum(report.packetsLost for report in inbound),
            bytes_received=sum(report.bytesReceived for report in transports),
            bytes_sent=sum(report.bytesSent for report in transports),
        )

    async def close(self) -> None:
        """Stop everything; must be awaited before the event loop ends, or aiortc's threads outlive it."""
        self._worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._worker
        await self._drop_receiving()
        if self._publishing is not None:
            await asyncio.shield(_close(self._publishing, self._setting.clock))
        self._outgoing.stop()

    async def _work(self) -> None:
        while True:
            step = await self._steps.get()
            try:
                await step()
            except Exception:
                log.exception("negotiation with the SFU failed", epoch=self.epoch)

    def _connect(self) -> RTCPeerConnection:
        servers = [RTCIceServer(server.urls, server.username, server.credential) for server in self._setting.ice_servers]
        return RTCPeerConnection(RTCConfiguration(servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))

    async def _publish(self) -> None:
        self._publishing, self._publishing_id = self._connect(), self._setting.connection_id()
        for track in self._outgoing.tracks:
            self._publishing.addTransceiver(track, direction="sendonly")
        if self._outgoing.tracks:
            await self._publishing.setLocalDescription()
            await self._offer()

    async def _publish_again(self) -> None:
        await self._setting.clock.sleep(AGAIN_SECONDS)
        if self._publishing is not None and self._publishing.signalingState == "have-local-offer":
            await self._offer()

    async def _offer(self) -> None:
        assert self._publishing is not None
        tracks = [{"mid": one.mid, "source": SOURCES[one.kind]} for one in self._publishing.getTransceivers()]
        sdp = self._publishing.localDescription.sdp
        await self._setting.send(
            "offer", target_id=SFU, sdp=sdp, connection_id=self._publishing_id, epoch=self.epoch, tracks=tracks
        )

    async def _take_answer(self, answer: SfuDescription) -> None:
        connection = self._publishing
        if connection is None or answer.connection_id != self._publishing_id or connection.signalingState != "have-local-offer":
            return
        await _describe(connection, answer)

    async def _take_offer(self, offer: SfuDescription) -> None:
        if self._receiving is None or offer.connection_id != self._receiving_id:
            await self._drop_receiving()
            self._receiving, self._receiving_id = self._connect(), offer.connection_id
            self._sections = len(offer.streams)
        shown = [one for one in offer.streams if one.active and one.session_id]
        senders = {one.mid: SessionId(UUID(one.session_id)) for one in shown}
        is_reused = any(mid in self._taken and self._taken[mid] != sender for mid, sender in senders.items())
        if is_reused or len(offer.streams) > self._sections:
            # aiortc does not begin anew within a section, and stumbles over one that is added: another connection, then.
            await self._drop_receiving()
            await self._setting.send("ice_restart", target_id=SFU, epoch=self.epoch)
            return
        self._senders = senders
        self._taken |= senders
        for session in set(self._senders.values()) - self.others.keys():
            self.others[session] = Forwarded(session, self)
        await _describe(self._receiving, offer)
        await self._receiving.setLocalDescription()
        answer = self._receiving.localDescription.sdp
        await self._setting.send("answer", target_id=SFU, sdp=answer, connection_id=self._receiving_id, epoch=self.epoch)
        for transceiver in self._receiving.getTransceivers():
            mid = str(transceiver.mid)
            if mid not in self._reading:
                self._reading[mid] = asyncio.create_task(self._read(mid, transceiver.receiver.track))

    async def _drop_receiving(self) -> None:
        for task in self._reading.values():
            task.cancel()
        await asyncio.gather(*self._reading.values(), return_exceptions=True)
        self._reading.clear()
        self._taken.clear()
        receiving, self._receiving = self._receiving, None
        if receiving is not None:
            await asyncio.shield(_close(receiving, self._setting.clock))

    async def _read(self, mid: str, track: MediaStreamTrack) -> None:
        """Take every decoded frame: aiortc queues without bound what nobody takes."""
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                sender = self._senders.get(mid)
                other = self.others.get(sender) if sender is not None else None
                if other is None:
                    continue
                if isinstance(frame, AudioFrame):
                    other.audio.add(frame)
                    # One voice answers all: it repeats the one who came first, for two at once would be noise.
                    if other is next(iter(self.others.values())):
                        self._outgoing.hear(frame)
                elif isinstance(frame, VideoFrame):
                    other.video.add(frame)


async def _close(connection: RTCPeerConnection, clock: Clock) -> None:
    """aiortc connects in the background, and what is closed under it fails there, where nobody can catch it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CONNECT_SECONDS):
            while connection.connectionState == "connecting":
                await clock.sleep(LOOK_SECONDS)
    await connection.close()


async def _describe(connection: RTCPeerConnection, description: SfuDescription) -> None:
    """Take a description of the SFU, then its candidates one by one: see `candidates`."""
    sdp, candidates = take_candidates(description.sdp)
    await connection.setRemoteDescription(RTCSessionDescription(sdp.text, description.type))
    transport = connection.getTransceivers()[0]
    for line in candidates:
        candidate = None if line is None else parse_candidate(line)
        if candidate is not None:
            candidate.sdpMid = transport.mid
        if line is None or candidate is not None:
            await connection.addIceCandidate(candidate)
