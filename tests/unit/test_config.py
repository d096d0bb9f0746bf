"""Settings: where each comes from, which one wins, and that a mistake is named."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from secureconnect.config import PREFIX, ConfigurationError, Settings, load_settings


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        file = tmp_path / "secureconnect.toml"
        file.write_text(text)
        return file

    return write


def test_everything_has_a_default_that_works_on_a_laptop() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.bus_url) == ("127.0.0.1", 9090, "memory://")
    assert settings.database == f"sqlite+aiosqlite:///{Path('data').resolve() / 'secureconnect.sqlite3'}"


def test_every_setting_explains_itself() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


class TestSources:
    def test_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECURECONNECT_PORT", "8081")
        monkeypatch.setenv("SECURECONNECT_ALLOWED_ORIGINS", '["https://chat.example"]')
        settings = load_settings()
        assert (settings.port, settings.allowed_origins) == (8081, ["https://chat.example"])

    def test_a_file(self, written: Callable[[str], Path]) -> None:
        settings = load_settings(written('port = 8082\nrate_limits = "off"\n'))
        assert (settings.port, settings.rate_limits) == (8082, "off")

    def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
        self, monkeypatch: pytest.MonkeyPatch, written: Callable[[str], Path]
    ) -> None:
        file = written('port = 1\nhost = "file"\nlog_level = "error"\n')
        monkeypatch.setenv("SECURECONNECT_PORT", "2")
        monkeypatch.setenv("SECURECONNECT_HOST", "environment")
        settings = load_settings(file, port=3)
        assert (settings.port, settings.host, settings.log_level) == (3, "environment", "error")

    def test_what_the_command_line_leaves_out_counts_for_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECURECONNECT_PORT", "2")
        assert load_settings(None, port=None).port == 2

    def test_one_file_does_not_stay_for_the_next(self, written: Callable[[str], Path]) -> None:
        load_settings(written("port = 8082"))
        assert load_settings().port == 9090


class TestMistakes:
    def test_an_unknown_setting_in_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECURECONNECT_PROT", "1")
        with pytest.raises(ConfigurationError, match="SECURECONNECT_PROT"):
            load_settings()

    def test_an_unknown_setting_in_the_file(self, written: Callable[[str], Path]) -> None:
        with pytest.raises(ConfigurationError, match="prot"):
            load_settings(written("prot = 1"))

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"absent\.toml"):
            load_settings(tmp_path / "absent.toml")

    def test_a_file_that_is_not_toml(self, written: Callable[[str], Path]) -> None:
        with pytest.raises(ConfigurationError, match="toml"):
            load_settings(written("port ="))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("PORT", "many"), ("PORT", "70000"), ("RATE_LIMITS", "perhaps"), ("GRACE_SECONDS", "0"), ("MAX_SOCKETS", "0")),
            *(("LOG_LEVEL", "loud"), ("ACCESS_TOKEN_SECONDS", "1"), ("JWT_SECRET", "too short")),
        ],
    )
    def test_an_unusable_value_is_named(self, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
        monkeypatch.setenv(PREFIX + name, value)
        with pytest.raises(ConfigurationError, match=name.lower()):
            load_settings()

    def test_a_secret_is_not_repeated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECURECONNECT_JWT_SECRET", "too short")
        with pytest.raises(ConfigurationError) as refusal:
            load_settings()
        assert "too short" not in str(refusal.value)


def test_a_secret_does_not_show() -> None:
    secret = "a secret of the tests, forty characters.."
    settings = load_settings(jwt_secret=secret)
    assert secret not in repr(settings)
    assert settings.jwt_secret is not None
    assert settings.jwt_secret.get_secret_value() == secret


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        load_settings().port = 1


def test_a_database_may_be_named() -> None:
    assert load_settings(database_url="postgresql+asyncpg://db/x").database == "postgresql+asyncpg://db/x"


class TestServices:
    SHARED: ClassVar[dict[str, Any]] = {"database_url": "postgresql+asyncpg://localhost/calls", "bus_url": "redis://localhost"}

    @pytest.mark.parametrize(("services", "port"), [("auth", 8080), ("chat", 8082), (" video ", 8083), ("auth,chat", 9090)])
    def test_one_alone_has_a_port_of_its_own(self, services: str, port: int) -> None:
        assert load_settings(services=services, **self.SHARED).port == port

    def test_a_port_that_is_named_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECURECONNECT_PORT", "0")
        assert load_settings(services="auth", **self.SHARED).port == 0

    def test_their_order_does_not_matter(self) -> None:
        settings = load_settings(services="video, chat,auth,chat")
        assert settings.services == "auth,chat,video"
        assert settings.service == "secureconnect"
        assert load_settings(services="video,chat", **self.SHARED).service == "chat,video"

    @pytest.mark.parametrize("services", ["audio", "", "auth,", "auth chat"])
    def test_a_name_that_is_none(self, services: str) -> None:
        with pytest.raises(ConfigurationError, match="setting services: there is no service"):
            load_settings(services=services, **self.SHARED)

    @pytest.mark.parametrize("missing", ["database_url", "bus_url"])
    def test_a_part_needs_what_parts_meet_in(self, missing: str) -> None:
        shared = {name: value for name, value in self.SHARED.items() if name != missing}
        with pytest.raises(ConfigurationError, match=r"services: .*PostgreSQL.*Redis"):
            load_settings(services="chat", **shared)


class TestDrain:
    def test_alone_there_is_nowhere_to_send_anybody(self) -> None:
        assert load_settings().drain == 0

    def test_with_others_it_takes_ten_seconds_and_never_most_of_the_grace(self) -> None:
        assert load_settings(bus_url="redis://localhost").drain == 10
        assert load_settings(bus_url="redis://localhost", grace_seconds=3.0).drain == 1

    def test_whoever_obeys_must_not_come_too_late(self) -> None:
        assert load_settings(drain_seconds=29.0).drain == 29
        with pytest.raises(ConfigurationError, match=r"^drain_seconds: must be less than grace_seconds"):
            load_settings(drain_seconds=30.0)
