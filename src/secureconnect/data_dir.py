"""The data directory: held by one server at a time, and keeper of the secret that it makes for itself. Called by app."""

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import structlog

from secureconnect.config import SQLITE_NAME, ConfigurationError, Settings
from secureconnect.push.vapid import VapidKey, new_private_key

log = structlog.get_logger(__name__)

SECRET_FILE = "jwt_secret"  # noqa: S105  (a file's name)
VAPID_FILE = "vapid_private_key"
LOCK_FILE = "lock"
SQLITE_FILES = ("", "-wal", "-shm", "-journal")
"""What SQLite keeps beside its file, by what is appended to its name."""
OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO
UMASK = 0o077
"""Of the process: what it makes is its user's alone."""


def open_to_others(settings: Settings) -> list[Path]:
    """Return what we keep in the data directory, itself included, that other users of the machine can get at."""
    return [path for path in _ours(settings) if stat.S_IMODE(path.lstat().st_mode) & OF_OTHERS]


def restrict(settings: Settings) -> None:
    """Take from other users what 0.1 left open to them: the data directory becomes 0700, its files 0600."""
    opened = open_to_others(settings)
    for path in opened:
        path.chmod(0o700 if path.is_dir() else 0o600)
    if opened:
        log.warning("data directory was open to others", folder=str(settings.data_dir), paths=len(opened))


def _ours(settings: Settings) -> Iterator[Path]:
    """What this user owns and this program made: never a folder that is everyone's, as /tmp, nor what else lies in it."""
    home = settings.data_dir.resolve()
    names = [SECRET_FILE, VAPID_FILE, LOCK_FILE]
    if not settings.is_database_shared and settings.database_url is None:
        names += [f"{SQLITE_NAME}{suffix}" for suffix in SQLITE_FILES]
    files = [home / name for name in names]
    folders = [home / "recordings", home / "recordings" / "films", home / "recordings" / "scratch"]
    found = [path for path in (*files, *folders) if path.exists() and not path.is_symlink() and path.stat().st_uid == os.geteuid()]
    if not home.is_dir():
        return
    is_ours = found or not any(home.iterdir())
    if is_ours and home.stat().st_uid == os.geteuid() and not home.stat().st_mode & stat.S_ISVTX:
        yield home
    yield from found


def claim(data_dir: Path) -> IO[str]:
    """Hold the data directory for this process, as long as the file it returns is open.

    Raises ConfigurationError when another server holds it: each would take the other for one that was killed.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = (data_dir / LOCK_FILE).open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConfigurationError(f"data_dir: another server is using {data_dir}; stop it, or give this one its own") from None
    return file


def shared_secret(settings: Settings) -> str:
    """The secret that signs tokens: as configured, or one of our own making, kept with the data.

    Raises ConfigurationError where other nodes would have to know it too.
    """
    if settings.jwt_secret is not None:
        return settings.jwt_secret.get_secret_value()
    if settings.is_database_shared:
        raise ConfigurationError("jwt_secret: nodes that share a database must share a secret; set SECURECONNECT_JWT_SECRET")
    return _kept(settings.data_dir / SECRET_FILE, "made a secret for tokens", lambda: secrets.token_urlsafe(48))


def vapid_key(settings: Settings) -> VapidKey | None:
    """The key that browsers subscribe with: as configured, or one of our own making, kept with the data.

    None where other nodes would have to know it too: then there is no Web Push. Raises ConfigurationError for what is no key.
    """
    if settings.vapid_private_key is not None:
        text = settings.vapid_private_key.get_secret_value()
    elif settings.is_database_shared:
        return None
    else:
        text = _kept(settings.data_dir / VAPID_FILE, "made a key for Web Push", new_private_key)
    try:
        return VapidKey(text, settings.vapid_subject)
    except ValueError as fault:
        raise ConfigurationError(f"vapid_private_key: {fault}") from None


def _kept(path: Path, words: str, make: Callable[[], str]) -> str:
    """What is in the file; before that, what `make` makes is put there. Raises ConfigurationError when there is nothing in it."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_private(path, make())
        log.info(words, file=str(path))
    text = path.read_text().strip()
    if not text:
        raise ConfigurationError(f"data_dir: {path} is empty; remove it, and another is made")
    return text


def _write_private(path: Path, text: str) -> None:
    """Wholly or not at all: half a secret, after a power cut, would be one that anybody can guess."""
    partial = path.with_name(f"{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    partial.replace(path)
