"""A file as a source, and what an audio call sends."""

import asyncio
from fractions import Fraction
from pathlib import Path

import av
import pytest

from secureconnect.clock import SystemClock
from secureconnect.robot import sources
from secureconnect.robot.meters import AUDIBLE, AudioMeter
from secureconnect.robot.pictures import Picture, PictureTrack
from secureconnect.robot.sounds import Beep
from tests.unit.robot.conftest import FakeClock

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]


async def a_film(path: Path, seconds: float) -> None:
    """Write a little film with a beep, as fast as it encodes."""
    clock = FakeClock()
    picture, sound = PictureTrack(Picture("T", 64, 32), clock), Beep(440, FakeClock())
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=15)
        video.width, video.height, video.pix_fmt = 64, 32, "yuv420p"
        video.codec_context.time_base = Fraction(1, 15)
        audio = container.add_stream("pcm_s16le", rate=48_000)
        audio.layout = "mono"
        for index in range(round(15 * seconds)):
            frame = await picture.recv()
            frame.pts, frame.time_base = index, Fraction(1, 15)
            container.mux(video.encode(frame))
        for _ in range(round(50 * seconds)):
            container.mux(audio.encode(await sound.recv()))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


async def test_a_file_is_heard_and_ends(tmp_path: Path) -> None:
    await a_film(tmp_path / "film.mkv", 0.5)
    film = sources.File(tmp_path / "film.mkv")
    sound, picture = film.source()().tracks
    meter = AudioMeter()
    await film.start()
    first = asyncio.create_task(picture.recv())
    while meter.audible_seconds < 0.1:
        frame = await sound.recv()
        assert isinstance(frame, av.AudioFrame)
        meter.add(frame)
    shown = await first
    assert isinstance(shown, av.VideoFrame)
    assert (shown.width, meter.level > AUDIBLE) == (64, True)
    await film.ended.wait()
    await film.close()


async def test_a_file_that_is_none_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(av.FFmpegError, match="No such file"):
        sources.File(tmp_path / "none.mkv")


async def test_an_audio_call_sends_sound_alone(tmp_path: Path) -> None:
    await a_film(tmp_path / "film.mkv", 0.2)
    film = sources.File(tmp_path / "film.mkv")
    for source in (
        sources.pattern("Ada", 440, SystemClock(), video=False),
        sources.echo("Echo", SystemClock(), video=False),
        film.source(video=False),
    ):
        outgoing = source()
        assert [track.kind for track in outgoing.tracks] == ["audio"]
        outgoing.stop()
    await film.close()
