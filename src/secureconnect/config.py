"""Every setting, its default and a sentence on it. Read by what makes a process (cli, app, doctor); everybody else receives values.

Sources, strongest first: command line, environment (`SECURECONNECT_…`), one TOML file. An unknown setting is refused by name.
"""

import os
import tomllib
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from secureconnect.bus.address import SCHEMES, address_of
from secureconnect.http.origins import NULL, parse_origin
from secureconnect.media.ice import TurnServer
from secureconnect.media.pool import SfuServer
from secureconnect.recording_settings import RecordingSettings
from secureconnect.webhooks.signing import read_secrets

PREFIX = "SECURECONNECT_"
SERVICES = {"auth": 8080, "chat": 8082, "video": 8083}
"""What a process may serve, and the port it takes when it serves nothing else."""
PUSH_SERVICES = ("fcm.googleapis.com", "updates.push.services.mozilla.com", ".notify.windows.com", ".push.apple.com")
"""Those of Chromium, Firefox, Edge and Safari."""
SQLITE_NAME = "secureconnect.sqlite3"
"""The database's file in data_dir."""
NOT_A_SETTING = PREFIX + "TOKEN"
"""What `secureconnect call` reads its access token from; other commands are not disturbed by it."""


class ConfigurationError(Exception):
    """A setting is unknown or unusable; the message names it and says what to write instead."""


