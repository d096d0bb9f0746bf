"""Whether calls can be recorded: the programs, the folder that SFUs write to, the store of films."""

import os
from pathlib import Path

from secureconnect.config import Settings
from secureconnect.doctor.finding import Finding, failed, ok, skipped
from secureconnect.recorder import Recorder
from secureconnect.recording.objects import ObjectsUnavailable
from secureconnect.sfu_servers import can_run_sfu

SUBJECT = "recording"


async def recording(settings: Settings) -> Finding:
    """One finding."""
    recorder = Recorder(settings)
    why_not = _why_not(settings, recorder)
    if why_not is not None:
        return skipped(SUBJECT, why_not)
    if settings.sfu_servers and not (recorder.written.is_dir() and os.access(recorder.written, os.R_OK | os.W_OK | os.X_OK)):
        return failed(
            SUBJECT,
            f"{recorder.written} is not there, or cannot be read and emptied",
            "mount what the SFUs write to there, for the user that runs the server; or set recording=off",
        )
    full = recorder.volume.fault()
    if full is not None:
        return failed(SUBJECT, full, "make room there, or give recording_dir a larger volume of its own; calls go on without it")
    kept = f"kept for {settings.recording_days} days"
    if recorder.films is not None and not recorder.films.exists():
        return ok(SUBJECT, f"films go to {recorder.store_url}, made at the first start, {kept}", _advice(settings, recorder))
    fault = await _fault_of_the_store(recorder)
    if fault is not None:
        return failed(SUBJECT, fault, "let this machine write there, see docs/recording.md; or set recording=off")
    return ok(
        SUBJECT, f"films go to {recorder.store_url}, which took and gave back a few bytes; {kept}", _advice(settings, recorder)
    )


def _advice(settings: Settings, recorder: Recorder) -> str:
    """A warning when what is recorded can fill the disk under the database."""
    if settings.is_database_shared or _device_of(recorder.written) != _device_of(settings.data_dir.resolve()):
        return ""
    return "recordings share the volume of the database: set recording_dir to a volume of its own"


def _device_of(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.stat().st_dev


def _why_not(settings: Settings, recorder: Recorder) -> str | None:
    """Why there is nothing to look at."""
    if not settings.sfu_servers and (settings.is_bus_shared or not can_run_sfu(settings)):
        return "none: there is no SFU"
    return None if recorder.trouble is None else f"none: {recorder.trouble}"


async def _fault_of_the_store(recorder: Recorder) -> str | None:
    if recorder.objects is None:
        return recorder.trouble
    try:
        await recorder.objects.ping()
    except ObjectsUnavailable as failure:
        return f"{recorder.store_url} does not take a film ({failure})"
    return None
