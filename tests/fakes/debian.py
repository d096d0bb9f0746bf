"""A mirror of Debian in a folder, signed by a key of its own, with a Janus that is the installed one in other packages."""

import hashlib
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

from secureconnect.installer.elf import ElfFile
from secureconnect.media.janus_bundle import JanusBundle

LIBRARIES = "usr/lib/libraries"
OF_LIBC = ("ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libc.so.6", "libm.so.6", "libresolv.so.2")


@dataclass
class Mirror:
    """`url` is what apt downloads from, `keyring` what it checks it with."""

    folder: Path
    bundle: JanusBundle
    architecture: str
    packages: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"file:{self.folder / 'mirror'}"

    @property
    def keyring(self) -> Path:
        return self.folder / "keyring.gpg"

    def make(self, version: str = "1.4.1+ds-4") -> None:
        """Packages of Janus in this version, and of what it needs; one that is depended on and needed by no file; signed."""
        libraries = self._libraries()
        libc = {f"{LIBRARIES}/{name}": path for name, path in libraries.items() if name in OF_LIBC}
        rest = {f"{LIBRARIES}/{name}": path for name, path in libraries.items() if name not in OF_LIBC and "gcc_s" not in name}
        janus = self.bundle.folder / "programs/janus"
        modules = {
            f"usr/lib/janus/{kind}/{path.name}": path
            for kind in ("plugins", "transports")
            for path in (self.bundle.folder / kind).iterdir()
        }
        self._add("janus", version, ("libc6", "libjanus1", "libunused1"), {"usr/bin/janus": janus, **modules})
        # It starts and prints its help, and that is all that an installation asks of the converter.
        self._add("janus-tools", version, ("libc6", "libjanus1"), {"usr/bin/janus-pp-rec": janus})
        self._add("libjanus1", "1", ("libc6",), rest)
        self._add("libc6", "2", ("libgcc-s1",), libc)
        self._add("libgcc-s1", "3", (), {f"{LIBRARIES}/libgcc_s.so.1": libraries["libgcc_s.so.1"]})
        self._add("libunused1", "4", ("libhuge1",), {})
        self._add("libhuge1", "5", (), {})
        self.sign()

    def sign(self, by: str = "debian@example.org") -> None:
        """Write the list of packages, and sign what is in it."""
        home, dists = self.folder / "gnupg", self.folder / "mirror/dists/forky"
        home.mkdir(mode=0o700, exist_ok=True)
        gpg = ("gpg", "--batch", "--quiet", "--yes", "--homedir", str(home), "--pinentry-mode", "loopback", "--passphrase", "")
        if subprocess.run([*gpg, "--list-keys", by], capture_output=True, check=False).returncode != 0:
            subprocess.run([*gpg, "--quick-gen-key", by, "ed25519", "sign", "never"], check=True, capture_output=True)
        if not self.keyring.exists():
            subprocess.run([*gpg, "--output", str(self.keyring), "--export", by], check=True)
            self.keyring.chmod(0o644)
        place = f"main/binary-{self.architecture}/Packages"
        (dists / place).parent.mkdir(parents=True, exist_ok=True)
        content = "\n\n".join(self.packages.values()).encode() + b"\n"
        (dists / place).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        release = (
            f"Origin: Debian\nSuite: testing\nCodename: forky\nDate: {formatdate(usegmt=True)}\n"
            f"Architectures: {self.architecture}\nComponents: main\nSHA256:\n {digest} {len(content)} {place}\n"
        )
        (dists / "Release").write_text(release)
        subprocess.run(
            [*gpg, "--local-user", by, "--output", str(dists / "InRelease"), "--clearsign", str(dists / "Release")],
            check=True,
            capture_output=True,
        )

    def archive(self, name: str) -> Path:
        """The file of a package."""
        return next((self.folder / "mirror/pool").glob(f"{name}_*.deb"))

    def _add(self, name: str, version: str, depends: Iterable[str], files: Mapping[str, Path]) -> None:
        root, pool = self.folder / "build", self.folder / "mirror/pool"
        pool.mkdir(parents=True, exist_ok=True)
        for place, source in files.items():
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, root / place)
        licence = root / "usr/share/doc" / name / "copyright"
        licence.parent.mkdir(parents=True)
        licence.write_text(f"The licence of {name}.\n")
        (root / "DEBIAN").mkdir(mode=0o755)
        needs = f"Depends: {', '.join(depends)}\n" if depends else ""
        control = (
            f"Package: {name}\nVersion: {version}\nArchitecture: {self.architecture}\nMaintainer: Tests <t@example.org>\n{needs}"
            f"Description: for tests\n"
        )
        (root / "DEBIAN/control").write_text(control)
        path = pool / f"{name}_{version}_{self.architecture}.deb"
        for old in pool.glob(f"{name}_*.deb"):
            old.unlink()
        subprocess.run(
            ["dpkg-deb", "-Znone", "--root-owner-group", "--build", str(root), str(path)], check=True, capture_output=True
        )
        shutil.rmtree(root)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.packages[name] = (
            f"{control}Filename: {path.relative_to(self.folder / 'mirror')}\nSize: {path.stat().st_size}\nSHA256: {digest}"
        )

    def _libraries(self) -> dict[str, Path]:
        """What Janus and its modules need, by name."""
        library = self.bundle.folder / "lib"
        waiting = [
            self.bundle.folder / "programs/janus",
            *self.bundle.folder.glob("plugins/*"),
            *self.bundle.folder.glob("transports/*"),
        ]
        found: dict[str, Path] = {}
        extra = ["libgcc_s.so.1", "libsoftokn3.so", "libfreeblpriv3.so"]
        while waiting or extra:
            names = [*(ElfFile(waiting.pop()).needed if waiting else ()), *extra]
            extra = []
            for name in names:
                if name not in found and (library / name).exists():
                    found[name] = library / name
                    waiting.append(library / name)
        return found
