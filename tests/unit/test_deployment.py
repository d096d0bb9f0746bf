"""What deploy/ starts: compose files that the specification allows, settings that exist, addresses that agree, units for systemd.

No container runs here. What can be known without one is asked of the real parsers: compose-spec, systemd-analyze, our own settings.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from secureconnect.api import ops as ops_routes
from secureconnect.config import PREFIX, Settings, load_settings
from secureconnect.media.coturn import CoturnOptions, configuration
from secureconnect.media.janus_bundle import CURRENT, SYSTEM_FOLDER
from secureconnect.server import SPARE_FILES

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE_FILES = ("compose.yaml", "compose.scale.yaml", "compose.coturn.yaml")
UNITS = ("secureconnect.service", "secureconnect@.service")
VARIABLE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")
GIVEN = {
    "SECURECONNECT_JWT_SECRET": "x" * 64,
    "SECURECONNECT_PUBLIC_URL": "https://calls.example.com",
    "SECURECONNECT_VAPID_PRIVATE_KEY": "wC1uWyNkS5JmRMqSVY_ERTBOrHWO6EzqdFbw7I0XH4o",
    "TURN_SECRET": "y" * 64,
    "TURN_ADDRESS": "192.0.2.10",
    "TURN_HOST": "turn.example.com",
    "TURN_EXTERNAL_IP": "203.0.113.10",
    "GATEWAY_PEM": "/etc/secureconnect/gateway.pem",
    "GRAFANA_PASSWORD": "z" * 20,
}


def filled_in(name: str) -> str:
    """A compose file with its variables replaced, as `docker compose` does before it reads it."""

    def value(match: re.Match[str]) -> str:
        variable, how, otherwise = match.groups()
        return GIVEN.get(variable) or (otherwise if how == "-" else pytest.fail(f"{name}: nobody gives {variable}"))

    return VARIABLE.sub(value, (DEPLOY / name).read_text())


def services(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load(filled_in(name))["services"])


def every_service() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in COMPOSE_FILES:
        for name, service in services(file).items():
            yield f"{file} {name}", service


def our_services() -> list[tuple[str, dict[str, Any]]]:
    return [(name, one) for name, one in every_service() if one["image"].startswith("secureconnect:")]


def seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+)s", text)
    assert match is not None, text
    return float(match[1])


def settings_from(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """What `serve` makes of it. Raises ConfigurationError for a setting that does not exist or does not fit."""
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(tmp_path)
    return load_settings()


# --- Compose ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_a_compose_file_is_what_the_specification_says(name: str) -> None:
    assert PyCompose.from_json(json.dumps(yaml.safe_load(filled_in(name)))).service_names()


def test_what_must_be_said_is_in_the_example_and_nothing_else() -> None:
    asked = {match[0] for name in COMPOSE_FILES for match in VARIABLE.findall((DEPLOY / name).read_text())}
    example = re.findall(r"^(\w+)=", (DEPLOY / "env.example").read_text(), re.MULTILINE)
    assert set(example) == asked == set(GIVEN)
    assert len(example) == len(asked)


def test_every_container_says_its_version_and_has_no_rights_that_it_does_not_need() -> None:
    for name, service in every_service():
        tag = service["image"].rpartition(":")[2]
        assert re.match(r"v?\d", tag), f"{name}: {service['image']}"
        if service["image"].startswith("docker.io/cockroachdb/"):
            continue  # its image runs as root and owns its volume
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.get("privileged") is None, name


def test_every_file_that_is_mounted_or_built_from_is_there() -> None:
    for name, service in every_service():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).exists(), f"{name}: {source}"
        build = service.get("build")
        if build:
            context = (DEPLOY / build["context"]).resolve()
            assert (context / build.get("dockerfile", "Dockerfile")).is_file(), name


def test_every_setting_of_a_node_exists_and_fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert len(our_services()) == 5
    for name, service in our_services():
        given = service["environment"] | {"SECURECONNECT_DATA_DIR": str(tmp_path)}
        settings = settings_from(image_environment() | given, monkeypatch, tmp_path)
        assert settings.turn_servers[0].urls == [f"turn:turn.example.com:3478?transport={one}" for one in ("udp", "tcp")], name
        if "scale" in name:
            assert (settings.is_database_shared, settings.is_bus_shared) == (True, True)
        if "stop_grace_period" in service:
            patience = seconds(service["stop_grace_period"])
            assert patience > settings.drain + settings.shutdown_seconds, name
            assert service["ulimits"]["nofile"]["soft"] >= settings.max_sockets + SPARE_FILES, name


def test_gateway_nodes_and_prometheus_agree_where_everybody_is() -> None:
    scale = services("compose.scale.yaml")
    port = image_environment()["SECURECONNECT_PORT"]
    nodes = {name: one["networks"]["inside"]["ipv4_address"] for name, one in scale.items() if name.startswith("node")}
    gateway = scale["gateway"]["environment"]
    configuration_of_gateway = (DEPLOY / "haproxy.cfg").read_text()
    assert all(f"${{{name}" in configuration_of_gateway for name in gateway)
    for kind in ("AUTH", "CHAT", "VIDEO"):
        assert [gateway[f"GATEWAY_{kind}_{number}"] for number in (1, 2, 3)] == [f"{one}:{port}" for one in nodes.values()]
    inner = gateway["GATEWAY_BIND"].removeprefix(":")
    assert scale["gateway"]["ports"] == [f"443:{inner}"]
    where = scale["gateway"]["networks"]["inside"]["ipv4_address"]
    assert json.loads(scale["node1"]["environment"]["SECURECONNECT_TRUSTED_PROXIES"]) == [where]
    targets = yaml.safe_load((DEPLOY / "prometheus/targets/compose.yml").read_text())
    environment = scale["node1"]["environment"]
    assert targets == [{"targets": [f"{name}:{environment['SECURECONNECT_METRICS_PORT']}" for name in nodes]}]
    assert environment["SECURECONNECT_METRICS_HOST"] == "0.0.0.0", "Prometheus comes from another container"
    assert not any("ports" in scale[name] for name in nodes), "and no other can"
    assert scale["grafana"]["environment"]["PROMETHEUS_URL"] == "http://prometheus:9090"


def test_the_node_believes_the_bridge_that_a_proxy_comes_by() -> None:
    compose = yaml.safe_load(filled_in("compose.yaml"))
    node = compose["services"]["secureconnect"]
    (network,) = node["networks"]
    (address,) = compose["networks"][network]["ipam"]["config"]
    assert json.loads(node["environment"]["SECURECONNECT_TRUSTED_PROXIES"]) == [address["gateway"]]
    assert all(port.startswith("127.0.0.1:") for port in node["ports"]), "who comes by the bridge is this machine"


def test_no_container_takes_all_the_memory() -> None:
    for name, service in every_service():
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"]), name
    redis = services("compose.scale.yaml")["bus"]
    limit = redis["command"][redis["command"].index("--maxmemory") + 1]
    assert 2 * int(limit.removesuffix("gb")) <= int(redis["mem_limit"].removesuffix("g"))


def test_coturn_in_a_container_is_as_hard_as_our_own() -> None:
    named = CoturnOptions(address="${TURN_ADDRESS}", secret="${TURN_SECRET}", external_ip="${TURN_EXTERNAL_IP}")
    content = yaml.safe_load((DEPLOY / "compose.coturn.yaml").read_text())["configs"]["coturn"]["content"]
    assert content == configuration(named)


# --- The image ----------------------------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, comments and continued lines taken care of."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines if line.strip()]


def image_environment() -> dict[str, str]:
    given = " ".join(arguments for name, arguments in instructions() if name == "ENV")
    return {name: value for name, value in re.findall(r"(\w+)=(\S+)", given) if name.startswith(PREFIX)}


def test_the_image_has_two_stages_of_debian_and_a_user_without_rights() -> None:
    steps = instructions()
    assert [name for name, _ in steps].count("FROM") == 2
    assert all(arguments.startswith("${DEBIAN}") for name, arguments in steps if name == "FROM")
    last = steps[max(at for at, (name, _) in enumerate(steps) if name == "FROM") :]
    assert [arguments for name, arguments in last if name == "USER"] == ["10001:10001"]
    assert ("ENTRYPOINT", '["secureconnect"]') in last
    assert ("CMD", '["serve"]') in last


def test_the_image_installs_nothing_without_a_hash() -> None:
    installs = [arguments for name, arguments in instructions() if name == "RUN" and re.search(r"\bpip install\b", arguments)]
    assert installs
    assert all("--require-hashes" in arguments and "--hash=sha256:" in arguments for arguments in installs)
    assert all("--frozen" in arguments for name, arguments in instructions() if name == "RUN" and "uv sync" in arguments)


def test_the_notice_of_the_bundle_names_what_is_in_it() -> None:
    folder = ROOT / "src/secureconnect/web/swagger"
    bundle, notice = (folder / "swagger-ui-bundle.js").read_text(), (folder / "NOTICE").read_text()
    found = {
        "swagger-ui": re.search(r'PACKAGE_VERSION:"([\d.]+)"', bundle),
        "DOMPurify": re.search(r'DOMPurify\.version="([\d.]+)"', bundle),
    }
    for name, match in found.items():
        assert match is not None, name
        assert f"{name} {match[1]}" in notice


def test_the_image_is_healthy_while_the_process_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check = next(arguments for name, arguments in instructions() if name == "HEALTHCHECK")
    asked = re.search(r"/health/\w+", check)
    assert asked is not None
    assert any(asked[0] in route.paths for route in ops_routes.routes)
    assert asked[0] == "/health/live", "one that asked its dependencies would be replaced while they are away"
    settings = settings_from(image_environment() | {"SECURECONNECT_DATA_DIR": str(tmp_path)}, monkeypatch, tmp_path)
    assert (settings.host, settings.turn, settings.log_format) == ("0.0.0.0", "off", "json")


def test_the_image_is_built_from_what_the_context_lets_through() -> None:
    let_through = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source.removeprefix("./")
        for name, arguments in instructions()
        if name == "COPY" and "--from" not in arguments
        for source in arguments.split()[:-1]
    }
    assert copied == let_through
    assert all((ROOT / one).exists() for one in copied)


# --- systemd ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units with a program that is there in the place of the installed one, the template once for a port."""
    assert shutil.which("systemd-analyze"), "systemd is not installed: run tests/engines"
    found = []
    for name in UNITS:
        path = tmp_path / name.replace("@", "@9091")
        text = (DEPLOY / name).read_text()
        assert "ExecStart=/opt/secureconnect/.venv/bin/secureconnect serve" in text
        path.write_text(text.replace("/opt/secureconnect/.venv/bin/secureconnect", "/bin/true"))
        found.append(path)
    return found


