"""A secret that was only half kept, as after a power cut, signs no tokens: anybody could sign with it."""

import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from secureconnect.config import ConfigurationError, load_settings
from secureconnect.data_dir import SECRET_FILE, open_to_others, restrict, shared_secret


def test_a_secret_is_made_once_and_is_private(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    secret = shared_secret(settings)
    assert len(secret) >= 32
    assert shared_secret(settings) == secret
    assert (tmp_path / SECRET_FILE).stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == [SECRET_FILE]


def test_an_empty_file_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / SECRET_FILE).touch()
    with pytest.raises(ConfigurationError, match=SECRET_FILE):
        shared_secret(load_settings(data_dir=tmp_path))


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}


def test_what_others_could_get_at_is_closed_and_nothing_else_is_touched(tmp_path: Path) -> None:
    home = tmp_path / "data"
    (home / "recordings/films").mkdir(parents=True)
    ours = ["jwt_secret", "vapid_private_key", "lock", *(f"secureconnect.sqlite3{suffix}" for suffix in ("", "-wal", "-shm"))]
    for name in (*ours, "of the operator"):
        (home / name).touch()
    for path in (home, *home.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    settings = load_settings(data_dir=home)
    assert {path.name for path in open_to_others(settings)} == {"data", "recordings", "films", *ours}
    with capture_logs() as lines:
        restrict(settings)
        restrict(settings)
    assert modes(home) == {"data": 0o700, "recordings": 0o700, "films": 0o700, "of the operator": 0o644} | dict.fromkeys(
        ours, 0o600
    )
    assert [(line["event"], line["paths"]) for line in lines] == [("data directory was open to others", 9)]


def test_a_folder_that_is_not_ours_alone_keeps_its_mode(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "jwt_secret").touch(mode=0o644)
    (shared / "lock").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").touch(mode=0o644)
    restrict(load_settings(data_dir=shared))
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
    assert stat.S_IMODE((shared / "jwt_secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode) == 0o644
    restrict(load_settings(data_dir=tmp_path / "not there"))
    for folder, files, mode in (("empty", (), 0o700), ("home of somebody", ("letter",), 0o755)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder).chmod(0o755)
        for name in files:
            (tmp_path / folder / name).touch()
        restrict(load_settings(data_dir=tmp_path / folder))
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == mode, "what holds something else first is not ours"
