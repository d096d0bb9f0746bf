"""Put a bundle together: Janus with one plugin and one transport, janus-pp-rec, and the loader and libraries that these need.

Debian's packages name in `Depends` the package of every library that their files need. So packages are downloaded step by step,
each time those that one with a needed file depends on, until every library is there: about half of all that apt would install.
"""

import asyncio
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from secureconnect.clock import SystemClock
from secureconnect.installer.debian import Apt, InstallError, Package, run, unpack
from secureconnect.installer.elf import ElfFile, NotElf
from secureconnect.media import janus_server
from secureconnect.media.child import Child
from secureconnect.media.janus_bundle import CONVERTER, JANUS, Installation, JanusBundle
from secureconnect.media.janus_server import PLUGIN, TRANSPORT, JanusOptions, JanusProgram, new_folder

PACKAGES = ("janus", "janus-tools")
PROGRAMS = {JANUS: f"bin/{JANUS}", CONVERTER: f"bin/{CONVERTER}"}
MODULES = {f"plugins/{PLUGIN}": PLUGIN, f"transports/{TRANSPORT}": TRANSPORT}
AT_RUN_TIME = {"libc.so.6": ("libgcc_s.so.1",), "libnss3.so": ("libsoftokn3.so", "libfreeblpriv3.so")}
"""Libraries that others load by name while they run: glibc to end a thread, NSS (which encrypts for libsrtp) its algorithms."""
START_SECONDS = 20.0
WRAPPER = """#!/bin/sh
# Start {program} with the libraries that it was built for. Written by `secureconnect sfu install`.
here=$(dirname -- "$(readlink -f -- "$0")")/..
exec "$here/loaders/{program}" --inhibit-cache --library-path "$here/lib" --argv0 {program} "$here/programs/{program}" "$@"
"""


class Collection:
    """Packages downloaded so far, each unpacked into a folder of its own, and the files found in them by name."""

    def __init__(self, apt: Apt, folder: Path, on_progress: Callable[[str], None]) -> None:
        self._apt = apt
        self._folder = folder
        self._on_progress = on_progress
        self.known = apt.describe(apt.resolve(PACKAGES))
        self.fetched: dict[str, Package] = {}
        self._files: dict[str, tuple[str, Path]] = {}

    def fetch(self, names: Iterable[str]) -> None:
        """Download and unpack those of these packages that are not here yet."""
        wanted = [self.known[name] for name in sorted(set(names)) if name in self.known and name not in self.fetched]
        if not wanted:
            return
        self._on_progress(f"Downloading {len(wanted)} packages: {wanted[0].name}{' and more' if len(wanted) > 1 else ''}.")
        for archive in self._apt.download(wanted):
            name = archive.name.partition("_")[0]
            unpack(archive, self._folder / name)
            archive.unlink()
            for path in sorted((self._folder / name).rglob("*")):
                if path.is_file() and (".so" in path.name or path.parent.name == "bin"):
                    self._files.setdefault(path.name, (name, path))
        self.fetched |= {package.name: package for package in wanted}

    def find(self, name: str) -> tuple[str, Path] | None:
        """The package and path of a file."""
        return self._files.get(name)

    def dependencies(self, package: str) -> set[str]:
        """The packages that one depends on, as far as apt chose them."""
        return {name for group in self.known[package].depends for name in group}


def build(apt: Apt, partial: Path, on_progress: Callable[[str], None]) -> dict[str, str]:
    """Make `bundle` in the folder `partial`; the version of each package that is in it. Raises InstallError."""
    collection = Collection(apt, partial / "unpacked", on_progress)
    (partial / "unpacked").mkdir()
    collection.fetch(PACKAGES)
    roots = [collection.find(name) for name in (*PROGRAMS, *MODULES.values())]
    if None in roots:
        raise InstallError(
            "Debian's packages of Janus do not hold what they held before: report this as an error of SecureConnect."
        )
    libraries, loader = _collect_libraries(collection, [root for root in roots if root is not None])
    on_progress(f"Putting Janus together with {len(libraries)} libraries.")
    bundle = partial / "bundle"
    for folder in ("bin", "lib", "loaders", "plugins", "programs", "transports", "copyright"):
        (bundle / folder).mkdir(parents=True, mode=0o755)
    for name, path in libraries.items():
        _copy(path, bundle / "lib" / name)
    for place, name in MODULES.items():
        _copy(_path(collection, name), bundle / place)
    for program in PROGRAMS:
        _copy(_path(collection, program), bundle / "programs" / program)
        (bundle / "loaders" / program).symlink_to(f"../lib/{loader}")
        (bundle / "bin" / program).write_text(WRAPPER.format(program=program))
        (bundle / "bin" / program).chmod(0o755)
    used = _copy_licences(collection, partial / "unpacked", bundle / "copyright", {*libraries.values()})
    _check_libraries(bundle)
    asyncio.run(_start(bundle))
    return {name: collection.fetched[name].version for name in sorted(used)}


