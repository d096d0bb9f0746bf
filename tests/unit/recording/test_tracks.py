"""Which files are tracks. A hostile one is left out, and never an error."""

import os
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secureconnect.recording import Track
from secureconnect.recording.tracks import MAX_HEADER_BYTES, read_tracks
from secureconnect.signaling.sfu_frames import Source
from tests.fakes import mjr

BEGAN = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
ANN = "01890000-0000-7000-8000-000000000001"
BEN = "01890000-0000-7000-8000-000000000002"
NAME = mjr.name_of(ANN, "video", BEGAN)
PACKETS = [(0.0, mjr.rtp(96, 1, 0, b"payload"))]
HEADER = mjr.header("video", "vp8", "camera", BEGAN)


def test_tracks_are_read_in_the_order_in_which_they_began(tmp_path: Path) -> None:
    first, then = mjr.name_of(BEN, "audio", BEGAN, mindex=0, suffix="mjr.tmp"), mjr.name_of(ANN, "video", BEGAN, mindex=2)
    mjr.write(
        tmp_path / then, mjr.header("video", "h264", "screen", BEGAN + timedelta(seconds=1), f="profile", x={"4": "urn"}), PACKETS
    )
    mjr.write(tmp_path / first, mjr.header("audio", "opus", "microphone", BEGAN), PACKETS)
    assert read_tracks(tmp_path) == [
        Track(tmp_path / first, "audio", "opus", Source.MICROPHONE, BEN, BEGAN),
        Track(tmp_path / then, "video", "h264", Source.SCREEN, ANN, BEGAN + timedelta(seconds=1)),
    ]


@pytest.mark.parametrize(
    ("kind", "codec", "said", "source"),
    [
        ("video", "vp8", "camera", Source.CAMERA),
        ("video", "vp9", "screen", Source.SCREEN),
        ("audio", "opus", "screen", Source.SCREEN),
        ("video", "vp8", "microphone", Source.CAMERA),
        ("audio", "opus", "what a participant said", Source.MICROPHONE),
        ("audio", "opus", None, Source.MICROPHONE),
    ],
)
def test_a_source_that_cannot_be_is_the_likeliest(tmp_path: Path, kind: str, codec: str, said: str, source: Source) -> None:
    mjr.write(tmp_path / mjr.name_of(ANN, kind, BEGAN), mjr.header(kind, codec, said, BEGAN), PACKETS)
    assert [track.source for track in read_tracks(tmp_path)] == [source]


@pytest.mark.parametrize(
    "header",
    [
        {**HEADER, "e": True},
        {**HEADER, "t": "a"},
        {**HEADER, "t": "d", "c": "text"},
        {**HEADER, "c": "av1"},
        {**HEADER, "c": "opus"},
        {**HEADER, "c": 8},
        {**HEADER, "u": None},
        {**HEADER, "u": 10**18},
        {**HEADER, "u": -(10**18)},
        {**HEADER, "u": 10**30},
        {**HEADER, "u": 1.5e300},
        {**HEADER, "d": {"a": 1}},
        {**HEADER, "f": "x" * 1500},
        {name: value for name, value in HEADER.items() if name != "u"},
        [1],
        b"",
        b"\xff\xfe",
        b'{"t":"v","c":"vp8","s":1,"u":1,"d":"\xff"}',
        b'{"x":' + b"[" * 1400,
        b'{"x":' + b"[" * 700 + b"]" * 700 + b',"t":"v","c":"vp8","s":1,"u":1}',
    ],
)
def test_what_says_nothing_that_we_can_film_is_left_out(tmp_path: Path, header: Any) -> None:
    mjr.write(tmp_path / NAME, header, PACKETS)
    tracks = read_tracks(tmp_path)
    # Nothing but what our decoder makes of nesting is open: either is right.
    assert not tracks or (isinstance(header, bytes) and b"]" in header)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"MJR0",
        b"MJR00002",
        b"MEETECHO\x00\x05video",
        b"MJR00002\xff\xff" + b"x" * 70_000,
        b"MJR00002" + struct.pack("!H", MAX_HEADER_BYTES + 1) + b" " * 2000,
        b"MJR00002\x00\x02{}",
    ],
)
def test_what_does_not_begin_as_a_recording_is_left_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert read_tracks(tmp_path) == []


def test_a_file_in_which_nothing_came_is_left_out(tmp_path: Path) -> None:
    mjr.write(tmp_path / NAME, HEADER, [])
    assert read_tracks(tmp_path) == []
    mjr.write(tmp_path / NAME, HEADER, PACKETS)
    assert len(read_tracks(tmp_path)) == 1


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        NAME + ".bak",
        NAME.replace(".1-user", "-user"),
        NAME.replace(ANN, "ann"),
        NAME.replace("video-0", "data-0"),
        NAME.replace("video-0", "video-٣"),
        "-i " + NAME,
        NAME + "\n",
    ],
)
def test_other_names_are_not_ours(tmp_path: Path, name: str) -> None:
    mjr.write(tmp_path / name, HEADER, PACKETS)
    assert read_tracks(tmp_path) == []


def test_a_link_a_folder_or_a_pipe_of_that_name_is_none(tmp_path: Path) -> None:
    mjr.write(tmp_path / "elsewhere", HEADER, PACKETS)
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / mjr.name_of(ANN, "video", BEGAN, mindex=1))
    (tmp_path / mjr.name_of(ANN, "video", BEGAN, mindex=2)).mkdir()
    assert read_tracks(tmp_path) == []


contents = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda length, rest: b"MJR00002" + struct.pack("!H", length) + rest, st.integers(0, 65_535), st.binary(max_size=200)),
    st.builds(
        lambda words, rest: b"MJR00002" + struct.pack("!H", len(words.encode())) + words.encode() + rest,
        st.text(alphabet=st.sampled_from('{}[]":,tcudesv0158.-eE\\'), max_size=100),
        st.binary(max_size=40),
    ),
)


@given(contents)
def test_no_content_is_an_error(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / NAME).write_bytes(content)
        assert read_tracks(Path(folder)) == []
