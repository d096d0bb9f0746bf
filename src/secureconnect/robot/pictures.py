"""What a robot shows: its name, the time of day in large digits, and a light that glides to and fro.

The time makes delay visible, the light makes stutter visible. `Picture` draws (pure), `PictureTrack` sends.
Used through `sources`. No imaging library: planes are bytes, and a row of dots is a slice.
"""

import math
import zlib
from collections.abc import Callable
from datetime import datetime
from fractions import Fraction

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import VideoFrame

from secureconnect.clock import Clock
from secureconnect.robot import font
from secureconnect.robot.rhythm import Rhythm

FRAME_RATE = 15
VIDEO_CLOCK = 90_000
"""Ticks a second of a video timestamp (RFC 3551, section 5)."""
TRAVEL_SECONDS = 4.0
"""The light goes there and back in this time."""

HUES = ((150, 112), (112, 112), (108, 142), (148, 134), (134, 108), (120, 150))
"""Chroma pairs (Cb, Cr; 128 is grey) for backgrounds, one of which each name gets."""
TOP_LUMA, BOTTOM_LUMA, RAIL_LUMA, INK_LUMA, LIGHT_LUMA = 88, 40, 110, 230, 225
LIGHT_CHROMA = (92, 150)

Planes = tuple[bytes, bytes, bytes]


class Picture:
    """Draws frames of `width` by `height` pixels as planes Y, Cb, Cr (4:2:0, 8 bits, limited range).

    `width` must be a multiple of 32, so that rows follow each other without padding, and `height` even.
    """

    def __init__(self, name: str, width: int = 640, height: int = 360) -> None:
        if width % 32 or height % 2:
            raise ValueError(f"a picture of {width}x{height}: the width must be a multiple of 32, the height even")
        self.width, self.height = width, height
        self._name = name
        self._written = ""
        self._radius = height // 26 * 2
        self._rail = height * 17 // 20 // 2 * 2
        self._background = self._draw_background()
        self._lettered = self._background
        blue, red = HUES[zlib.crc32(name.encode()) % len(HUES)]
        quarter = width // 2 * (height // 2)
        self._chroma = bytes([blue]) * quarter, bytes([red]) * quarter

    def draw(self, moment: datetime, seconds: float) -> Planes:
        """The frame that shows `moment` as time of day, with the light where it is after `seconds`."""
        time_of_day = moment.strftime("%H:%M:%S")
        if time_of_day != self._written:
            self._lettered = self._draw_letters(time_of_day)
            self._written = time_of_day
        luma = bytearray(self._lettered)
        blue, red = (bytearray(plane) for plane in self._chroma)
        reach = self.width * 4 // 10 - self._radius
        centre = self.width // 2 + round(reach * math.sin(2 * math.pi * seconds / TRAVEL_SECONDS))
        _disc(luma, self.width, (centre, self._rail), self._radius, LIGHT_LUMA)
        for plane, chroma in zip((blue, red), LIGHT_CHROMA, strict=True):
            _disc(plane, self.width // 2, (centre // 2, self._rail // 2), self._radius // 2, chroma)
        return bytes(luma), bytes(blue), bytes(red)

    def _draw_background(self) -> bytes:
        rows = bytearray()
        for y in range(self.height):
            rows += bytes([TOP_LUMA + (BOTTOM_LUMA - TOP_LUMA) * y // self.height]) * self.width
        left, right = self.width // 10, self.width - self.width // 10
        for y in (self._rail - 1, self._rail):
            rows[y * self.width + left : y * self.width + right] = bytes([RAIL_LUMA]) * (right - left)
        return bytes(rows)

    def _draw_letters(self, time_of_day: str) -> bytes:
        luma = bytearray(self._background)
        self._write(luma, self._name, middle=self.height * 22 // 100, dot=self.height // 50)
        self._write(luma, time_of_day, middle=self.height * 53 // 100, dot=self.width // 60)
        return bytes(luma)

    def _write(self, luma: bytearray, text: str, *, middle: int, dot: int) -> None:
        """Write `text` centred, with dots of `dot` pixels or fewer, so that it fits."""
        dot = max(1, min(dot, self.width * 8 // 10 // max(1, font.width(text))))
        left = (self.width - font.width(text) * dot) // 2
        top = middle - font.HEIGHT * dot // 2
        ink = bytes([INK_LUMA]) * dot
        for place, glyph in enumerate(font.glyphs(text)):
            for y in range(font.HEIGHT * dot):
                row = glyph[y // dot]
                start = (top + y) * self.width + left + place * font.ADVANCE * dot
                for column in range(font.WIDTH):
                    if row >> font.WIDTH - 1 - column & 1:
                        luma[start + column * dot : start + (column + 1) * dot] = ink


def _disc(plane: bytearray, width: int, centre: tuple[int, int], radius: int, value: int) -> None:
    x, y = centre
    for row in range(-radius, radius + 1):
        half = math.isqrt(radius * radius - row * row)
        start = (y + row) * width + x - half
        plane[start : start + 2 * half + 1] = bytes([value]) * (2 * half + 1)


class PictureTrack(MediaStreamTrack):
    """A Picture as live video. `local` turns the clock's time into the time of day to show."""

    kind = "video"

    def __init__(self, picture: Picture, clock: Clock, local: Callable[[datetime], datetime] = datetime.astimezone) -> None:
        super().__init__()
        self._picture = picture
        self._clock = clock
        self._local = local
        self._rhythm = Rhythm(clock, 1 / FRAME_RATE)

    async def recv(self) -> VideoFrame:
        """The next frame, when it is due. Raises MediaStreamError once the track is stopped."""
        index = await self._rhythm.next()
        if self.readyState != "live":
            raise MediaStreamError
        planes = self._picture.draw(self._local(self._clock.now()), index / FRAME_RATE)
        frame = VideoFrame(self._picture.width, self._picture.height, "yuv420p")
        for plane, content in zip(frame.planes, planes, strict=True):
            plane.update(content)
        frame.pts = index * VIDEO_CLOCK // FRAME_RATE
        frame.time_base = Fraction(1, VIDEO_CLOCK)
        return frame
