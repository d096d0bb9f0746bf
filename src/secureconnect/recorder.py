"""What recording takes under these settings: where SFUs write, where films are made and kept.

Made by parts, asked by the doctor.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Awaitable, Callable
from functools import cached_property
from pathlib import Path

from secureconnect.config import Settings
from secureconnect.recording.compose import missing_programs
from secureconnect.recording.limits import GIBIBYTE, RecordingLimits, Volume
from secureconnect.recording.objects import ObjectStore, ObjectsUnavailable

FOR_EVERYBODY = Path("/var/tmp")  # noqa: S108  (what is made there is given to the SFU's user, or refused)


class Recorder:
    """The places. `trouble` is why nothing can be recorded here, with what to do; None when it can. Makes nothing until asked."""

    def __init__(self, settings: Settings) -> None:
        self.trouble = _trouble_of(settings)
        self._home = home = settings.data_dir.resolve() / "recordings"
        self.written: Path = settings.recording_dir.resolve() if settings.recording_dir is not None else _within_reach(home)
        self.scratch: Path = home / "scratch"
        self.films: Path | None = home / "films" if settings.recording_store is None else None
        """The folder of our own choosing that films are kept in."""
        self.limits = limits_of(settings)
        self.volume = Volume(self.written, self.limits)
        self.store_url: str = settings.recording_store or (home / "films").as_uri()

    def adopt(self) -> None:
        """Take over what an SFU wrote where version 0.1 had it write, when that folder is out of its reach by now."""
        before = self._home / "written"
        if self.written == before or not before.is_dir():
            return
        self.written.mkdir(mode=0o700, parents=True, exist_ok=True)
        for recording in before.iterdir():
            shutil.move(recording, self.written / recording.name)

    @property
    def folder(self) -> Path | None:
        """Where SFUs are to write; None when they are to write nothing."""
        return self.written if self.trouble is None else None

    @property
    def probes(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What a health check asks: whether there is room to record."""
        return {"recording": self.volume.ping} if self.trouble is None else {}

    @cached_property
    def objects(self) -> ObjectStore | None:
        """The store of films; None when nothing can be recorded here, and then there is a `trouble`."""
        if self.trouble is not None:
            return None
        try:
            return ObjectStore(self.store_url)
        except ObjectsUnavailable as failure:
            self.trouble = f"Recording is not set up here: {self.store_url} cannot be used ({failure})."
            return None


def limits_of(settings: Settings) -> RecordingLimits:
    """How much may be recorded under these settings."""
    return RecordingLimits(
        seconds=settings.recording_hours * 3600,
        at_once=settings.recordings_at_once,
        conversation_bytes=int(settings.recording_quota_gib * GIBIBYTE),
        user_bytes=int(settings.recording_quota_gib * GIBIBYTE),
        free_bytes=int(settings.recording_free_gib * GIBIBYTE),
        disk_share=settings.recording_disk_percent / 100,
        session_kbps=settings.sfu_kbps,
    )


def _within_reach(home: Path) -> Path:
    """A folder that our own SFU can get to: started by root it runs as nobody, who may be barred from the folders above ours."""
    above = [folder for folder in (home, *home.parents) if folder.exists()]
    if os.geteuid() != 0 or all(folder.stat().st_mode & stat.S_IXOTH for folder in above):
        return home / "written"
    return FOR_EVERYBODY / f"secureconnect-{hashlib.sha256(bytes(home)).hexdigest()[:16]}"


def _trouble_of(settings: Settings) -> str | None:
    if settings.recording == "off" or "video" not in settings.served:
        return "Recording is switched off here."
    if settings.sfu == "off":
        return "Recording needs an SFU, and there is none here: set sfu=auto."
    if (settings.is_bus_shared or settings.sfu_servers) and settings.recording_dir is None:
        return "Recording is not set up here: set recording_dir to the folder that SFUs write to and all nodes see."
    if settings.is_database_shared and settings.recording_store is None:
        return "Recording is not set up here: set recording_store to where all nodes keep what was recorded."
    missing = missing_programs()
    if missing:
        return f"Recording is not set up here: install {' and '.join(missing)}."
    return None
