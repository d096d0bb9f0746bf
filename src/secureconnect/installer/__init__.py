"""Install Janus where the distribution has none, or one with known faults. Run by `secureconnect sfu install`, never by `serve`.

An installation is complete or absent: it is put together beside its place, and one symbolic link makes it the current one.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from secureconnect.installer.bundle import build
from secureconnect.installer.debian import MIRROR, Apt, InstallError, check_machine, find_mirror
from secureconnect.media.janus_bundle import CURRENT, MINIMUM, RECORD, Installation, JanusBundle, parse_version, read_bundle

__all__ = ["InstallError", "install"]

PARTIAL = ".partial-"
NEEDED_MB, LOW_MB = 600, 8
"""Space that an installation takes while it runs; and so little space that it explains a failure."""
Progress = Callable[[str], None]


def install(folder: Path, *, mirror: str | None = None, upgrade: bool = False, on_progress: Progress) -> JanusBundle:
    """Install Janus into `folder`, or do nothing when it is installed there.

    Args:
        folder: Where it goes; made when it is missing.
        mirror: The mirror of Debian to take it from; by default that of the machine's own sources.
        upgrade: Look for a newer version even when a good one is installed.
        on_progress: Called with a sentence for each step.

    Raises:
        InstallError: Janus cannot be installed; what was installed before stays.
    """
    folder = folder.absolute()
    try:
        with _readable_files(), _locked(folder, on_progress):
            bundle = read_bundle(folder)
            if bundle is not None and bundle.version >= MINIMUM and not upgrade:
                return bundle
            return _install(folder, bundle, mirror, on_progress)
    except OSError as fault:
        raise InstallError(f"Janus cannot be installed into {folder}: {fault.strerror or fault}.") from fault


def _install(folder: Path, installed: JanusBundle | None, mirror: str | None, on_progress: Progress) -> JanusBundle:
    architecture = check_machine()
    if (free := _free_mb(folder)) < NEEDED_MB:
        raise InstallError(
            f"There is not enough space: {folder} has {free} MB, and {NEEDED_MB} MB are needed for the installation."
        )
    source = mirror or find_mirror() or MIRROR
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=folder) as name:
        try:
            target = _make(Path(name), folder, installed, Apt(_own_folder(Path(name)), architecture, source), on_progress)
        except (InstallError, OSError) as failure:
            if _free_mb(folder) < LOW_MB:
                raise InstallError(
                    f"There is no space left in {folder}: {NEEDED_MB} MB are needed for the installation."
                ) from failure
            raise
    bundle = read_bundle(folder)
    if bundle is None:
        raise InstallError(f"What was installed into {folder} cannot be read.")
    _remove_old(folder, keep=target)
    return bundle


def _make(partial: Path, folder: Path, installed: JanusBundle | None, apt: Apt, on_progress: Progress) -> Path:
    """Download Janus, put a bundle together in `partial`, and make it the current one. Where it is then."""
    on_progress(f"Downloading the list of Debian's packages from {apt.mirror}.")
    apt.update()
    version = _choose_version(apt)
    target = folder / f"{version}-{apt.architecture}"
    if installed is not None and installed.installation.version == version:
        return target
    packages = build(apt, partial, on_progress)
    record = Installation(version=version, architecture=apt.architecture, packages=packages)
    (partial / "bundle" / RECORD).write_bytes(msgspec.json.format(msgspec.json.encode(record)))
    _publish(partial / "bundle", target)
    return target


def _own_folder(partial: Path) -> Path:
    """Where apt works. As root it downloads as a user of its own, who must get here."""
    partial.chmod(0o755)
    (partial / "apt").mkdir(mode=0o755)
    return partial / "apt"


def _free_mb(folder: Path) -> int:
    return shutil.disk_usage(folder).free // 1_000_000


def _choose_version(apt: Apt) -> str:
    version = apt.candidate("janus")
    minimum = ".".join(map(str, MINIMUM))
    if version is None or parse_version(version) < MINIMUM:
        found = f"Janus {version}" if version else "no Janus"
        raise InstallError(
            f"{apt.mirror} has {found}, and {minimum} or newer is needed: name another mirror of Debian with --mirror."
        )
    return version


def _publish(built: Path, target: Path) -> None:
    """Make a bundle the current one. After a power cut, either all of it is there or none."""
    if target.exists():
        shutil.rmtree(target)
    os.sync()
    built.rename(target)
    link = target.parent / f"{PARTIAL}link"
    link.unlink(missing_ok=True)
    link.symlink_to(target.name)
    link.replace(target.parent / CURRENT)
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_old(folder: Path, keep: Path | None = None) -> None:
    """Remove bundles that are not current, and what an installation that was killed left behind."""
    for entry in folder.iterdir():
        is_bundle = keep is not None and (entry / RECORD).is_file() and not entry.is_symlink() and entry != keep
        if is_bundle or entry.name.startswith(PARTIAL):
            shutil.rmtree(entry, ignore_errors=True)


@contextmanager
def _readable_files() -> Iterator[None]:
    """Create files that every user may read: nothing here is secret, and the SFU runs as another user."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def _locked(folder: Path, on_progress: Progress) -> Iterator[None]:
    """Be the only one that installs into `folder`; wait for another."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # the SFU may run as another user, who must get here
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_progress(f"Another installation into {folder} is running; waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        _remove_old(folder)
        yield
