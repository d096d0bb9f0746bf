"""A film, decoded: who is seen where, who is heard when."""

from math import cos, pi, sin
from pathlib import Path

import av

RATE = 48_000


class Seen:
    """What somebody who watches it would see and hear."""

    def __init__(self, path: Path) -> None:
        with av.open(str(path)) as container:
            self.codecs = [stream.codec_context.name for stream in container.streams]
            self.seconds = float(container.duration or 0) / 1_000_000
            self.frames = list(container.decode(video=0)) if container.streams.video else []
        with av.open(str(path)) as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
            sounds = [sound for frame in container.decode(audio=0) for sound in resampler.resample(frame)]
        self.samples = memoryview(b"".join(bytes(sound.planes[0])[: sound.samples * 2] for sound in sounds)).cast("h")

    def colour(self, at: float, x: int, y: int) -> tuple[int, int, int]:
        """Of the pixel at that time, as red, green and blue."""
        plane = self._frame(at).to_rgb().planes[0]
        red, green, blue = bytes(plane)[y * plane.line_size + 3 * x :][:3]
        return red, green, blue

    def spread(self, at: float, left: int, right: int) -> int:
        """How far the brightest and the darkest lie apart on the middle line between two columns, of 255."""
        plane = self._frame(at).reformat(format="gray").planes[0]
        middle = plane.height // 2 * plane.line_size
        line = bytes(plane)[middle + left : middle + right]
        return max(line) - min(line)

    def loudness(self, hertz: float, at: float, seconds: float = 0.1) -> float:
        """Of a tone in the film's sound: its amplitude, of 32767."""
        samples = self.samples[round(at * RATE) : round((at + seconds) * RATE)]
        assert len(samples) == round(seconds * RATE), "the film is over"
        turns = [2 * pi * hertz * index / RATE for index in range(len(samples))]
        real, imaginary = (sum(sample * wave(turn) for sample, turn in zip(samples, turns, strict=True)) for wave in (cos, sin))
        return 2 * float(abs(complex(real, imaginary))) / len(samples)

    def loudest(self, hertz: float) -> float:
        """The most of a tone in any tenth of a second."""
        return max(self.loudness(hertz, tenth / 10) for tenth in range(int(len(self.samples) / RATE * 10)))

    def _frame(self, at: float) -> av.VideoFrame:
        return min(self.frames, key=lambda frame: abs((frame.time or 0.0) - at))