class Settings(RecordingSettings):
    """The whole configuration, frozen."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    port: int = Field(
        9090,
        ge=0,
        le=65535,
        description="Port to listen on; 0 takes a free one. With one service alone: auth 8080, chat 8082, video 8083.",
    )
    metrics_host: str = Field("127.0.0.1", description="Address that /metrics listens on.")
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port of /metrics; default port plus 1000, 0 takes a free one. The same as port: beside the API, as in 0.1.",
    )
    services: str = Field(
        ",".join(SERVICES),
        description="What this process serves, separated by commas; less than all needs a shared database and bus.",
    )
    public_url: str | None = Field(None, description="How clients reach us, for links; default from host and port.")
    data_dir: Path = Field(Path("data"), description="Where the SQLite database and generated secrets live.")
    database_url: str | None = Field(None, description="Database; default SQLite in data_dir.")
    bus_url: str = Field(
        "memory://",
        description="What connects nodes: memory:// for one process; redis://host:6379, redis+cluster://host:6379,host:6379 or "
        "redis+sentinel://host:26379,host:26379/mymaster for many.",
    )
    jwt_secret: SecretStr | None = Field(
        None, description="Shared HS256 secret, at least 32 characters; made and kept in data_dir when absent."
    )
    jwt_issuer: str = Field("secureconnect", description="The iss of our own tokens.")
    jwt_audience: str = Field("secureconnect", description="The aud that tokens must carry.")
    jwks: dict[str, str] = Field(
        default_factory=dict, description="Outside identity providers: issuer to the URL of its JWKS, as JSON."
    )
    registration: Literal["open", "invited", "off"] | None = Field(None, description="Who may make an account; see docs/config.md.")
    directory: Literal["off", "conversations", "application"] | None = Field(None, description="Whom a search of people finds.")
    new_member_history: Literal["all", "since_joining"] = Field("since_joining", description="What added people see of the past.")
    access_token_seconds: int = Field(900, ge=30, description="Life of an access token, seconds.")
    max_token_seconds: int = Field(
        86_400, ge=60, description="The longest life of an access token that is accepted, seconds; or access_token_seconds."
    )
    account_tokens: Literal["signed-in", "any"] = Field(
        "signed-in",
        description="Tokens that may name an account with an email: signed-in, those of its own sign-ins; any, also those that an "
        "application signed with jwt_secret, as in 0.1.",
    )
    refresh_token_days: int = Field(30, ge=1, description="Life of a refresh token, days.")
    allowed_origins: list[str] = Field(
        default_factory=list, description="Origins besides our own that may open sockets and call the API, as JSON."
    )
    trusted_proxies: list[str] = Field(
        default_factory=lambda: ["127.0.0.1", "::1"],
        description="Addresses or networks of gateways whose X-Forwarded-For and X-Forwarded-Proto are believed, as JSON.",
    )
    tls_certificate: Path | None = Field(None, description="PEM file; with tls_key, serve HTTPS and secure sockets.")
    tls_key: Path | None = Field(None, description="PEM file of the certificate's key.")
    rate_limits: Literal["on", "off"] = Field("on", description="off switches every rate limit off, for load tests.")
    rings_per_minute: int = Field(10, ge=1, description="Calls and invitations that one person may begin in a minute.")
    rings_of_one: int = Field(20, ge=1, description="How often one person may ring the same other one in ten minutes.")
    max_sockets: int = Field(50_000, ge=1, description="Sockets this process holds; more are refused with 503.")
    sockets_per_user: int = Field(
        20, ge=2, description="Sockets that one user may have at this process; the oldest is closed for one more."
    )
    calls_per_user: int = Field(8, ge=1, description="Calls in which one user may be at the same time.")
    conversations_per_user: int = Field(10_000, ge=1, description="Conversations that one user may own.")
    send_buffer_mib: int = Field(
        128, ge=16, description="What may wait in this process for clients that do not read, MiB; those with most are cut."
    )
    log_mib: int = Field(
        32, ge=8, description="What a bus of one process keeps for clients that come back, MiB; with Redis its maxmemory says that."
    )
    grace_seconds: float = Field(
        30.0, gt=0, description="How long a participant without a socket keeps the place in the call, seconds."
    )
    ping_seconds: float = Field(
        20.0,
        gt=0,
        description="How often sockets are pinged; twice that without a sign of life is a lost socket, seconds.",
    )
    drain_seconds: float | None = Field(
        None,
        ge=0,
        description="Over how long clients are spread that a stopping node asks to come back elsewhere, seconds; "
        "default 10 with a bus that nodes share, 0 with one of its own.",
    )
    shutdown_seconds: float = Field(10.0, gt=0, description="How long shutdown may take after the drain, seconds.")
    stun_urls: list[str] = Field(default_factory=list, description='STUN servers given to clients, as JSON: ["stun:host:3478"].')
    turn_servers: list[TurnServer] = Field(
        default_factory=list,
        description='TURN servers given to clients, as JSON: [{"urls": ["turn:host:3478?transport=udp"], "region": "eu"}].',
    )
    turn_secret: SecretStr | None = Field(None, description="What our TURN servers sign with: coturn's static-auth-secret.")
    turn_seconds: int = Field(3600, ge=60, description="How long credentials for TURN open an allocation, seconds.")
    turn_mbps: int = Field(12_000, ge=12, description="The most that our own coturn relays in all, megabits a second.")
    region: str | None = Field(None, description="Where this node stands: its clients are given the TURN servers of this region.")
    turn: Literal["auto", "off"] = Field(
        "auto", description="auto: serve runs a coturn of its own when it is installed and turn_servers is empty."
    )
    turn_port: int = Field(3478, ge=1, le=65535, description="Where our own coturn listens, UDP and TCP; another if it is taken.")
    turn_tls_port: int = Field(5349, ge=1, le=65535, description="Where our own coturn listens with TLS; another if it is taken.")
    turn_external_ip: IPv4Address | None = Field(
        None, description="The public address that a NAT maps to this machine, for our own coturn."
    )
    sfu_servers: list[SfuServer] = Field(
        default_factory=list,
        description='Janus servers for group calls, as JSON: [{"name": "sfu-1", "url": "ws://10.0.0.5:8188", "secret": "…"}].',
    )
    sfu: Literal["auto", "off"] = Field(
        "auto", description="auto: sfu_servers, or our own Janus processes when installed and the bus is not shared; off: none."
    )
    sfu_processes: int | None = Field(None, ge=1, le=32, description="Janus processes of our own; default: one a core, 4 at most.")
    sfu_allow_version: str | None = Field(
        None, pattern=r"^\d+(\.\d+)+$", description="A version of Janus below 1.4.1 that is used all the same, such as 1.1.2."
    )
    sfu_ports: str = Field(
        "20000-21999", pattern=r"^\d{4,5}-\d{4,5}$", description="UDP ports that media takes at our own Janus, first and last."
    )
    sfu_external_ip: IPv4Address | None = Field(
        None, description="The public address that a NAT maps to this machine, for our own Janus."
    )
    sfu_capacity: int = Field(32, ge=3, le=100, description="People in a call through an SFU; without one it is four.")
    sfu_kbps: int = Field(2500, ge=64, description="The most that one session may send to an SFU, kilobits a second.")
    vapid_private_key: SecretStr | None = Field(
        None, description="Key for Web Push, PEM or 32 bytes as base64url; made and kept in data_dir when absent."
    )
    vapid_subject: str = Field(
        "mailto:operator@localhost",
        pattern=r"^(mailto:|https://).+$",
        description="Where push services reach the operator: mailto: or https:.",
    )
    webpush_hosts: list[str] = Field(
        default_factory=lambda: list(PUSH_SERVICES),
        description="Push services that browsers' subscriptions may lead to; one that begins with a dot is every host below it.",
    )
    fcm_service_account: Path | None = Field(None, description="Google's service account file; with it, push by FCM.")
    fcm_api_url: str = Field("https://fcm.googleapis.com", description="Where FCM listens.")
    apns_key: Path | None = Field(None, description="Signing key from Apple, a .p8 file; with it, push to iOS.")
    apns_key_id: str | None = Field(None, description="The key's id, ten characters.")
    apns_team_id: str | None = Field(None, description="The developer team's id, ten characters.")
    apns_topic: str | None = Field(None, description="The app's bundle id.")
    apns_url: str = Field("https://api.push.apple.com", description="Where APNs listens; builds run from Xcode need the sandbox.")
    webhook_url: str | None = Field(
        None, pattern=r"^https?://.+$", description="Where an outside application hears of calls; needs webhook_secret."
    )
    webhook_secret: SecretStr | None = Field(
        None, description="What webhooks are signed with: whsec_ and base64 of 24 to 64 bytes; while it changes two, with a space."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least important line to write.")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: coloured on a terminal, JSON elsewhere.")

    @field_validator("jwt_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:
            raise ValueError("must have at least 32 characters; `openssl rand -base64 48` makes one")
        return value

    @field_validator("public_url")
    @classmethod
    def _origin_alone(cls, value: str | None) -> str | None:
        if value is None:
            return None
        origin = value.removesuffix("/")
        if not origin.startswith(("http://", "https://")) or parse_origin(origin) is None:
            raise ValueError(
                "must be an origin, as https://calls.example.com: every address of the client begins at the root, so it needs a "
                "host name of its own and cannot live below a path"
            )
        return origin

    @field_validator("allowed_origins")
    @classmethod
    def _origins_only(cls, value: list[str]) -> list[str]:
        wrong = next((text for text in value if text != NULL and parse_origin(text.rstrip("/")) is None), None)
        if wrong is not None:
            raise ValueError(f"{wrong!r} is no origin: write scheme, host and port, as https://chat.example.com")
        return value

    @field_validator("bus_url")
    @classmethod
    def _known_bus(cls, value: str) -> str:
        if urlsplit(value).scheme == "memory":
            return value
        try:
            address_of(value)
        except ValueError as wrong:
            raise ValueError(f"{wrong}; use memory:// or {' or '.join(f'{one}://' for one in SCHEMES)}") from None
        return value

    @model_validator(mode="before")
    @classmethod
    def _port_of_one_service(cls, given: dict[str, Any]) -> dict[str, Any]:
        port = SERVICES.get(str(given.get("services", "")).strip())
        return given if port is None else {"port": port, **given}

    @field_validator("services")
    @classmethod
    def _known_services(cls, value: str) -> str:
        named = {one.strip() for one in value.split(",")}
        unknown = named - SERVICES.keys()
        if unknown:
            raise ValueError(f"there is no service {min(unknown)!r}; name some of {', '.join(SERVICES)}")
        return ",".join(one for one in SERVICES if one in named)

    @model_validator(mode="after")
    def _shared_by_services(self) -> Self:
        if self.served != tuple(SERVICES) and not (self.is_database_shared and self.is_bus_shared):
            raise ValueError(
                "services: processes that serve a part each meet in a database and on a bus: set database_url to PostgreSQL or "
                "CockroachDB and bus_url to Redis, or serve all"
            )
        return self

    @model_validator(mode="after")
    def _drain_within_the_grace(self) -> Self:
        if self.drain >= self.grace_seconds:
            raise ValueError("drain_seconds: must be less than grace_seconds, or whoever does as asked comes back too late")
        return self

    @field_validator("webhook_secret")
    @classmethod
    def _usable_webhook_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            read_secrets(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _webhooks_with_their_secret(self) -> Self:
        if self.webhook_url is not None and self.webhook_secret is None:
            raise ValueError('webhook_url: needs webhook_secret; make one with `echo "whsec_$(openssl rand -base64 32)"`')
        return self

    @model_validator(mode="after")
    def _turn_with_its_secret(self) -> Self:
        if self.turn_servers and self.turn_secret is None:
            raise ValueError("turn_servers: without turn_secret nobody could use them; set it to their static-auth-secret")
        return self

    @field_validator("sfu_ports")
    @classmethod
    def _ports_in_order(cls, value: str) -> str:
        first, last = (int(port) for port in value.split("-"))
        if not 1024 <= first < last <= 65535:
            raise ValueError("must be two ports from 1024 to 65535, the smaller first, as 20000-21999")
        return value

    @field_validator("sfu_servers")
    @classmethod
    def _one_name_each(cls, value: list[SfuServer]) -> list[SfuServer]:
        if len({server.name for server in value}) < len(value):
            raise ValueError("each needs a name of its own: calls remember theirs by it")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def max_token_lifetime(self) -> timedelta:
        """The longest life of an access token: our own are always accepted."""
        return timedelta(seconds=max(self.max_token_seconds, self.access_token_seconds))

    @property
    def drain(self) -> float:
        """Seconds of the drain, with the default filled in: a third of a short grace, and never more than ten seconds."""
        if self.drain_seconds is not None:
            return self.drain_seconds
        return min(10.0, self.grace_seconds / 3) if self.is_bus_shared else 0.0

    @property
    def metrics_listener(self) -> tuple[str, int] | None:
        """Host and port that /metrics listens on; None when it is beside the API."""
        if self.metrics_port is not None:
            return None if self.metrics_port == self.port != 0 else (self.metrics_host, self.metrics_port)
        other = self.port + 1000 if self.port < 64_536 else self.port - 1000
        return self.metrics_host, other if self.port else 0

    @property
    def served(self) -> tuple[str, ...]:
        """The names of what this process serves."""
        return tuple(self.services.split(","))

    @property
    def service(self) -> str:
        """The name by which this process calls itself."""
        return "secureconnect" if self.served == tuple(SERVICES) else self.services

    @property
    def is_database_shared(self) -> bool:
        """Whether other processes may use the database: SQLite's file is one process's own."""
        return not self.database.startswith("sqlite")

    @property
    def is_bus_shared(self) -> bool:
        """Whether other nodes can hear us."""
        return urlsplit(self.bus_url).scheme != "memory"

    @property
    def database(self) -> str:
        """The database's URL, with the default filled in."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir.resolve() / SQLITE_NAME}"


def load_settings(config_file: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings. `overrides` (those that are not None) come from the command line.

    Raises ConfigurationError naming the setting at fault.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {NOT_A_SETTING}
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name.upper() not in known)
    if unknown:
        raise ConfigurationError(f"unknown setting {unknown[0]}: `secureconnect config` lists those there are")
    if config_file is not None and not config_file.is_file():
        raise ConfigurationError(f"no configuration file {config_file}")

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=config_file)

    try:
        return FromFile(**{name: value for name, value in overrides.items() if value is not None})
    except tomllib.TOMLDecodeError as failure:
        raise ConfigurationError(f"{config_file} is not TOML: {failure}") from None
    except ValidationError as failure:
        first = failure.errors()[0]
        name = ".".join(str(part) for part in first["loc"])  # a rule over several settings names them itself
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"setting {name}: {message}" if name else message) from None
