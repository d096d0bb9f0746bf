"""What an SFU writes down: a folder for each recording, a file for each track, for whoever comes while it records."""

import os
import signal
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from secureconnect.media import Room, SfuError
from tests.contract.test_sfu import Place, running_pool, until
from tests.fakes.janus import running_janus

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that Janus can get to: pytest's own are barred to nobody, who it runs as when root starts it."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name) / "recordings"


@pytest.fixture
async def place(folder: Path) -> AsyncIterator[Place]:
    async with running_janus(recordings=folder) as janus, running_pool(janus.server) as pool:
        place = Place(janus, pool)
        try:
            yield place
        finally:
            for someone in place.people:
                await someone.close()


def mode_of(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


def written(place: Place, recording: str, ending: str = ".mjr.tmp") -> Sequence[Path]:
    """Files of a recording that hold more than a header."""
    folder = place.janus.options.recordings
    assert folder is not None
    return [one for one in sorted((folder / recording).glob("*")) if one.name.endswith(ending) and one.stat().st_size > 2000]


async def test_each_track_of_everybody_is_written_until_it_is_over(place: Place) -> None:
    ann, bob = await place.seat("ann"), await place.seat("bob")
    await ann.publish()
    await ann.seat.record("one")
    await until(lambda: len(written(place, "one")) == 2, "what Ann says to be written")
    await bob.seat.record("one")  # each seat says so: again is as good
    await bob.publish()
    await until(lambda: len(written(place, "one")) == 4, "what Bob says, who came later, to be written")
    await bob.seat.record(None)
    await until(lambda: len(written(place, "one", ".mjr")) == 4, "the files to be closed")
    assert not written(place, "one")


async def test_a_second_recording_of_a_room_has_a_folder_of_its_own(place: Place) -> None:
    ann = await place.seat("ann")
    await ann.publish()
    for recording in ("one", "two"):
        await ann.seat.record(recording)
        await until(lambda recording=recording: len(written(place, recording)) == 2, f"recording {recording}")  # type: ignore[misc]
        await ann.seat.record(None)
    assert len(written(place, "one", ".mjr")) == len(written(place, "two", ".mjr")) == 2


@pytest.mark.usefixtures("place")
async def test_the_folder_is_nobody_elses_business(folder: Path) -> None:
    assert mode_of(folder) == 0o700


async def test_what_was_written_outlives_the_sfu(place: Place) -> None:
    ann = await place.seat("ann")
    await ann.publish()
    await ann.seat.record("one")
    await until(lambda: len(written(place, "one")) == 2, "what Ann says to be written")
    os.kill(place.janus.pid, signal.SIGKILL)
    await until(lambda: "lost" in ann.ear.heard, "the SFU to be missed")
    assert len(written(place, "one")) == 2


async def test_an_sfu_without_a_folder_refuses() -> None:
    async with running_janus() as janus, running_pool(janus.server) as pool:
        place = Place(janus, pool)
        place.room = Room(janus.server.name, "a call.1", 8)
        ann = await place.seat("ann")
        with pytest.raises(SfuError, match="no folder for recordings"):
            await ann.seat.record("one")
        await ann.close()
