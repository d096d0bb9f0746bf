"""What the machine must give: Python, a directory to write in, a secret worth the name, open files, an address for media."""

import os
import platform
import resource
import stat
import sys
import tempfile
import zlib
from pathlib import Path

from aioice.ice import get_host_addresses

from secureconnect.config import Settings
from secureconnect.data_dir import OF_OTHERS, SECRET_FILE, open_to_others
from secureconnect.doctor.finding import Finding, failed, ok, skipped
from secureconnect.server import SPARE_FILES

OLDEST_PYTHON = (3, 11)
PLAIN_BYTES = 34
"""A secret that packs into less repeats itself. 32 random hexadecimal digits take 40, a word said five times about 20."""
MAKE_SECRET = "make one with `openssl rand -base64 48` and set SECURECONNECT_JWT_SECRET"  # noqa: S105  (advice, not a secret)


def python() -> Finding:
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        return failed("python", version, "install Python 3.11 or newer")
    return ok("python", version)


def data_dir(settings: Settings) -> Finding:
    """Where SQLite's file and the secret live: writable by us, and by nobody we did not choose."""
    folder = settings.data_dir
    if settings.is_database_shared and settings.jwt_secret is not None:
        return skipped("data directory", "not used: the database and the secret are elsewhere")
    advice = f"give it to the user that runs the server: `install -d -m 700 -o USER {folder}`; or set data_dir"
    if not folder.exists():
        parent = next(one for one in folder.absolute().parents if one.exists())
        if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
            return failed("data directory", f"{folder} is not there and cannot be made in {parent}", advice)
        return ok("data directory", f"{folder} is made at the first start")
    try:
        with tempfile.TemporaryFile(dir=folder):
            mode = stat.S_IMODE(folder.stat().st_mode)
    except OSError as failure:
        return failed("data directory", f"{folder} cannot be written ({failure.strerror})", advice)
    return _privacy(settings, mode)


def _privacy(settings: Settings, mode: int) -> Finding:
    folder = settings.data_dir
    if mode & OF_OTHERS:
        return failed("data directory", f"{folder} has mode {mode:04o}: other users can get at it", f"`chmod 700 {folder}`")
    opened = open_to_others(settings)
    if opened:
        modes = ", ".join(f"{path.name} has mode {stat.S_IMODE(path.stat().st_mode):04o}" for path in opened)
        return failed("data directory", f"in {folder}, {modes}", "start the server once, which corrects it, or `chmod 600` each")
    return ok("data directory", f"{folder} has mode {mode:04o}")


def secret(settings: Settings) -> Finding:
    """What tokens are signed with: there, kept, and not to be guessed."""
    if settings.jwt_secret is not None:
        return _strength(settings.jwt_secret.get_secret_value(), "as configured", MAKE_SECRET)
    if settings.is_database_shared:
        return failed("secret", "none, and nodes that share a database must share one", MAKE_SECRET)
    return _kept_secret(settings.data_dir / SECRET_FILE)


def _kept_secret(file: Path) -> Finding:
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        text = file.read_text().strip()
    except FileNotFoundError:
        return skipped("secret", f"{file} is made at the first start")
    except (OSError, UnicodeDecodeError) as failure:
        return failed("secret", f"{file} cannot be read ({failure})", f"give {file} to the user that runs the server")
    if mode & 0o077:
        return failed(
            "secret", f"{file} has mode {mode:04o}: others can read it", f"`chmod 600 {file}`, and make a new one: delete it"
        )
    return _strength(text, str(file), f"delete {file}: a new one is made at the next start")


def _strength(text: str, where: str, advice: str) -> Finding:
    if len(text) < 32 or len(zlib.compress(text.encode(), 9)) < PLAIN_BYTES:
        return failed("secret", f"{where}: easy to guess, so anybody could sign tokens", advice)
    return ok("secret", f"{where}: {len(text)} characters")


def open_files(settings: Settings) -> Finding:
    """A socket is an open file; `serve` raises its own limit as far as the system lets it."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = settings.max_sockets + SPARE_FILES
    if limit != resource.RLIM_INFINITY and limit < needed:
        return failed(
            "open files",
            f"at most {limit}, and {settings.max_sockets} sockets need {needed}",
            f"LimitNOFILE={needed} in the service, or max_sockets = {max(1, limit - SPARE_FILES)}",
        )
    return ok("open files", f"enough for {settings.max_sockets} sockets")


def addresses(settings: Settings) -> Finding:
    """ICE (RFC 8445) gathers no candidates on loopback: a machine without another address reaches nobody."""
    found = get_host_addresses(use_ipv4=True, use_ipv6=True)
    if not found:
        return failed("address", "only loopback: no media can flow from this machine", "connect it to a network")
    stun = f"STUN: {', '.join(settings.stun_urls)}" if settings.stun_urls else "no STUN: people meet within one network only"
    return ok("address", f"{found[0]}; {stun}", "" if settings.stun_urls else "set stun_urls if people come from elsewhere")
