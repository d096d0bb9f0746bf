"""A real Janus on a free loopback port, as `serve` would start one, and peers with real media that know nothing of signaling."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame, VideoFrame

from secureconnect.clock import SystemClock
from secureconnect.media.child import Child
from secureconnect.media.janus_server import JanusOptions, JanusProgram, find_program, new_folder, program, url_of
from secureconnect.media.pool import SfuServer
from secureconnect.robot.meters import AudioMeter, VideoMeter
from secureconnect.robot.pictures import Picture, PictureTrack
from secureconnect.robot.sounds import Beep
from tests.fakes.server import ServerProcess

ADDRESS = "10.77.0.1"
"""What tests/namespace gives: Janus gathers no candidates on loopback."""
SECRET = "what janus and we know"
START_SECONDS = 15.0


class JanusServer:
    """One Janus. Its socket stays the same from one start to the next; what it held does not."""

    def __init__(
        self,
        name: str = "one",
        media_ports: tuple[int, int] = (20000, 21999),
        recordings: Path | None = None,
        janus: JanusProgram | None = None,
    ) -> None:
        janus = janus or find_program()
        if janus is None:
            raise RuntimeError("janus is not installed: run tests/engines")
        self.options = JanusOptions(ADDRESS, SECRET, new_folder(), media_ports, recordings=recordings)
        where = str(recordings) if recordings is not None else None
        self.server = SfuServer(name=name, url=url_of(self.options), secret=SECRET, recordings=where)
        self._up = asyncio.Event()
        self._child = Child(program(self.options, janus), SystemClock(), on_change=lambda is_up: self._up.set())
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        assert self._child.pid is not None
        return self._child.pid

    async def start(self) -> None:
        self._up.clear()
        self._task = asyncio.create_task(self._child.run_once())
        async with asyncio.timeout(START_SECONDS):
            await self._up.wait()
        assert self._child.pid is not None, "janus did not start"

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None


@asynccontextmanager
async def running_janus(
    name: str = "one", recordings: Path | None = None, janus: JanusProgram | None = None
) -> AsyncIterator[JanusServer]:
    server = JanusServer(name, recordings=recordings, janus=janus)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def janus_of(server: ServerProcess) -> int:
    """The process of the busiest Janus that this server runs: media has sockets."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):  # it has ended meanwhile
            text = stat.read_text()
            name, parent = text.split(") ")[0].split(" (")[1], int(text.rsplit(") ", 1)[1].split()[1])
            if name == "janus" and parent == server.pid:
                found.append((len(list((stat.parent / "fd").iterdir())), int(stat.parent.name)))
    if not found:
        raise LookupError("this server runs no Janus")
    return max(found)[1]


def _connection() -> RTCPeerConnection:
    # An empty list, unlike none at all, keeps aiortc from asking a public STUN server.
    return RTCPeerConnection(RTCConfiguration([], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))


class Speaker:
    """Sends a beep and, unless told otherwise, a small picture. Sections "0" and "1"."""

    def __init__(self, *, video: bool = True) -> None:
        clock = SystemClock()
        self.connection = _connection()
        self.connection.addTransceiver(Beep(440.0, clock), direction="sendonly")
        if video:
            self.connection.addTransceiver(PictureTrack(Picture("S", 160, 96), clock), direction="sendonly")

    async def offer(self) -> str:
        await self.connection.setLocalDescription()
        return str(self.connection.localDescription.sdp)

    async def take(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def close(self) -> None:
        await self.connection.close()


class Listener:
    """Receives whatever it is offered; `audio` and `video` are meters by section."""

    def __init__(self) -> None:
        self.connection = _connection()
        self.audio: dict[str, AudioMeter] = {}
        self.video: dict[str, VideoMeter] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.connection.on("track", self._on_track)

    async def answer(self, offer: str) -> str:
        await self.connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self.connection.setLocalDescription()
        return str(self.connection.localDescription.sdp)

    def frames(self, mids: Sequence[str] = ()) -> int:
        return sum(meter.frames for mid, meter in self.video.items() if not mids or mid in mids)

    def seconds(self) -> float:
        return sum(meter.audible_seconds for meter in self.audio.values())

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.connection.close()

    def _on_track(self, track: MediaStreamTrack) -> None:
        mid = next(str(one.mid) for one in self.connection.getTransceivers() if one.receiver.track is track)
        self._tasks.add(asyncio.create_task(self._read(mid, track)))

    async def _read(self, mid: str, track: MediaStreamTrack) -> None:
        with suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                if isinstance(frame, AudioFrame):
                    self.audio.setdefault(mid, AudioMeter()).add(frame)
                elif isinstance(frame, VideoFrame):
                    self.video.setdefault(mid, VideoMeter()).add(frame)
