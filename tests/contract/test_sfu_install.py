"""`secureconnect sfu install` with the real apt and dpkg, from a signed mirror in a folder: it is complete, or nothing is there."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from secureconnect.installer import InstallError, debian, install
from secureconnect.media.janus_bundle import CURRENT, find_bundle, read_bundle
from tests.fakes.debian import Mirror

WITH_KEYRING = """
import sys
from pathlib import Path
from secureconnect.installer import debian
import secureconnect.installer
debian.KEYRING = Path(sys.argv.pop(1))
secureconnect.installer.NEEDED_MB = int(sys.argv.pop(1))
from secureconnect.cli import main
main()
"""
NOBODY_LISTENS = "http://127.0.0.1:9/debian"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One that apt can read from, which downloads as a user of its own when root starts it."""
    path = Path(tempfile.mkdtemp(prefix="secureconnect-mirror-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def mirror(folder: Path) -> Mirror:
    bundle = find_bundle()
    assert bundle is not None, "run tests/engines"
    mirror = Mirror(folder, bundle, bundle.installation.architecture)
    mirror.make()
    return mirror


@pytest.fixture
def target(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where Janus goes: like the mirror, within reach of others."""
    monkeypatch.setattr(debian, "KEYRING", mirror.keyring)
    path = Path(tempfile.mkdtemp(prefix="secureconnect-target-"))
    path.chmod(0o755)
    yield path / "janus"
    shutil.rmtree(path)


def installed(target: Path) -> list[str]:
    """What is in the folder, without the lock."""
    return sorted(path.name for path in target.iterdir() if path.name != ".lock") if target.exists() else []


def command(mirror: Mirror, target: Path, *, url: str | None = None, needed: int = 200) -> list[str]:
    arguments = ("sfu", "install", "--to", str(target), "--mirror", url or mirror.url)
    return [sys.executable, "-c", WITH_KEYRING, str(mirror.keyring), str(needed), *arguments]


def test_it_installs_what_is_needed_and_nothing_else_once(mirror: Mirror, target: Path) -> None:
    said: list[str] = []
    bundle = install(target, mirror=mirror.url, on_progress=said.append)
    assert bundle.version == (1, 4, 1)
    assert installed(target) == [f"1.4.1+ds-4-{mirror.architecture}", CURRENT]
    assert sorted(bundle.installation.packages) == ["janus", "janus-tools", "libc6", "libgcc-s1", "libjanus1"]
    assert {path.name for path in (bundle.folder / "plugins").iterdir()} == {"libjanus_videoroom.so"}
    assert {path.name for path in (bundle.folder / "transports").iterdir()} == {"libjanus_websockets.so"}
    assert (bundle.folder / "copyright/janus").read_text() == "The licence of janus.\n"
    assert all(path.stat().st_mode & 0o004 for path in bundle.folder.rglob("*")), "each user can start it"
    done = subprocess.run([bundle.folder / "bin/janus", "--version"], capture_output=True, text=True, check=False)
    assert "(1.4.1)" in done.stdout
    assert not any("libhuge1" in sentence for sentence in said)
    assert len(said) >= 4

    again: list[str] = []
    assert install(target, mirror=NOBODY_LISTENS, on_progress=again.append) == bundle
    assert again == [], "nothing is asked of the network"


def test_the_command_prints_where_it_is_and_what_is_in_it(mirror: Mirror, target: Path) -> None:
    first = subprocess.run(command(mirror, target), capture_output=True, text=True, check=False)
    assert (first.returncode, first.stdout) == (0, f"Janus 1.4.1+ds-4 is installed in {target}.\n")
    status = [sys.executable, "-m", "secureconnect", "sfu", "status", "--to", str(target), "--json"]
    shown = json.loads(subprocess.run(status, capture_output=True, text=True, check=True).stdout)
    assert shown["version"] == "1.4.1+ds-4"
    assert shown["packages"]["libc6"] == "2"
    missing = subprocess.run([*status[:-2], str(target / "elsewhere")], capture_output=True, text=True, check=False)
    assert missing.returncode == 1
    assert "sfu install" in missing.stderr


def refusal(mirror: Mirror, target: Path, *, upgrade: bool = False, url: str | None = None) -> str:
    with pytest.raises(InstallError) as refused:
        install(target, mirror=url or mirror.url, upgrade=upgrade, on_progress=lambda sentence: None)
    return str(refused.value)


def test_without_a_network_it_says_so_and_leaves_nothing(mirror: Mirror, target: Path) -> None:
    assert "list of packages cannot be downloaded" in refusal(mirror, target, url=NOBODY_LISTENS)
    assert installed(target) == []
    done = subprocess.run(command(mirror, target, url=NOBODY_LISTENS), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_release_that_another_key_signed_is_refused(mirror: Mirror, target: Path) -> None:
    mirror.sign(by="stranger@example.org")
    try:
        assert "sign" in refusal(mirror, target) or "GPG" in refusal(mirror, target)
        assert installed(target) == []
    finally:
        mirror.sign()


def test_a_package_that_was_changed_is_refused_and_what_was_there_stays(mirror: Mirror, target: Path) -> None:
    before = install(target, mirror=mirror.url, on_progress=lambda sentence: None)
    mirror.make("1.4.2-1")
    archive = mirror.archive("libjanus1")
    content = archive.read_bytes()
    try:
        archive.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert "Packages cannot be downloaded" in refusal(mirror, target, upgrade=True)
        assert read_bundle(target) == before
        assert len(installed(target)) == 2
        archive.write_bytes(content)
        after = install(target, mirror=mirror.url, upgrade=True, on_progress=lambda sentence: None)
        assert after.version == (1, 4, 2)
        assert installed(target) == [f"1.4.2-1-{mirror.architecture}", CURRENT], "the one before is gone"
    finally:
        mirror.make()


@pytest.mark.parametrize("version", ["1.4.0-9", "1.1.2-1", "0.9"])
def test_a_mirror_with_an_old_janus_is_named(mirror: Mirror, target: Path, version: str) -> None:
    mirror.make(version)
    try:
        words = refusal(mirror, target)
        assert version in words
        assert "--mirror" in words
        assert installed(target) == []
    finally:
        mirror.make()


def test_one_that_is_killed_leaves_nothing_that_is_used_and_the_next_one_cleans_up(mirror: Mirror, target: Path) -> None:
    running = subprocess.Popen(command(mirror, target), stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith("Putting Janus together"):
            break
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    running.stderr.close()
    assert read_bundle(target) is None
    assert [name for name in installed(target) if name.startswith(".partial-")]
    install(target, mirror=mirror.url, on_progress=lambda sentence: None)
    assert installed(target) == [f"1.4.1+ds-4-{mirror.architecture}", CURRENT]


def test_two_at_once_wait_for_each_other(mirror: Mirror, target: Path) -> None:
    both = [subprocess.Popen(command(mirror, target), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [one.communicate(timeout=120) for one in both]
    assert [one.returncode for one in both] == [0, 0], ends
    assert {out for out, _ in ends} == {f"Janus 1.4.1+ds-4 is installed in {target}.\n"}
    assert sum("Putting Janus together" in errors for _, errors in ends) == 1
    assert sum("waiting" in errors for _, errors in ends) == 1


@pytest.mark.parametrize(("needed", "words"), [(600, "not enough space"), (0, "no space left")], ids=["before", "while it runs"])
def test_a_full_disk_leaves_nothing(mirror: Mirror, target: Path, needed: int, words: str) -> None:
    target.mkdir()
    script = f'mount -t tmpfs -o size=30m none "{target}" && "$@"; status=$?; ls -A "{target}"; exit $status'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *command(mirror, target, needed=needed)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert words in done.stderr
    assert done.stdout.split() == [".lock"]


def test_a_folder_that_cannot_be_written_is_named(mirror: Mirror, target: Path) -> None:
    target.write_text("a file")
    assert str(target) in refusal(mirror, target)


@pytest.mark.parametrize("missing", ["apt-get", "dpkg-deb"])
def test_another_distribution_is_told_what_it_lacks(
    mirror: Mirror, target: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == missing else which(name))
    assert missing in refusal(mirror, target)
    assert installed(target) == []


def test_a_machine_without_debians_keys_is_told_which_package_has_them(
    mirror: Mirror, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "KEYRING", Path("/nowhere/debian-archive-keyring.gpg"))
    assert "install the package debian-archive-keyring" in refusal(mirror, target)


def test_an_architecture_without_janus_is_named(mirror: Mirror, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "ARCHITECTURES", ("m68k",))
    assert mirror.architecture in refusal(mirror, target)


SOURCES = [
    ("sources.list", "deb http://mirror.example.org/debian/ bookworm main\n", "http://mirror.example.org/debian"),
    ("sources.list", "deb [arch=amd64,arm64] https://m.example.org/debian trixie contrib main\n", "https://m.example.org/debian"),
    (
        "sources.list",
        "deb http://security.example.org/debian-security bookworm-security main\ndeb http://m.example.org/d bookworm main\n",
        "http://m.example.org/d",
    ),
    ("sources.list", "# nothing\n", None),
    ("sources.list", "deb http://other.example.org/tool stable-tool main\n", None),
    (
        "sources.list.d/debian.sources",
        "Types: deb deb-src\nURIs: http://mirror.example.org/debian\nSuites: trixie trixie-updates\nComponents: main\n",
        "http://mirror.example.org/debian",
    ),
]


@pytest.mark.parametrize(("place", "text", "expected"), SOURCES)
def test_the_mirror_is_that_of_the_machine(
    place: str, text: str, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / place).write_text(text)
    configuration = tmp_path / "apt.conf"
    configuration.write_text(
        f'Dir::Etc::parts "/dev/null";\nDir::Etc::sourcelist "{tmp_path}/sources.list";\n'
        f'Dir::Etc::sourceparts "{tmp_path}/sources.list.d";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    assert debian.find_mirror() == expected


def test_the_hooks_of_the_machine_are_not_run_and_its_proxies_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = tmp_path / "machine.conf"
    configuration.write_text(
        'Dir::Etc::parts "/dev/null";\nAPT::Update::Post-Invoke { "touch /tmp/hook"; };\n'
        'Acquire::http::Proxy "http://proxy.example.org:3128";\nAcquire::AllowInsecureRepositories "true";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    (tmp_path / "own").mkdir()
    debian.Apt(tmp_path / "own", "amd64", "http://mirror.example.org/debian")
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "own/apt.conf"))
    dumped = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    assert 'Acquire::http::Proxy "http://proxy.example.org:3128";' in dumped
    assert "Post-Invoke" not in dumped
    assert 'Acquire::AllowInsecureRepositories "false";' in dumped
