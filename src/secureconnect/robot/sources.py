"""What one connection sends: the tracks of a robot, made anew for each remote session.

A Source is handed to `call` and opened once for each RTCPeerConnection: an echo needs a voice of its own for everybody it hears.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aiortc.contrib.media import MediaBlackhole, MediaPlayer, MediaRelay
from aiortc.mediastreams import MediaStreamTrack
from av import AudioFrame

from secureconnect.clock import Clock
from secureconnect.robot.pictures import Picture, PictureTrack
from secureconnect.robot.sounds import Beep, DelayedSound


def _unheard(_: AudioFrame) -> None:
    """What comes in has no part in what goes out."""


@dataclass(frozen=True)
class Outgoing:
    """Tracks for one connection, and where to put the sound that comes in over it."""

    tracks: tuple[MediaStreamTrack, ...]
    hear: Callable[[AudioFrame], None] = _unheard

    def stop(self) -> None:
        for track in self.tracks:
            track.stop()


Source = Callable[[], Outgoing]


def pattern(name: str, frequency: float, clock: Clock, *, video: bool = True) -> Source:
    """A picture with `name` and a beep of `frequency` Hz; the beep alone without `video`."""
    shown = Picture(name)

    def open_source() -> Outgoing:
        beep = Beep(frequency, clock)
        return Outgoing((beep, PictureTrack(shown, clock)) if video else (beep,))

    return open_source


def echo(name: str, clock: Clock, *, video: bool = True) -> Source:
    """A picture with `name`, and to everybody the sound that came from them."""
    shown = Picture(name)

    def open_source() -> Outgoing:
        voice = DelayedSound(clock)
        return Outgoing((voice, PictureTrack(shown, clock)) if video else (voice,), voice.hear)

    return open_source


class File:
    """A media file played once, to everybody at the same time, from the first `start` on. `ended` is set when it is over.

    Raises av.FFmpegError when the file is missing or cannot be played.
    """

    def __init__(self, path: Path) -> None:
        self.ended = asyncio.Event()
        self._relay = MediaRelay()
        player = MediaPlayer(str(path))
        self._tracks = [track for track in (player.audio, player.video) if track is not None]
        # The file runs on while nobody watches; without a reader its decoded frames would pile up in memory.
        self._reader = MediaBlackhole()
        for track in self._tracks:
            track.on("ended", self._track_ended)
            self._reader.addTrack(self._relay.subscribe(track, buffered=False))

    async def start(self) -> None:
        await self._reader.start()

    def source(self, *, video: bool = True) -> Source:
        """The file as a source; its sound alone without `video`."""
        sent = [track for track in self._tracks if video or track.kind == "audio"]
        return lambda: Outgoing(tuple(self._relay.subscribe(track, buffered=False) for track in sent))

    async def close(self) -> None:
        for track in self._tracks:
            track.stop()
        await self._reader.stop()

    def _track_ended(self) -> None:
        if all(track.readyState == "ended" for track in self._tracks):
            self.ended.set()
