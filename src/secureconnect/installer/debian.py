"""Packages of another Debian release, downloaded by apt with a state of its own: nothing of the machine changes, no root is needed.

The machine's proxies, certificates and credentials apply (`apt-config dump`), and its mirror. Its hooks, preferences and sources do
not. apt checks the release against `debian-archive-keyring`, and each package against the release (apt-secure(8)).
"""

import platform
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

RELEASE = "forky"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR = "http://deb.debian.org/debian"
"""Where packages come from when the machine names no mirror of Debian. apt checks signatures, so http is enough."""
ARCHITECTURES = ("amd64", "arm64")
"""Those for which Debian builds Janus and for which the sandbox knows the numbers of system calls."""
RELEASES = {"bullseye", "bookworm", "trixie", "forky", "sid", "oldstable", "stable", "testing", "unstable"}
QUERY_SECONDS = 120.0
DOWNLOAD_SECONDS = 1800.0
REASON_CHARACTERS = 300


class InstallError(Exception):
    """Janus cannot be installed; the message says why, and what to do."""


@dataclass(frozen=True)
class Package:
    """One package of the release. `depends` holds alternatives: one of each group is needed."""

    name: str
    version: str
    depends: tuple[tuple[str, ...], ...]


class Apt:
    """apt with its state below `folder`, which exists and is empty."""

    def __init__(self, folder: Path, architecture: str, mirror: str) -> None:
        self.architecture = architecture
        self.mirror = mirror
        self._folder = folder
        for name in ("lists/partial", "cache/archives/partial", "packages"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        signed = f"signed-by={KEYRING} arch={architecture}"
        (folder / "sources.list").write_text(f"deb [{signed}] {mirror} {RELEASE} main\n")
        (folder / "apt.conf").write_text(_configuration(folder, architecture))

    def update(self) -> None:
        """Download the list of packages. Raises InstallError without a network, or for a wrong signature."""
        failure = ("apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update")
        self._run(failure, "The list of packages cannot be downloaded", DOWNLOAD_SECONDS)

    def candidate(self, name: str) -> str | None:
        """The version of a package in the release, or None."""
        lines = self._run(("apt-cache", "policy", name), "The list of packages cannot be read").splitlines()
        found = [line.partition(":")[2].strip() for line in lines if line.strip().startswith("Candidate:")]
        return found[0] if found and found[0] != "(none)" else None

    def resolve(self, names: Sequence[str]) -> set[str]:
        """All packages that apt would install with these."""
        options = ("-q", "-y", "--no-install-recommends", "--print-uris")
        lines = self._run(("apt-get", *options, "install", *names), "The packages do not fit together").splitlines()
        # 'http://…/janus_1.4.1_amd64.deb' janus_1.4.1_amd64.deb 774132 SHA256:…
        return {line.split()[1].partition("_")[0] for line in lines if line.startswith("'")}

    def describe(self, names: Iterable[str]) -> dict[str, Package]:
        """These packages, by name."""
        text = self._run(("apt-cache", "--no-all-versions", "show", *sorted(names)), "The list of packages cannot be read")
        packages = [_parse(paragraph) for paragraph in text.split("\n\n") if paragraph.strip()]
        return {package.name: package for package in packages}

    def download(self, packages: Iterable[Package]) -> list[Path]:
        """The files of these packages, checked. Raises InstallError without a network, or with a full disk."""
        folder = self._folder / "packages"
        before = set(folder.iterdir())
        wanted = sorted(f"{package.name}={package.version}" for package in packages)
        self._run(("apt-get", "-q", "download", *wanted), "Packages cannot be downloaded", DOWNLOAD_SECONDS, folder)
        return sorted(set(folder.iterdir()) - before)

    def _run(self, command: Sequence[str], failure: str, seconds: float = QUERY_SECONDS, cwd: Path | None = None) -> str:
        return run(command, failure, seconds=seconds, cwd=cwd or self._folder, APT_CONFIG=str(self._folder / "apt.conf"))


def check_machine() -> str:
    """The architecture of this Debian machine. Raises InstallError where Janus cannot be installed this way."""
    advice = "Calls have up to four people without Janus; docs/sfu.md says how to run it on another machine."
    if platform.system() != "Linux":
        raise InstallError(f"Janus is installed from Debian's packages, and this is {platform.system()}. {advice}")
    missing = [program for program in ("apt-get", "apt-cache", "apt-config", "dpkg", "dpkg-deb") if shutil.which(program) is None]
    if missing:
        raise InstallError(f"Janus is installed from Debian's packages, and this machine has no {missing[0]}. {advice}")
    if not KEYRING.exists():
        raise InstallError(
            f"{KEYRING} is missing: install the package debian-archive-keyring, which Debian's packages are checked with."
        )
    architecture = run(("dpkg", "--print-architecture"), "The architecture is not known").strip()
    if architecture not in ARCHITECTURES:
        raise InstallError(
            f"Janus is installed on {' and '.join(ARCHITECTURES)} only, and this machine is {architecture}. {advice}"
        )
    return architecture


def find_mirror() -> str | None:
    """The mirror of Debian that the machine's own sources name, in either format (sources.list(5)); None without one."""
    fields = "$(IDENTIFIER)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    command = ("apt-get", "indextargets", "--no-release-info", "--format", fields)
    for line in run(command, "apt's sources cannot be read").splitlines():
        identifier, _, rest = line.partition("|")
        uri, release, component = [*rest.split("|"), "", ""][:3]
        if identifier == "Packages" and release in RELEASES and component == "main" and not uri.startswith("cdrom:"):
            return uri.rstrip("/")
    return None


def unpack(package: Path, folder: Path) -> None:
    """Unpack the files of a package. Raises InstallError with a full disk."""
    run(("dpkg-deb", "--extract", str(package), str(folder)), f"{package.name} cannot be unpacked")


def run(
    command: Sequence[str], failure: str, *, seconds: float = QUERY_SECONDS, cwd: Path | None = None, **environment: str
) -> str:
    """What a command writes to its output. Raises InstallError with its last complaint when it fails."""
    try:
        # env(1) adds to our environment, in which proxies may be named.
        added = ("LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", *(f"{name}={value}" for name, value in environment.items()))
        done = subprocess.run(  # noqa: S603  (the commands are this module's own)
            ["/usr/bin/env", *added, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            cwd=cwd,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InstallError(f"{failure}: {command[0]} took longer than {seconds:g} s.") from None
    except OSError as fault:
        raise InstallError(f"{failure}: {fault}.") from None
    if done.returncode != 0:
        raise InstallError(f"{failure}: {_complaint(done.stderr or done.stdout) or f'{command[0]} ended with {done.returncode}'}")
    return done.stdout


def _complaint(text: str) -> str:
    """What apt complained of first; what comes after it only follows from it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [
        line.removeprefix("E:").removeprefix("dpkg-deb: error:").strip() for line in lines if "rror:" in line or line[:2] == "E:"
    ]
    return "".join(character for character in (errors or lines[-1:] or [""])[0] if character.isprintable())[:REASON_CHARACTERS]


def _configuration(folder: Path, architecture: str) -> str:
    """apt.conf(5). The first file that apt reads: it keeps apt from reading those of the machine, which have hooks."""
    machine = run(("apt-config", "dump"), "apt's configuration cannot be read").splitlines()
    kept = [
        line for line in machine if line.startswith("Acquire::") and not line.startswith(("Acquire::Changelogs", "Acquire::Index"))
    ]
    ours = {
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": "/dev/null",
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State": folder,
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Architecture": architecture,
        "APT::Get::AllowUnauthenticated": "false",
        "Acquire::AllowInsecureRepositories": "false",
        "Acquire::AllowWeakRepositories": "false",
        "Acquire::AllowDowngradeToInsecureRepositories": "false",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
    }
    last = [f'APT::Architectures {{ "{architecture}"; }};']
    return "\n".join([*kept, *(f'{name} "{value}";' for name, value in ours.items()), *last]) + "\n"


def _parse(paragraph: str) -> Package:
    fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and not line.startswith(" "))
    groups = f"{fields.get('Pre-Depends', '')},{fields.get('Depends', '')}".split(",")
    depends = tuple(
        tuple(name.split()[0].partition(":")[0] for name in group.split("|") if name.strip()) for group in groups if group.strip()
    )
    return Package(fields["Package"], fields["Version"], depends)
