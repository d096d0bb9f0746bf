"""What a robot saw and heard: pictures decoded, sound that was more than silence.

Fed by `peer` with every decoded frame, read by `headless` and `live`. Cheap on purpose: it runs fifty times a second a track.
"""

import math
from dataclasses import dataclass

from av import AudioFrame, VideoFrame

STRIDE = 8
"""Every eighth sample is looked at: enough for a level, an eighth of the work."""
SILENCE = -100.0
"""The level of no sound at all, dB below full scale."""
AUDIBLE = -50.0
"""Sound above this level counts as heard, dB; room noise through a codec stays below."""


@dataclass
class VideoMeter:
    """Frames decoded and the size of the last one in pixels."""

    frames: int = 0
    width: int = 0
    height: int = 0

    def add(self, frame: VideoFrame) -> None:
        self.frames += 1
        self.width, self.height = frame.width, frame.height


@dataclass
class AudioMeter:
    """Seconds decoded, seconds of them that were audible, and the level of the last frame (dB below full scale)."""

    seconds: float = 0.0
    audible_seconds: float = 0.0
    level: float = SILENCE

    def add(self, frame: AudioFrame) -> None:
        """Count a frame of interleaved 16-bit samples, as the audio decoders of aiortc make them."""
        seconds = frame.samples / frame.sample_rate
        self.level = level(bytes(frame.planes[0])[: 2 * frame.samples * frame.layout.nb_channels])
        self.seconds += seconds
        if self.level > AUDIBLE:
            self.audible_seconds += seconds


def level(content: bytes) -> float:
    """The root mean square of 16-bit samples, in dB below full scale."""
    samples = memoryview(content).cast("h")[::STRIDE]
    power = sum(sample * sample for sample in samples) / max(1, len(samples))
    return max(SILENCE, 20 * math.log10(math.sqrt(power) / 32768)) if power else SILENCE
