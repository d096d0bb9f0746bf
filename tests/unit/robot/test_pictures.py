"""What a robot shows, drawn for moments that the test chooses."""

from datetime import UTC, datetime

import pytest
from av import VideoFrame

from secureconnect.robot import font
from secureconnect.robot.pictures import FRAME_RATE, INK_LUMA, Picture, PictureTrack
from tests.unit.robot.conftest import FakeClock

MOMENT = datetime(2026, 11, 24, 9, 41, 7, tzinfo=UTC)


def ink(luma: bytes) -> int:
    return luma.count(INK_LUMA)


def test_the_planes_have_the_size_of_420() -> None:
    luma, blue, red = Picture("Echo").draw(MOMENT, 0.0)
    assert (len(luma), len(blue), len(red)) == (640 * 360, 320 * 180, 320 * 180)


def test_the_time_of_day_is_written() -> None:
    picture = Picture("Echo")
    first, again = picture.draw(MOMENT, 0.0), picture.draw(MOMENT, 0.0)
    assert first == again
    dots = sum(bin(row).count("1") for glyph in font.glyphs("09:41:07") for row in glyph)
    name = sum(bin(row).count("1") for glyph in font.glyphs("Echo") for row in glyph)
    assert ink(first[0]) == dots * 10 * 10 + name * 7 * 7
    assert picture.draw(MOMENT.replace(second=8), 0.0)[0] != first[0]


def test_the_light_moves_a_little_with_each_frame() -> None:
    picture = Picture("Echo")
    frames = [picture.draw(MOMENT, index / FRAME_RATE)[0] for index in range(5)]
    assert len(set(frames)) == 5


def test_a_long_name_fits_and_accents_are_dropped() -> None:
    assert font.glyphs("Nguyễn") == font.glyphs("Nguyen")
    assert font.glyphs("漢") == font.glyphs("?")
    luma = Picture("Nguyễn Thị Minh Khai", 320, 180).draw(MOMENT, 0.0)[0]
    rows = [luma[y * 320 : (y + 1) * 320] for y in range(180)]
    assert all(INK_LUMA not in row[:16] + row[-16:] for row in rows)


def test_a_size_that_would_need_padding_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        Picture("Echo", 650, 360)


@pytest.mark.anyio
async def test_the_track_gives_frames_when_they_are_due(clock: FakeClock) -> None:
    track = PictureTrack(Picture("Echo", 64, 32), clock, local=lambda moment: moment)
    frames = [await track.recv() for _ in range(FRAME_RATE + 1)]
    assert all(isinstance(frame, VideoFrame) for frame in frames)
    assert clock.elapsed == pytest.approx(1.0)
    assert [frame.pts for frame in frames[:3]] == [0, 6000, 12000]


@pytest.mark.anyio
async def test_a_track_that_was_held_up_skips_instead_of_hurrying(clock: FakeClock) -> None:
    track = PictureTrack(Picture("Echo", 64, 32), clock)
    await track.recv()
    clock.elapsed += 10.0
    late = await track.recv()
    assert late.pts is not None
    assert late.pts >= 9 * 90_000
    assert clock.slept == []
