"""Recordings as Janus writes them (src/record.c of 1.1.2 and 1.4.1): real VP8 and Opus in RTP, of people who hum one tone."""

import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from fractions import Fraction
from math import pi, sin
from pathlib import Path
from typing import Any

import msgspec
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.opus import OpusEncoder
from aiortc.codecs.vpx import Vp8Encoder
from av import AudioFrame, VideoCodecContext, VideoFrame

MAGIC = b"MJR00002"
FRAME = b"MEET"
SAMPLE_RATE, VIDEO_RATE = 48_000, 90_000
FRAME_SAMPLES = 960
FRAMES_PER_SECOND = 15
SSRC = 0x5EC0
ROOM = "01890000-0000-7000-8000-00000000ca11.1"

Colour = tuple[int, int, int]
"""Red, green, blue."""
Span = tuple[float, float]
"""From and to, seconds."""
Packets = Iterable[tuple[float, bytes]]
"""When each arrived, seconds after the first, and the RTP packet (RFC 3550)."""


def name_of(session_id: str, kind: str, began_at: datetime, *, mindex: int = 0, suffix: str = "mjr") -> str:
    """What Janus calls the file of a participant's section `mindex`."""
    return f"videoroom-{ROOM}-user-{session_id}-{int(began_at.timestamp() * 1e6)}-{kind}-{mindex}.{suffix}"


def header(kind: str, codec: str, source: str, began_at: datetime, **more: Any) -> dict[str, Any]:
    """`u` is when the first packet was written, `s` when the file was made; microseconds of Unix time."""
    began = int(began_at.timestamp() * 1e6)
    return {"t": kind[0], "c": codec, "d": source, "s": began - 250_000, "u": began, **more}


def write(path: Path, info: bytes | dict[str, Any], packets: Packets) -> None:
    words = info if isinstance(info, bytes) else msgspec.json.encode(info)
    with path.open("wb") as file:
        file.write(MAGIC + struct.pack("!H", len(words)) + words)
        for seconds, packet in packets:
            file.write(FRAME + struct.pack("!IH", round(seconds * 1000), len(packet)) + packet)


def rtp(payload_type: int, sequence: int, timestamp: int, payload: bytes, *, last: bool = True) -> bytes:
    return struct.pack("!BBHII", 0x80, payload_type | last << 7, sequence % 2**16, timestamp % 2**32, SSRC) + payload


def tone(
    hertz: float, seconds: float, *, pauses: Sequence[Span] = (), sleeps: Sequence[Span] = ()
) -> Iterator[tuple[float, bytes]]:
    """Opus of one pitch. Nothing is sent in `pauses`, and the RTP time goes on, as with DTX; in `sleeps` it stands still."""
    encoder = OpusEncoder()
    sequence = slept = 0
    for index in range(round(seconds * SAMPLE_RATE / FRAME_SAMPLES)):
        first = index * FRAME_SAMPLES
        at = first / SAMPLE_RATE
        frame = AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
        wave = (8000 * sin(2 * pi * hertz * sample / SAMPLE_RATE) for sample in range(first, first + FRAME_SAMPLES))
        frame.planes[0].update(array("h", (round(value) for value in wave)).tobytes())
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, first, Fraction(1, SAMPLE_RATE)
        payloads, _ = encoder.encode(frame)
        if _is_in(at, sleeps):
            slept += FRAME_SAMPLES
        elif payloads and not _is_in(at, pauses):
            sequence += 1
            yield at, rtp(111, sequence, first - slept, payloads[0])


class Vp9Encoder:
    """What Chromium sends: a key frame says how large it is (RFC 9628, section 4.2)."""

    def __init__(self) -> None:
        self._codec: VideoCodecContext | None = None

    def encode(self, frame: VideoFrame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        if self._codec is None:
            self._codec = VideoCodecContext.create("libvpx-vp9", "w")
            self._codec.width, self._codec.height, self._codec.pix_fmt = frame.width, frame.height, "yuv420p"
            self._codec.time_base, self._codec.gop_size = Fraction(1, FRAMES_PER_SECOND), 3000
            self._codec.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
        (packet,) = self._codec.encode(frame)
        content, size = bytes(packet), b"\x10" + struct.pack("!HH", frame.width, frame.height)
        pieces = [content[at : at + 1000] for at in range(0, len(content), 1000)]
        payloads = []
        for number, piece in enumerate(pieces):
            flags = (0 if packet.is_keyframe else 0x40) | 0x08 * (number == 0) | 0x04 * (number == len(pieces) - 1)
            begins_key_frame = packet.is_keyframe and number == 0
            payloads.append(bytes([flags | 0x02 * begins_key_frame]) + size * begins_key_frame + piece)
        assert frame.pts is not None
        return payloads, frame.pts * VIDEO_RATE // FRAMES_PER_SECOND


ENCODERS: dict[str, Callable[[], Vp8Encoder | H264Encoder | Vp9Encoder]] = {
    "vp8": Vp8Encoder,
    "vp9": Vp9Encoder,
    "h264": H264Encoder,
}


def picture(
    colour: Colour,
    seconds: float,
    *,
    width: int = 320,
    height: int = 240,
    codec: str = "vp8",
    pauses: Sequence[Span] = (),
    turned_at: float | None = None,
    once_more_at: float | None = None,
    changes: Sequence[tuple[float, Colour]] = (),
) -> Iterator[tuple[float, bytes]]:
    """Video of one colour; only its first frame is a key frame, and the one with which it turns from wide to high.

    `changes`: from when on it has another colour; `once_more_at`: when one more frame comes, however long after.
    """
    encoder = ENCODERS[codec]()
    sequence = 0
    indices = [*range(round(seconds * FRAMES_PER_SECOND)), *([round(once_more_at * FRAMES_PER_SECOND)] if once_more_at else [])]
    for index in indices:
        at = index / FRAMES_PER_SECOND
        if _is_in(at, pauses):
            continue
        is_turned = turned_at is not None and at >= turned_at
        shown = next((other for since, other in reversed(changes) if at >= since), colour)
        frame = _filled(shown, height, width) if is_turned else _filled(shown, width, height)
        frame.pts, frame.time_base = index, Fraction(1, FRAMES_PER_SECOND)
        payloads, timestamp = encoder.encode(frame, force_keyframe=index == 0)
        for number, payload in enumerate(payloads):
            sequence += 1
            yield at, rtp(96, sequence, timestamp, payload, last=number == len(payloads) - 1)


def _is_in(at: float, spans: Sequence[Span]) -> bool:
    return any(begin <= at < end for begin, end in spans)


def _filled(colour: Colour, width: int, height: int) -> VideoFrame:
    frame = VideoFrame(width, height, "rgb24")
    plane = frame.planes[0]
    plane.update((bytes(colour) * width).ljust(plane.line_size, b"\0") * height)
    return frame.reformat(format="yuv420p")
