"""A secret that was only half kept, as after a power cut, signs no tokens: anybody could sign with it."""

from pathlib import Path

import pytest

from secureconnect.config import ConfigurationError, load_settings
from secureconnect.data_dir import SECRET_FILE, shared_secret


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
