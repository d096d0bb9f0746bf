"""Films of recordings, made by the real janus-pp-rec and ffmpeg, and judged by decoding them: who is seen where, is heard when."""

import asyncio
import os
import signal
import struct
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from secureconnect.recording import CannotCompose, Film, NothingRecorded, program
from secureconnect.recording.compose import compose, missing_programs
from tests.fakes import mjr
from tests.fakes.film import Seen

pytestmark = pytest.mark.anyio

STARTED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ALICE, BOB, CAROL = (f"01890000-0000-7000-8000-00000000000{number}" for number in (1, 2, 3))
RED, BLUE, GREEN, BLACK = (200, 30, 30), (30, 30, 200), (30, 200, 30), (0, 0, 0)
RATE = 48_000


def after(seconds: float) -> datetime:
    return STARTED + timedelta(seconds=seconds)


class Tape:
    """The folder that Janus records into, and the film of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "recorded"
        self.folder.mkdir()
        self.target = folder / "films" / "film.mp4"
        self.target.parent.mkdir()

    def hears(self, who: str, at: float, packets: mjr.Packets, *, suffix: str = "mjr", **more: Any) -> None:
        self._write(who, "audio", "opus", "microphone", at, packets, suffix, **more)

    def sees(self, who: str, at: float, packets: mjr.Packets, *, codec: str = "vp8", source: str = "camera") -> None:
        self._write(who, "video", codec, source, at, packets, "mjr")

    def _write(
        self, who: str, kind: str, codec: str, source: str, at: float, packets: mjr.Packets, suffix: str, **more: Any
    ) -> None:
        mindex = len(list(self.folder.iterdir()))
        name = mjr.name_of(who, kind, after(at), mindex=mindex, suffix=suffix)
        mjr.write(self.folder / name, mjr.header(kind, codec, source, after(at), **more), packets)

    async def film(self, until: float, *, since: float = 0.0) -> Film:
        return await compose(self.folder, self.target, after(since), after(until))


@pytest.fixture
def tape(tmp_path: Path) -> Tape:
    assert not missing_programs(), f"run tests/engines: {missing_programs()}"
    return Tape(tmp_path)


def is_like(colour: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    return all(abs(one - another) < 25 for one, another in zip(colour, other, strict=True))


async def test_two_people_are_seen_and_heard_where_and_when_they_were(tape: Tape) -> None:
    tape.hears(ALICE, -0.5, mjr.tone(440, 5.5))
    tape.sees(ALICE, -0.5, mjr.picture(RED, 5.5))
    tape.hears(BOB, 1.5, mjr.tone(880, 1.5), suffix="mjr.tmp")
    tape.sees(BOB, 1.5, mjr.picture(BLUE, 3.5, codec="h264"), codec="h264")
    tape.hears(CAROL, 0.0, mjr.tone(1760, 1), e=True)
    tape.hears(CAROL, 4.5, mjr.tone(2640, 1))
    (tape.folder / mjr.name_of(CAROL, "video", after(2))).write_bytes(b"MJR00002\x00\x10 and then nothing good")

    film = await tape.film(until=4)

    assert film == Film(tape.target, "video/mp4", 4.0, tape.target.stat().st_size)
    assert list(tape.target.parent.iterdir()) == [tape.target], "nothing is left beside it"
    seen = Seen(film.path)
    assert seen.codecs == ["h264", "aac"]
    assert len(seen.frames) == 100
    assert {(frame.width, frame.height, frame.format.name) for frame in seen.frames} == {(1280, 720, "yuv420p")}
    assert is_like(seen.colour(0, 640, 360), RED)
    assert is_like(seen.colour(1.2, 640, 360), RED)
    for at in (1.52, 2.6, 3.96):
        assert is_like(seen.colour(at, 320, 360), RED)
        assert is_like(seen.colour(at, 960, 360), BLUE)
        assert is_like(seen.colour(at, 320, 100), BLACK), "its proportions are kept"
    for at in (0.1, 1.2, 2.0, 3.8):
        assert seen.loudness(440, at) > 5000
    assert [seen.loudness(880, at) > 5000 for at in (1.3, 1.6, 2.8, 3.1)] == [False, True, True, False]
    assert max(seen.loudness(hertz, at) for hertz in (1760, 2640) for at in (0.2, 3.8)) < 100
    assert len(seen.samples) == pytest.approx(4 * RATE, abs=2048), "nothing that was said after the stop"


async def test_without_pictures_it_is_sound_that_begins_with_the_first_word(tape: Tape) -> None:
    tape.hears(ALICE, 1.0, mjr.tone(440, 2))
    tape.hears(BOB, 1.5, mjr.tone(880, 1, pauses=[(0.5, 0.7)]))

    film = await tape.film(until=60)

    assert film.content_type == "audio/mp4"
    assert film.seconds == pytest.approx(2.0, abs=0.05)
    seen = Seen(film.path)
    assert seen.codecs == ["aac"]
    assert [seen.loudness(440, at) > 5000 for at in (0.05, 1.0, 1.8)] == [True] * 3
    # janus-pp-rec 1.4.1 fills the pause with silence, out of which the decoder needs a tenth of a second.
    assert [seen.loudness(880, at, 0.05) > 5000 for at in (0.4, 0.55, 0.9, 1.05, 1.12, 1.35)] == [
        False,
        True,
        True,
        False,
        False,
        True,
    ]


async def test_a_camera_that_is_off_is_not_seen_and_a_machine_that_slept_is_heard_when_it_spoke(tape: Tape) -> None:
    tape.sees(ALICE, 0, mjr.picture(RED, 6, pauses=[(1.0, 4.5)]))
    tape.hears(ALICE, 0, mjr.tone(440, 6, sleeps=[(1.0, 4.5)]))

    seen = Seen((await tape.film(until=10)).path)

    assert [is_like(seen.colour(at, 640, 360), RED) for at in (0, 0.8, 1.2, 4.2, 4.6, 5.6)] == [
        True,
        True,
        False,
        False,
        True,
        True,
    ]
    assert is_like(seen.colour(3, 640, 360), BLACK)
    assert [seen.loudness(440, at) > 5000 for at in (0.8, 1.1, 4.3, 4.7)] == [True, False, False, True]


async def test_a_screen_is_large_and_a_camera_beside_it_may_turn(tape: Tape) -> None:
    tape.sees(ALICE, 1.2, mjr.picture(RED, 2.8, turned_at=1.0, changes=[(2.0, BLUE)]))
    tape.sees(
        BOB, 0.2, mjr.picture(GREEN, 3.8, codec="vp9", pauses=[(0.3, 3.5)], changes=[(3.5, BLACK)]), codec="vp9", source="screen"
    )
    tape.hears(BOB, 0, mjr.tone(440, 4))

    seen = Seen((await tape.film(until=4)).path)

    assert is_like(seen.colour(0, 640, 360), GREEN), "still, rather than black, until it comes"
    for at, colour, is_wide in ((1.28, RED, True), (2.12, RED, True), (2.28, RED, False), (3.12, RED, False), (3.28, BLUE, False)):
        assert is_like(seen.colour(at, 480, 360), GREEN), "it stands still, and is there all the same"
        assert is_like(seen.colour(at, 1120, 360), colour)
        assert is_like(seen.colour(at, 1010, 360), RED if is_wide else BLACK)
        assert is_like(seen.colour(at, 1120, 260), BLACK)


async def test_what_comes_hours_later_takes_no_memory_before(tape: Tape) -> None:
    tape.sees(ALICE, 0, mjr.picture(RED, 1, once_more_at=10_000))

    seen = Seen((await tape.film(until=1)).path)

    assert is_like(seen.colour(0.8, 640, 360), RED), "left out: it took more memory than it may have"


def hostile_pictures() -> Iterator[mjr.Packets]:
    key_frame = b"\x10\x50\x01\x00\x9d\x01\x2a" + struct.pack("<HH", 16383, 16383)
    yield [(index / 15, mjr.rtp(96, index, index * 6000, key_frame + bytes(900))) for index in range(30)]
    # A header extension of 262 KB in a packet of 1 KB; janus-pp-rec believes it.
    extended = bytes([0x90]) + mjr.rtp(96, 1, 0, b"\xbe\xde\xff\xff" + bytes(1000))[1:]
    yield [(0.0, extended), *((index / 15, mjr.rtp(96, index, index * 6000, bytes(100))) for index in range(2, 30))]
    # Frames that are larger than the picture they claim to hold, three times over.
    small = b"\x10\x50\x01\x00\x9d\x01\x2a" + struct.pack("<HH", 16, 16)
    yield [(index / 15, mjr.rtp(96, index, index // 20 * 6000, small + b"\xff" * 1300)) for index in range(200)]
    yield [(0.0, mjr.rtp(96, 1, 0, b"\x10" + bytes(50))), (0.1, mjr.rtp(96, 2, 2**31 - 1, b"\x10" + bytes(50)))]


async def test_hostile_tracks_are_left_out_and_the_rest_goes_on(tape: Tape) -> None:
    tape.hears(ALICE, 0, mjr.tone(440, 2))
    tape.sees(ALICE, 0, mjr.picture(RED, 2))
    for number, packets in enumerate(hostile_pictures()):
        tape.sees(f"01890000-0000-7000-8000-0000000bad0{number}", 0, packets)

    seen = Seen((await tape.film(until=2)).path)

    assert len(seen.frames) == 50
    assert any(is_like(seen.colour(1, x, y), RED) for x in range(20, 1280, 40) for y in range(20, 720, 40))
    assert seen.loudness(440, 1) > 5000


async def test_what_lies_outside_of_the_time_is_nothing(tape: Tape) -> None:
    tape.hears(ALICE, 0, mjr.tone(440, 1))
    for since, until in ((2, 4), (-4, -2), (1, 0)):
        with pytest.raises(NothingRecorded):
            await tape.film(since=since, until=until)
    assert not list(tape.target.parent.iterdir())


async def test_cancelled_it_leaves_neither_programs_nor_files(tape: Tape) -> None:
    tape.sees(ALICE, 0, mjr.picture(RED, 3))
    film = asyncio.create_task(tape.film(until=3))
    async with asyncio.timeout(20):
        # What happens in another process can only be asked for.
        while True:
            if working := programs_in(tape.target.parent, "ffmpeg"):
                break
            await asyncio.sleep(0.005)
    for number in working:
        os.kill(int(number), signal.SIGSTOP)  # it would not end by itself
    film.cancel()
    with pytest.raises(asyncio.CancelledError):
        await film
    assert not working & programs_in(tape.target.parent)
    assert not list(tape.target.parent.iterdir())


def programs_in(folder: Path, name: str = "") -> set[str]:
    """Which processes work in a folder below, by their numbers; `name`: of the program."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink().is_relative_to(folder) and name in (process / "comm").read_text():
                found.add(process.name)
    return found


async def test_a_missing_program_is_named_by_its_package(tape: Tape, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(program.SOURCES, "secureconnect-no-such-program", "some-package")
    with pytest.raises(CannotCompose, match="install some-package"):
        await tape.film(until=1)
