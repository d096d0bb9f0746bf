"""What a robot says: a beep of its own pitch, or what it hears, a little later.

Used through `sources`. Samples are 16 bits at 48 kHz in frames of 20 ms, as Opus takes them (RFC 7587); the clock paces them.
"""

import math
from array import array
from collections import deque
from fractions import Fraction

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame, AudioResampler

from secureconnect.clock import Clock
from secureconnect.robot.rhythm import Rhythm

SAMPLE_RATE = 48_000
FRAME_SAMPLES = 960
FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE
BEEP_SECONDS = 0.5
"""Half a second of beep, half a second of silence: a listener hears at once whether sound stops or stutters."""
FADE_SECONDS = 0.01
LOUDNESS = 0.2
"""Of full scale: clear, and bearable in headphones."""
DELAY_SECONDS = 0.3
"""How late an echo comes: later than a browser's echo canceller looks, early enough to be known as one's own voice."""
BACKLOG_SECONDS = 1.0
"""An echo that falls further behind loses its oldest sound."""


def beep(frequency: float) -> list[bytes]:
    """One second of sound, mono, as frames: a sine of `frequency` Hz that fades in and out, then silence."""
    samples = array("h")
    for index in range(SAMPLE_RATE):
        at = index / SAMPLE_RATE
        fade = min(1.0, at / FADE_SECONDS, (BEEP_SECONDS - at) / FADE_SECONDS)
        samples.append(round(32767 * LOUDNESS * max(0.0, fade) * math.sin(2 * math.pi * frequency * at)))
    content = samples.tobytes()
    return [content[at : at + 2 * FRAME_SAMPLES] for at in range(0, len(content), 2 * FRAME_SAMPLES)]


class _Sound(MediaStreamTrack):
    kind = "audio"

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._rhythm = Rhythm(clock, FRAME_SECONDS)

    async def _next(self) -> int:
        index = await self._rhythm.next()
        if self.readyState != "live":
            raise MediaStreamError
        return index


class Beep(_Sound):
    """A beep of `frequency` Hz every second."""

    def __init__(self, frequency: float, clock: Clock) -> None:
        super().__init__(clock)
        self._frames = beep(frequency)

    async def recv(self) -> AudioFrame:
        """The next 20 ms, when they are due. Raises MediaStreamError once the track is stopped."""
        index = await self._next()
        return _frame(self._frames[index % len(self._frames)], "mono", index)


class DelayedSound(_Sound):
    """Says what `hear` was given, DELAY_SECONDS later; silence where nothing was heard."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._resampler = AudioResampler(format="s16", layout="stereo", rate=SAMPLE_RATE, frame_size=FRAME_SAMPLES)
        self._heard: deque[bytes] = deque(maxlen=round(BACKLOG_SECONDS / FRAME_SECONDS))
        self._speaking = False

    def hear(self, frame: AudioFrame) -> None:
        """Take a frame of any format and length."""
        frame.pts = None  # Else the resampler would fill the gaps of a lossy stream by waiting.
        for piece in self._resampler.resample(frame):
            self._heard.append(bytes(piece.planes[0])[: 4 * FRAME_SAMPLES])

    async def recv(self) -> AudioFrame:
        """The next 20 ms, when they are due. Raises MediaStreamError once the track is stopped."""
        index = await self._next()
        if len(self._heard) * FRAME_SECONDS >= DELAY_SECONDS:
            self._speaking = True
        elif not self._heard:
            self._speaking = False
        content = self._heard.popleft() if self._speaking else bytes(4 * FRAME_SAMPLES)
        return _frame(content, "stereo", index)


def _frame(content: bytes, layout: str, index: int) -> AudioFrame:
    frame = AudioFrame(format="s16", layout=layout, samples=FRAME_SAMPLES)
    frame.planes[0].update(content)
    frame.sample_rate = SAMPLE_RATE
    frame.pts = index * FRAME_SAMPLES
    frame.time_base = Fraction(1, SAMPLE_RATE)
    return frame
