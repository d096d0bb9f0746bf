"""Where Janus is installed, and how what is there is started."""

import os
from pathlib import Path

import msgspec
import pytest

from secureconnect.media import janus_bundle
from secureconnect.media.janus_bundle import Installation, default_folder, find_bundle, parse_version, read_bundle


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1.4.1+ds-4+b2", (1, 4, 1)),
        ("1.1.2-1", (1, 1, 2)),
        ("2.0", (2, 0)),
        ("10.0.0~rc1", ()),
        ("", ()),
        ("1.4.x", ()),
        ("1.4.²", ()),
        ("-1.4", ()),
    ],
)
def test_versions_are_numbers_or_nothing(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_version(text) == numbers


def test_versions_are_compared_by_their_numbers() -> None:
    assert parse_version("1.10.0") > parse_version("1.4.1") > parse_version("1.4.0-9") > parse_version("nothing")


@pytest.mark.parametrize(
    ("user", "environment", "folder"),
    [
        (0, {"HOME": "/root", "XDG_DATA_HOME": "/tmp/a"}, "/opt/secureconnect-janus"),
        (1000, {"HOME": "/home/ada"}, "/home/ada/.local/share/secureconnect/janus"),
        (1000, {"HOME": "/home/ada", "XDG_DATA_HOME": "/data"}, "/data/secureconnect/janus"),
        (1000, {"HOME": "/home/ada", "XDG_DATA_HOME": "not/absolute"}, "/home/ada/.local/share/secureconnect/janus"),
        (65534, {"HOME": ""}, "/nonexistent/.local/share/secureconnect/janus"),
        (65534, {}, "/nonexistent/.local/share/secureconnect/janus"),
    ],
)
def test_each_user_has_a_folder(user: int, environment: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert default_folder() == Path(folder)


def test_a_user_that_is_not_in_the_list_of_users_names_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    with pytest.raises(LookupError):
        default_folder()


def put(folder: Path, version: str, content: bytes | None = None) -> None:
    (folder / version).mkdir(parents=True)
    record = msgspec.json.encode(Installation(version=version, architecture="amd64", packages={}))
    (folder / version / janus_bundle.RECORD).write_bytes(record if content is None else content)
    (folder / janus_bundle.CURRENT).symlink_to(version)


def test_a_bundle_is_read_and_names_what_to_start(tmp_path: Path) -> None:
    put(tmp_path, "1.4.1-4")
    bundle = read_bundle(tmp_path)
    assert bundle is not None
    assert bundle.version == (1, 4, 1)
    current = str(tmp_path / "current")
    assert bundle.command("janus") == (
        *(f"{current}/loaders/janus", "--inhibit-cache", "--library-path", f"{current}/lib", "--argv0", "janus"),
        f"{current}/programs/janus",
    )


@pytest.mark.parametrize("content", [b"", b"{}", b"not JSON", b'{"version": 3}'])
def test_a_record_that_cannot_be_read_is_no_bundle(tmp_path: Path, content: bytes) -> None:
    put(tmp_path, "1.4.1", content)
    assert read_bundle(tmp_path) is None
    assert read_bundle(tmp_path / "nothing here") is None


def test_root_looks_only_where_root_installs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "secureconnect/janus", "1.4.2")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(janus_bundle, "SYSTEM_FOLDER", tmp_path / "opt")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert find_bundle() is None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert find_bundle() == read_bundle(tmp_path / "secureconnect/janus")
    put(tmp_path / "opt", "1.4.3")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert find_bundle() == read_bundle(tmp_path / "opt")
