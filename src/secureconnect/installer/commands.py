"""`secureconnect sfu …`: install Janus, show which one is installed. Nothing here talks to a Janus that runs."""

import sys
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from rich.console import Console

from secureconnect.installer import InstallError, install
from secureconnect.media.janus_bundle import MINIMUM, JanusBundle, default_folder, find_bundle, read_bundle
from secureconnect.ops.logging import set_up_logging

sfu = App(name="sfu", help="Janus, the SFU that group calls and recordings go through.")
_output = Console(soft_wrap=True)
_errors = Console(stderr=True, soft_wrap=True)

Folder = Annotated[Path | None, Parameter(name="--to", help="Where Janus goes; root: /opt/secureconnect-janus.")]


@sfu.command(name="install")
def install_janus(
    *,
    to: Folder = None,
    mirror: Annotated[str | None, Parameter(help="The mirror of Debian; by default that of the machine's sources.")] = None,
    upgrade: Annotated[bool, Parameter(help="Look for a newer version.")] = False,
) -> None:
    """Install Janus and janus-pp-rec from Debian's packages, without root; nothing happens when they are installed."""
    set_up_logging("critical", "auto")
    try:
        bundle = install(_folder(to), mirror=mirror, upgrade=upgrade, on_progress=_errors.print)
    except InstallError as failure:
        _errors.print(f"secureconnect: {failure}", style="red", markup=False, highlight=False)
        sys.exit(1)
    _output.print(_describe(bundle), highlight=False, markup=False)


@sfu.command
def status(
    *, to: Folder = None, as_json: Annotated[bool, Parameter(name="--json", help="The result as JSON on standard output.")] = False
) -> None:
    """Print which Janus is installed and from which packages; exit status 1 when there is none, or an old one."""
    bundle = find_bundle() if to is None else read_bundle(to)
    if bundle is None:
        _errors.print("No Janus is installed: `secureconnect sfu install` does that.", highlight=False)
        sys.exit(1)
    if as_json:
        folder = {"folder": str(bundle.folder)} | msgspec.to_builtins(bundle.installation)
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(folder)).decode() + "\n")
    else:
        _output.print(_describe(bundle), highlight=False, markup=False)
    if bundle.version < MINIMUM:
        _errors.print("It is too old: `secureconnect sfu install` installs a newer one.", highlight=False)
        sys.exit(1)


def _describe(bundle: JanusBundle) -> str:
    return f"Janus {bundle.installation.version} is installed in {bundle.folder.parent}."


def _folder(given: Path | None) -> Path:
    if given is not None:
        return given
    try:
        return default_folder()
    except LookupError as fault:
        raise InstallError(f"Name a folder with --to: {fault}.") from None
