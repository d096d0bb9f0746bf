"""The data directory: held by one server at a time, and keeper of the secret that it makes for itself. Called by app."""

import fcntl
import os
import secrets
from pathlib import Path
from typing import IO

import structlog

from secureconnect.config import ConfigurationError, Settings

log = structlog.get_logger(__name__)

SECRET_FILE = "jwt_secret"  # noqa: S105  (a file's name)


def claim(data_dir: Path) -> IO[str]:
    """Hold the data directory for this process, as long as the file it returns is open.

    Raises ConfigurationError when another server holds it: each would take the other for one that was killed.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    file = (data_dir / "lock").open("w")
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
    path = settings.data_dir / SECRET_FILE
    if not path.exists():
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        _write_private(path, secrets.token_urlsafe(48))
        log.info("made a secret for tokens", file=str(path))
    return path.read_text().strip()


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
