"""One film of everything that the SFU recorded of a call: who was there when, side by side, and all that was said.

Called by the recording service for a recording that has ended. `recording.commands` says what the programs are told; this is the
order of it, in a scratch folder beside the film, and what becomes of tracks that cannot be read: they are left out, and the rest
goes on. Hours take no more memory than minutes: pictures are made scene by scene, sound in windows of a minute.
"""

import asyncio
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from math import ceil
from pathlib import Path

import structlog

from secureconnect.ids import short
from secureconnect.recording import CannotCompose, Film, NothingRecorded, Track, commands
from secureconnect.recording.commands import Clip
from secureconnect.recording.layout import FRAMES_PER_SECOND, Scene, Stretch, scenes, whole_frames
from secureconnect.recording.packets import PacketTimes
from secureconnect.recording.program import Limits, missing_programs, open_to_programs, run
from secureconnect.recording.tracks import read_tracks

__all__ = ["compose", "missing_programs"]

log = structlog.get_logger(__name__)

WINDOW_SECONDS = 60.0
MEBIBYTE = 2**20
FILM_BYTES_PER_SECOND = MEBIBYTE
"""More than x264 and FLAC make of a second here."""


async def compose(folder: Path, target: Path, begins_at: datetime, ends_at: datetime) -> Film:
    """Make the film of what Janus recorded in `folder` from `begins_at` to `ends_at`, at `target`; what is there is replaced.

    It begins at `begins_at`, or with the first sound or picture if that is later. Janus must have ended with its files, which stay;
    when we are root, nobody must be able to read them. What cannot be read is left out, which the log says. Beside `target` there
    must be room for all of it once more, and the film. Cancelled, it leaves neither programs nor files.
    Raises NothingRecorded when no track is left, CannotCompose when a program is missing or fails, OSError.
    """
    if missing := missing_programs():
        raise CannotCompose(f"install {' '.join(missing)}")
    tracks = [track for track in await asyncio.to_thread(read_tracks, folder) if track.began_at < ends_at]
    with tempfile.TemporaryDirectory(prefix=".film-", dir=target.parent) as scratch:
        open_to_programs(Path(scratch))
        workshop = _Workshop(Path(scratch))
        length = (ends_at - begins_at).total_seconds()
        found = [await workshop.converted(track, index, begins_at, length) for index, track in enumerate(tracks)]
        clips, seconds = _moved_to_the_first(clip for clip in found if clip is not None)
        if seconds <= 0:
            raise NothingRecorded("nobody was recorded in that time, or nothing of it can be read")
        has_pictures = await workshop.film(clips, seconds)
        size = _put(workshop.folder / FILM, target)
    return Film(target, "video/mp4" if has_pictures else "audio/mp4", seconds, size)


FILM, PICTURES, SOUNDS = "film.mp4", "pictures.ffconcat", "sounds.ffconcat"


