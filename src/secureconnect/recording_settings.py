"""The settings of recordings: a part of `config.Settings`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from secureconnect.recording import objects


class RecordingSettings(BaseSettings):
    """Where recordings go, how long they are kept, and their limits."""

    recording: Literal["auto", "off"] = Field(
        "auto", description="auto: calls can be recorded where an SFU, janus-pp-rec and ffmpeg are installed; off: none."
    )
    recording_dir: Path | None = Field(
        None,
        description="Folder that SFUs write recordings to and this process reads; default in data_dir. With sfu_servers it must be "
        "set, shared with them and with all nodes, and have the same name everywhere.",
    )
    recording_store: str | None = Field(
        None,
        description="Where finished recordings are kept: file:///a/folder or s3://bucket/prefix; default in data_dir. "
        "With a shared database it must be set.",
    )
    recording_hours: float = Field(4.0, gt=0, le=24, description="How long one recording may be, hours.")
    recordings_at_once: int = Field(20, ge=1, description="How many calls may be recorded at the same time, on all nodes.")
    recording_quota_gib: float = Field(50.0, gt=0, description="What recordings of a conversation, or of a user, may take, GiB.")
    recording_free_gib: float = Field(2.0, ge=0, description="Below so much free space recordings stop, GiB.")
    recording_disk_percent: int = Field(90, ge=1, le=100, description="When their volume is so full recordings stop, percent.")
    recording_days: int = Field(30, ge=1, description="How long a recording is kept, days.")
    recording_link_seconds: int = Field(3600, ge=60, le=604_800, description="How long a link to a recording works, seconds.")

    @field_validator("recording_store")
    @classmethod
    def _known_store(cls, value: str | None) -> str | None:
        fault = objects.fault_of(value) if value is not None else None
        if fault is not None:
            raise ValueError(fault)
        return value