def _collect_libraries(collection: Collection, roots: list[tuple[str, Path]]) -> tuple[dict[str, Path], str]:
    """Every library that the roots need, by name, and the name of the loader."""
    found: dict[str, Path] = {}
    waiting = [*roots]
    unknown: dict[str, str] = {}
    loader = ""
    while waiting or unknown:
        missing: dict[str, str] = {}
        while waiting:
            package, path = waiting.pop()
            elf = _read(path)
            if elf.interpreter is not None:
                loader = Path(elf.interpreter).name
            for name in {*elf.needed, *AT_RUN_TIME.get(path.name, ()), loader} - {"", *found}:
                missing.setdefault(name, package)
        missing = {**unknown, **missing}
        collection.fetch({name for package in set(missing.values()) for name in collection.dependencies(package)})
        if any(collection.find(name) is None and name in unknown for name in missing):
            collection.fetch(collection.known)  # a library of a package that is depended on by way of another one
        unknown = {}
        for name, package in missing.items():
            library = collection.find(name)
            if library is not None:
                found[name] = library[1]
                waiting.append(library)
            elif len(collection.fetched) == len(collection.known):
                raise InstallError(f"{name}, which {package} needs, is in no package: report this as an error of SecureConnect.")
            else:
                unknown[name] = package
    return found, loader


def _read(path: Path) -> ElfFile:
    try:
        return ElfFile(path)
    except NotElf as fault:
        raise InstallError(f"{fault}.") from fault


def _path(collection: Collection, name: str) -> Path:
    found = collection.find(name)
    assert found is not None
    return found[1]


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    executable = target.parent.name in {"programs", "lib"}
    target.chmod(stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH | (0o111 if executable else 0))


def _copy_licences(collection: Collection, unpacked: Path, target: Path, libraries: set[Path]) -> set[str]:
    """Copy the licence of each package that something was taken from; the names of those packages."""
    used = {path.relative_to(unpacked).parts[0] for path in libraries} | set(PACKAGES)
    for name in used:
        licence = unpacked / name / "usr/share/doc" / name / "copyright"
        if licence.is_file():
            shutil.copyfile(licence, target / name)
            (target / name).chmod(0o644)
    return used


def _check_libraries(bundle: Path) -> None:
    """See that each program starts, and takes no library of the machine. Raises InstallError."""
    for program in PROGRAMS:
        loader = (str(bundle / "loaders" / program), "--inhibit-cache", "--library-path", str(bundle / "lib"))
        lines = run((*loader, "--list", str(bundle / "programs" / program)), f"{program} does not start").splitlines()
        paths = [line.split("=>")[1].split("(")[0].strip() for line in lines if "=>" in line]
        strange = [path for path in paths if not path.startswith(str(bundle))]
        if strange:
            raise InstallError(f"{program} would load {strange[0]}: report this as an error of SecureConnect.")
        run((*loader, str(bundle / "programs" / program), "--help"), f"{program} does not start")


async def _start(bundle: Path) -> None:
    """Start Janus as `serve` does, in its sandbox, until it listens. Raises InstallError."""
    command = JanusBundle(bundle, Installation(version="", architecture="", packages={})).command(JANUS)
    janus = JanusProgram(command, bundle, (), readable=(str(bundle),), executable=(command[0],))
    listening = asyncio.Event()
    options = JanusOptions("127.0.0.1", secrets.token_hex(16), new_folder())
    child = Child(janus_server.program(options, janus), SystemClock(), on_change=lambda is_up: listening.set())
    running, waiting = asyncio.create_task(child.run_once()), asyncio.create_task(listening.wait())
    await asyncio.wait({running, waiting}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    has_started = child.pid is not None
    for task in (running, waiting):
        task.cancel()
    await asyncio.gather(running, waiting, return_exceptions=True)
    if not has_started:
        raise InstallError(f"The Janus that was downloaded does not start{f': {child.failure}' if child.failure else ''}.")
