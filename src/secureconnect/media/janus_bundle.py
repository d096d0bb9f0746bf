"""Where `secureconnect sfu install` puts Janus, and how the programs in there are started. The installer makes it, others read it.

A bundle holds Janus, janus-pp-rec, the libraries that these need and the loader (ld.so(8)) that all of them were built for, because
the libraries of the machine are older. The loader is started under the name of the program, so that ps(1) shows that name.
"""

import os
import pwd
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

JANUS, CONVERTER = "janus", "janus-pp-rec"
MINIMUM = (1, 4, 1)
"""The first version without the faults that a participant can crash Janus with (its pull requests 3636 and 3637)."""
SYSTEM_FOLDER = Path("/opt/secureconnect-janus")
"""Where root installs it, for each user of the machine."""
CURRENT, RECORD = "current", "installation.json"


class Installation(msgspec.Struct, frozen=True):
    """What the installer wrote down: the version as Debian writes it, the architecture, each package by its version."""

    version: str
    architecture: str
    packages: dict[str, str]


@dataclass(frozen=True)
class JanusBundle:
    """One installed bundle. `folder` may be a symbolic link that a later installation changes."""

    folder: Path
    installation: Installation

    @property
    def version(self) -> tuple[int, ...]:
        return parse_version(self.installation.version)

    def command(self, program: str) -> tuple[str, ...]:
        """What to start in place of `program`, before its own arguments."""
        libraries = str(self.folder / "lib")
        loader = (str(self.folder / "loaders" / program), "--inhibit-cache", "--library-path", libraries, "--argv0", program)
        return (*loader, str(self.folder / "programs" / program))


def parse_version(text: str) -> tuple[int, ...]:
    """The numbers of a version such as `1.4.1+ds-4+b2`, without what Debian adds; empty for what is none."""
    numbers: list[int] = []
    for part in text.partition("+")[0].partition("-")[0].split("."):
        if not part.isascii() or not part.isdigit():
            return ()
        numbers.append(int(part))
    return tuple(numbers)


def default_folder() -> Path:
    """Where this user installs it. Raises LookupError for a user without a home directory."""
    if os.geteuid() == 0:
        return SYSTEM_FOLDER
    data = os.environ.get("XDG_DATA_HOME", "")
    return (Path(data) if data.startswith("/") else _home() / ".local/share") / "secureconnect" / JANUS


def _home() -> Path:
    home = os.environ.get("HOME", "")
    if home.startswith("/"):
        return Path(home)
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        raise LookupError(f"user {os.geteuid()} has no home directory") from None


def read_bundle(folder: Path) -> JanusBundle | None:
    """The bundle that is installed in `folder`, or None."""
    current = folder / CURRENT
    try:
        installation = msgspec.json.decode((current / RECORD).read_bytes(), type=Installation)
    except (OSError, msgspec.MsgspecError):
        return None
    return JanusBundle(current, installation)


def find_bundle() -> JanusBundle | None:
    """The bundle of this user, or that of the machine. Root takes nothing from a folder that others can write to."""
    folders = [SYSTEM_FOLDER]
    with suppress(LookupError):
        folders.insert(0, default_folder())
    return next((bundle for folder in folders if (bundle := read_bundle(folder)) is not None), None)


def find_command(program: str) -> tuple[str, ...] | None:
    """How to start a program of the bundle; None for one of another name, or without a bundle."""
    bundle = find_bundle() if program in (JANUS, CONVERTER) else None
    return bundle.command(program) if bundle is not None else None