def test_systemd_takes_the_units_and_finds_little_to_blame(units: list[Path]) -> None:
    for unit in units:
        verified = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
        assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
        asked = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", str(unit)]
        judged = subprocess.run(asked, capture_output=True, text=True, check=False)
        assert judged.returncode == 0, judged.stdout[-2000:]


def test_systemd_takes_the_unit_of_a_janus(tmp_path: Path) -> None:
    unit = tmp_path / "secureconnect-janus.service"
    text = (DEPLOY / "janus" / unit.name).read_text()
    command = f"{SYSTEM_FOLDER}/{CURRENT}/bin/janus"
    assert f"ExecStart={command} -F /etc/secureconnect-janus\n" in text
    unit.write_text(text.replace(command, "/bin/true"))
    verified = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    asked = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", str(unit)]
    judged = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout


def test_a_node_may_restrict_its_janus() -> None:
    for name in UNITS:
        assert "SystemCallFilter=landlock_create_ruleset landlock_add_rule landlock_restrict_self\n" in (DEPLOY / name).read_text()


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_gives_the_node_its_settings_and_its_time(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = (DEPLOY / name).read_text().replace("%i", "9091")
    environment = dict(re.findall(rf"({PREFIX}\w+)=(\S+)", re.search(r"^Environment=(.+)$", text, re.MULTILINE)[1]))  # type: ignore[index]
    if "@" in name:
        assert environment["SECURECONNECT_PORT"] == "9091"
    settings = settings_from(environment, monkeypatch, tmp_path)
    lines = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    assert float(lines["TimeoutStopSec"]) > settings.shutdown_seconds + min(10.0, settings.grace_seconds / 3)
    assert int(lines["LimitNOFILE"]) >= settings.max_sockets + SPARE_FILES
    assert float(lines["RestartSec"]) < settings.grace_seconds / 10
    assert settings.data_dir.is_relative_to(Path("/var/lib") / lines["StateDirectory"])
