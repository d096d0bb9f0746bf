"""Which tracks lie in a folder where Janus recorded: .mjr files, and .mjr.tmp ones, which a killed Janus did not come to rename.

Used by `recording.compose`. The format is that of Janus 1.1.2 (src/record.c): "MJR00002", a length of 16 bits, so many bytes of
JSON, then frames of "MEET", milliseconds since the first, a length and an RTP packet; all numbers big-endian. The JSON is written
with the first packet. What is in it was in part said by a participant, so nothing of it is believed: a file that is not such a
recording of ours is left out, and never an error.
"""

import os
import re
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec
import structlog
from msgspec import Struct, field

from secureconnect.ids import short
from secureconnect.recording import Track
from secureconnect.signaling.sfu_frames import Source

log = structlog.get_logger(__name__)

UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
NAME = re.compile(rf"videoroom-{UUID}\.\d+-user-(?P<session_id>{UUID})-\d+-(?P<kind>audio|video)-\d+\.mjr(?:\.tmp)?", re.ASCII)
"""janus_videoroom_recorder_create: the room, which is named after the call and its epoch; the participant, the time, the
section."""
MAGIC = b"MJR00002"
FRAME = b"MEET"
FRAME_HEADER_BYTES = 10
MAX_HEADER_BYTES = 1499
"""janus-pp-rec 1.1.2 reads it into 1500 bytes and does not look how long it is."""
CODECS: dict[str, tuple[str, ...]] = {"audio": ("opus",), "video": ("vp8", "vp9", "h264")}
SOURCES = {"audio": (Source.MICROPHONE, Source.SCREEN), "video": (Source.CAMERA, Source.SCREEN)}
"""What may be in a track of that kind; the first unless it says otherwise."""
UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Header(Struct):
    """`u` is when the first packet was written, microseconds of Unix time; `s`, which we do not need, when the file was made."""

    kind: Literal["a", "v"] = field(name="t")
    codec: str = field(name="c")
    began: int = field(name="u")
    description: str | None = field(name="d", default=None)
    encrypted: bool = field(name="e", default=False)


_decoder = msgspec.json.Decoder(_Header)


class _NotOurs(Exception):
    """Why a file is left out."""


def read_tracks(folder: Path) -> list[Track]:
    """The tracks in `folder`, by when they began. Files that are no recording of ours, or in which nothing came, are left out.

    Raises OSError when the folder cannot be read. Blocks: it opens every file there.
    """
    return sorted(_tracks(folder), key=lambda track: (track.began_at, track.path.name))


def _tracks(folder: Path) -> Iterator[Track]:
    for path in folder.iterdir():
        name = NAME.fullmatch(path.name)
        if name is None:
            continue
        try:
            with _opened(path) as file:
                yield _track(path, file, "audio" if name["kind"] == "audio" else "video", name["session_id"])
        except (OSError, _NotOurs) as reason:
            log.warning("track left out", session=short(name["session_id"]), kind=name["kind"], reason=_why(reason))


def _why(reason: OSError | _NotOurs) -> str:
    """Without the file's name, which has whole identifiers."""
    return (reason.strerror if isinstance(reason, OSError) else None) or str(reason)


def _opened(path: Path) -> BinaryIO:
    """A file, not what a link or a pipe with its name leads to."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise _NotOurs("no file")
    return file


def _track(path: Path, file: BinaryIO, kind: Literal["audio", "video"], session_id: str) -> Track:
    header = _header(file)
    if header.kind != kind[0] or header.codec not in CODECS[kind]:
        raise _NotOurs(f"{header.codec[:20]!r} is no {kind} that we know")
    if header.encrypted:
        raise _NotOurs("it is encrypted end to end")
    try:
        began_at = UNIX_EPOCH + timedelta(microseconds=header.began)
    except OverflowError:
        raise _NotOurs("its time is none") from None
    if len(frame := file.read(FRAME_HEADER_BYTES)) < FRAME_HEADER_BYTES or not frame.startswith(FRAME):
        raise _NotOurs("nothing came")
    source = next((source for source in SOURCES[kind] if source == header.description), SOURCES[kind][0])
    return Track(path, kind, header.codec, source, session_id, began_at)


def _header(file: BinaryIO) -> _Header:
    start = file.read(len(MAGIC) + 2)
    if start == MAGIC:
        raise _NotOurs("nothing came")
    if len(start) < len(MAGIC) + 2 or not start.startswith(MAGIC):
        raise _NotOurs("it does not begin as a recording")
    length = int.from_bytes(start[len(MAGIC) :], "big")
    if length > MAX_HEADER_BYTES:
        raise _NotOurs("its header is too long")
    try:
        return _decoder.decode(file.read(length))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _NotOurs("its header says nothing that we understand") from None