class _Workshop:
    """The scratch folder of one film, and what was found unreadable on the way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._unreadable: set[Track] = set()

    async def converted(self, track: Track, index: int, begins_at: datetime, length: float) -> Clip | None:
        """The `index`-th track's media by itself; None when nothing of it can be read, or came in `length` seconds from then."""
        name = f"track-{index}.{commands.EXTENSIONS[track.codec]}"
        times = PacketTimes(commands.PAUSE_SECONDS[track.source])
        try:
            with track.path.open("rb") as recorded:
                size = os.fstat(recorded.fileno()).st_size
                await run(commands.convert(track, name), self.folder, _for_reading(size), stdin=recorded)
            await run(commands.list_packets(track, name), self.folder, _for_reading(size), on_output=times.feed)
        except CannotCompose as failure:
            _left_out(track, failure)
            return None
        began = (track.began_at - begins_at).total_seconds()
        cut = ((max(began + begin, 0.0), min(began + end, length)) for begin, end in times.stretches())
        stretches = tuple((begin, end) for begin, end in cut if begin < end)
        return Clip(track, name, began, stretches) if stretches else None

    async def film(self, clips: Sequence[Clip], seconds: float) -> bool:
        """Make FILM of them; whether it has pictures."""
        drawn = await self._pictures([clip for clip in clips if clip.track.kind == "video"], seconds)
        mixed = await self._sounds([clip for clip in clips if clip.track.kind == "audio"], seconds)
        self._list(SOUNDS, mixed)
        if drawn:
            self._list(PICTURES, drawn)
        await run(commands.join(PICTURES if drawn else None, SOUNDS, FILM), self.folder, _for_making(seconds, 1, seconds))
        return bool(drawn)

    def _list(self, name: str, pieces: Sequence[tuple[str, float]]) -> None:
        # Programs write here too: a file that is there already, or a link, is not ours.
        with (self.folder / name).open("xb") as file:
            file.write(commands.playlist(pieces))
            # The folder is theirs alone; they read it as another user when we are root.
            os.fchmod(file.fileno(), 0o644)

    async def _pictures(self, clips: Sequence[Clip], seconds: float) -> list[tuple[str, float]]:
        """One file per scene, with its length in seconds; none when there are no pictures at all."""
        stretches = [Stretch(clip.track, begin, end) for clip in clips for begin, end in clip.stretches]
        drawn = []
        for index, scene in enumerate(await asyncio.to_thread(scenes, stretches, seconds) if stretches else []):
            name = f"scene-{index}.mp4"
            seen = {tile.track for tile in scene.tiles}
            await self._draw(scene, [clip for clip in clips if clip.track in seen], name)
            drawn.append((name, scene.frames / FRAMES_PER_SECOND))
        return drawn

    async def _draw(self, scene: Scene, clips: Sequence[Clip], name: str) -> None:
        # Reading begins at a key frame, which may be the first of the track.
        read = sum(max(scene.end - clip.began, 0.0) for clip in clips)
        limits = _for_making(scene.end - scene.begin, len(clips), read)
        await self._make(lambda some: commands.draw(scene, some, name), clips, limits)

    async def _sounds(self, clips: Sequence[Clip], seconds: float) -> list[tuple[str, float]]:
        """One file per window, with its length in seconds."""
        mixed = []
        for index in range(ceil(seconds / WINDOW_SECONDS)):
            name, begin, end = f"window-{index}.flac", index * WINDOW_SECONDS, min((index + 1) * WINDOW_SECONDS, seconds)
            await self._mix(begin, end, [clip for clip in clips if _is_within(clip, begin - commands.WARM_UP_SECONDS, end)], name)
            mixed.append((name, end - begin))
        return mixed

    async def _mix(self, begin: float, end: float, clips: Sequence[Clip], name: str) -> None:
        limits = _for_making(end - begin, len(clips), WINDOW_SECONDS * len(clips))
        await self._make(lambda some: commands.mix(begin, end, some, name), clips, limits)

    async def _make(self, told: Callable[[Sequence[Clip]], list[str]], clips: Iterable[Clip], limits: Limits) -> None:
        """Run what is `told` of the clips; when that fails, without those that it fails with alone.

        Raises CannotCompose when it fails without them too.
        """
        readable = [clip for clip in clips if clip.track not in self._unreadable]
        try:
            await run(told(readable), self.folder, limits)
        except CannotCompose:
            for clip in readable:
                try:
                    await run(told([clip]), self.folder, limits)
                except CannotCompose as failure:
                    _left_out(clip.track, failure)
                    self._unreadable.add(clip.track)
            await run(told([clip for clip in readable if clip.track not in self._unreadable]), self.folder, limits)


def _left_out(track: Track, failure: Exception) -> None:
    log.warning("track left out", session=short(track.session_id), kind=track.kind, reason=str(failure))


def _is_within(clip: Clip, begin: float, end: float) -> bool:
    return any(start < end and stop > begin for start, stop in clip.stretches)


def _moved_to_the_first(found: Iterable[Clip]) -> tuple[list[Clip], float]:
    """The clips in a time that begins with the first sound or picture, and how long it is until the last, seconds in whole
    frames."""
    clips = list(found)
    times = [time for clip in clips for stretch in clip.stretches for time in stretch]
    if not times:
        return [], 0.0
    first = min(times)
    moved = [
        Clip(clip.track, clip.name, clip.began - first, tuple((begin - first, end - first) for begin, end in clip.stretches))
        for clip in clips
    ]
    return moved, whole_frames(max(times) - first)


def _for_reading(size: int) -> Limits:
    """For a look through a recording of so many bytes. janus-pp-rec keeps about 110 bytes of each packet, and fills gaps with
    silence."""
    return Limits(30 + size // (2 * MEBIBYTE), 1536 * MEBIBYTE, 4 * size + 64 * MEBIBYTE)


def _for_making(seconds: float, tracks: int, read: float) -> Limits:
    """For so many seconds of film of `tracks` tracks, of which `read` seconds are decoded."""
    cpu = 60 + (2 + tracks) * seconds + read / 2
    return Limits(ceil(cpu), (2048 + 192 * tracks) * MEBIBYTE, ceil(64 * MEBIBYTE + seconds * FILM_BYTES_PER_SECOND))


def _put(made: Path, target: Path) -> int:
    """Move what was made to where it belongs, as ours; its bytes. Raises CannotCompose when it is not a file."""
    made.replace(target)
    found = target.lstat()
    if not stat.S_ISREG(found.st_mode) or not found.st_size:
        target.unlink()
        raise CannotCompose("what was made is no film")
    os.chown(target, os.geteuid(), os.getegid())
    target.chmod(0o600)
    return found.st_size
