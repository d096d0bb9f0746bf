"""How much may be recorded: hours, bytes of a conversation and of a user, recordings at once, and what stays free on the disk.

`recording.service` asks before a recording starts, `recording.watch` while it runs.
"""

import os
from enum import StrEnum
from pathlib import Path

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.errors import RecordingUnavailable, Unavailable
from secureconnect.ids import ConversationId, UserId
from secureconnect.store import recordings as store

GIBIBYTE = 2**30


class StopReason(StrEnum):
    """Why the server has stopped a recording."""

    LENGTH = "length"
    QUOTA = "quota"
    DISK = "disk"
    BIT_RATE = "bit_rate"


class RecordingLimits(Struct, frozen=True):
    """The settings: seconds, recordings, bytes, a share of the volume from 0 to 1, and kilobits a second of a session."""

    seconds: float
    at_once: int
    conversation_bytes: int
    user_bytes: int
    free_bytes: int
    disk_share: float
    session_kbps: int


class Disk(Struct, frozen=True):
    """A volume: how many bytes it has, and how many are free."""

    size: int
    free: int

    @classmethod
    def of(cls, folder: Path) -> "Disk":
        """The volume of a folder, or of the nearest one above it that exists. Raises OSError."""
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        found = os.statvfs(folder)
        return cls(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)

    def fault(self, limits: RecordingLimits) -> str | None:
        """Why nothing more is recorded on it, or None."""
        if self.free < limits.free_bytes:
            return f"only {self.free / GIBIBYTE:.1f} GiB are free on the volume of recordings"
        if self.size and 1 - self.free / self.size > limits.disk_share:
            return f"the volume of recordings is more than {limits.disk_share:.0%} full"
        return None


class Volume:
    """The volume that SFUs write recordings to."""

    def __init__(self, folder: Path, limits: RecordingLimits) -> None:
        self._folder = folder
        self._limits = limits

    def fault(self) -> str | None:
        """Return why nothing more is recorded, or None."""
        try:
            return Disk.of(self._folder).fault(self._limits)
        except OSError as failure:
            return f"the folder of recordings cannot be read ({failure.strerror})"

    async def ping(self) -> None:
        """Raises Unavailable when nothing more is recorded: for health checks."""
        fault = self.fault()
        if fault is not None:
            raise Unavailable(f"No call can be recorded: {fault}.")


async def require_room(
    connection: AsyncConnection, limits: RecordingLimits, conversation_id: ConversationId, user_id: UserId
) -> None:
    """Raise RecordingUnavailable when one more recording would be too many, or a quota is used up."""
    if await store.count_live(connection) >= limits.at_once:
        raise RecordingUnavailable(f"{limits.at_once} calls are being recorded, which is as many as may be here. Try again later.")
    of_conversation, of_user = await store.kept_bytes(connection, conversation_id, user_id)
    if of_conversation >= limits.conversation_bytes:
        raise RecordingUnavailable("The recordings of this conversation use all the room they may. Delete some of them first.")
    if of_user >= limits.user_bytes:
        raise RecordingUnavailable("Your recordings use all the room they may. Delete some of them first.")
