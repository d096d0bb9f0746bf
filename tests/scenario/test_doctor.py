"""The doctor finds nothing where all is well, and each fault where it was made: for real, one at a time."""

import asyncio
import json
import os
import resource
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from secureconnect.clock import SystemClock
from secureconnect.config import Settings, load_settings
from secureconnect.doctor import machine, port, recording, report, shared
from secureconnect.doctor.finding import Finding, Verdict
from secureconnect.store import open_database
from secureconnect.store.schema import migrate
from tests.fakes.postgres import running_postgres
from tests.fakes.redis import RedisServer
from tests.fakes.server import SECRET, ServerProcess

pytestmark = pytest.mark.anyio

STRONG = "Zk3vT0x9mQpL7sWd2RfYb8HnUcJ5gEaK1oVi"


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with running_postgres() as url:
        yield url


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def migrated(postgres: str) -> AsyncIterator[str]:
    database = open_database(postgres)
    await migrate(database)
    yield postgres
    await database.close()


async def doctor(data_dir: Path, *arguments: str, **settings: str) -> tuple[int, dict[str, dict[str, str]]]:
    """`secureconnect doctor --json`: its exit status, and its findings by subject."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SECURECONNECT_")}
    environment |= {f"SECURECONNECT_{name}": value for name, value in {"MAX_SOCKETS": "100", **settings}.items()}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "secureconnect", "doctor", "--json", "--data-dir", str(data_dir), *arguments),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert err == b""
    answer: dict[str, Any] = json.loads(out)
    assert process.returncode is not None
    assert answer["healthy"] is (process.returncode == 0)
    return process.returncode, {one["subject"]: one for one in answer["findings"]}


def verdicts(findings: dict[str, dict[str, str]]) -> dict[str, str]:
    return {subject: one["verdict"] for subject, one in findings.items()}


def settings(folder: Path, **given: Any) -> Settings:
    return load_settings(data_dir=folder, **given)


def is_failure(finding: Finding, *words: str) -> bool:
    assert all(word in finding.detail for word in words), finding
    return finding.verdict is Verdict.FAILED and finding.advice != ""


# --- All is well --------------------------------------------------------------------------------------------------------------


async def test_before_the_first_start(tmp_path: Path) -> None:
    status, findings = await doctor(tmp_path / "data", "--port", "0")
    assert status == 0
    assert verdicts(findings) == {
        **dict.fromkeys(("settings", "python", "data directory", "open files", "address", "bus"), "ok"),
        **dict.fromkeys(("TURN udp", "TURN tcp", "TURN limits", "SFU", "recording"), "ok"),
        **dict.fromkeys(
            ("secret", "port", "metrics", "TLS", "database", "schema", "write", "database clock", "webhook"), "skipped"
        ),
    }
    assert not (tmp_path / "data").exists(), "it changes nothing"


async def test_beside_the_running_server(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path) as server:
        at = str(server.metrics_port)
        status, findings = await doctor(tmp_path, "--port", str(server.port), JWT_SECRET=SECRET, METRICS_PORT=at)
        taken = await port.metrics(settings(tmp_path, port=server.metrics_port, metrics_port=server.port))
    assert status == 0
    assert findings["metrics"]["detail"] == f"127.0.0.1:{at} is ours"
    assert is_failure(taken, "is taken by something else")
    assert {subject for subject, verdict in verdicts(findings).items() if verdict == "skipped"} == {
        *("TLS", "database clock", "webhook")
    }
    assert "is ours: secureconnect" in findings["port"]["detail"]


async def test_a_node_of_many(tmp_path: Path, migrated: str, redis: RedisServer) -> None:
    status, findings = await doctor(
        tmp_path, "--port", "0", "--services", "chat", DATABASE_URL=migrated, BUS_URL=redis.url, JWT_SECRET=STRONG
    )
    assert status == 0
    assert {subject for subject, verdict in verdicts(findings).items() if verdict == "skipped"} == {
        *("data directory", "port", "metrics", "TLS", "TURN", "SFU", "recording", "webhook")
    }
    assert findings["database"]["detail"] == "postgresql, serializable"
    assert findings["bus"]["detail"].startswith(f"redis://127.0.0.1:{redis.port}, heard after ")


# --- One fault at a time ------------------------------------------------------------------------------------------------------


async def test_recordings_that_nobody_could_keep_or_read(tmp_path: Path) -> None:
    away = {"sfu_servers": [{"name": "one", "url": "ws://192.0.2.1:8188", "secret": "s"}]}
    (tmp_path / "a file").touch()
    store = (tmp_path / "a file" / "films").as_uri()
    assert is_failure(await recording.recording(settings(tmp_path, recording_store=store)), store)
    elsewhere = settings(tmp_path, **away, recording_dir=tmp_path / "not mounted")
    assert is_failure(await recording.recording(elsewhere), "not mounted", "is not there")
    unset = await recording.recording(settings(tmp_path, **away))
    assert unset.verdict is Verdict.SKIPPED
    assert "recording_dir" in unset.detail


@pytest.mark.parametrize(("name", "value"), [("PORT", "many"), ("SERVICES", "chat"), ("BUS_URL", "nats://there")])
async def test_settings_that_cannot_be_used(tmp_path: Path, name: str, value: str) -> None:
    status, findings = await doctor(tmp_path, **{name: value})
    assert status == 1
    assert verdicts(findings) == {"settings": "failed"}
    assert name.lower() in findings["settings"]["detail"]


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.touch()
    assert is_failure(machine.data_dir(settings(file)), "cannot be written")
    assert is_failure(machine.data_dir(settings(file / "below")), "cannot be made")


def test_a_data_directory_that_others_can_get_at(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert is_failure(machine.data_dir(settings(tmp_path)), "mode 0777")
    for mode in (0o755, 0o750, 0o701):
        tmp_path.chmod(mode)
        assert is_failure(machine.data_dir(settings(tmp_path)), f"mode {mode:04o}: other users")
    tmp_path.chmod(0o700)
    for name in ("jwt_secret", "secureconnect.sqlite3", "secureconnect.sqlite3-wal", "lock"):
        (tmp_path / name).touch(mode=0o644)
        (tmp_path / name).chmod(0o644)
        assert is_failure(machine.data_dir(settings(tmp_path)), f"{name} has mode 0644")
        (tmp_path / name).unlink()
    assert machine.data_dir(settings(tmp_path)).verdict is Verdict.OK
    assert machine.data_dir(settings(tmp_path)).advice == ""


@pytest.mark.parametrize("weak", ["a" * 64, "change-me-" * 5, "0123456789" * 4, "passwordpasswordpasswordpassword"])
def test_a_secret_that_can_be_guessed(tmp_path: Path, weak: str) -> None:
    finding = machine.secret(settings(tmp_path, jwt_secret=weak))
    assert is_failure(finding, "easy to guess")
    assert weak not in str(finding)
    assert machine.secret(settings(tmp_path, jwt_secret=STRONG)).verdict is Verdict.OK
    assert machine.secret(settings(tmp_path, jwt_secret=os.urandom(16).hex())).verdict is Verdict.OK


def test_a_secret_that_others_can_read_or_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "jwt_secret"
    file.write_text(STRONG)
    file.chmod(0o644)
    assert is_failure(machine.secret(settings(tmp_path)), "mode 0644")
    file.chmod(0o600)
    assert machine.secret(settings(tmp_path)).verdict is Verdict.OK
    file.write_text("short")
    assert is_failure(machine.secret(settings(tmp_path)), "easy to guess")
    file.write_bytes(b"\xff" * 40)
    assert is_failure(machine.secret(settings(tmp_path)), "cannot be read")
    assert is_failure(machine.secret(settings(tmp_path, database_url="postgresql+asyncpg://localhost/calls")), "none")


def test_too_few_open_files(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("no limit here")
    assert is_failure(machine.open_files(settings(tmp_path, max_sockets=hard)), f"at most {hard}")


async def test_a_port_that_somebody_else_has(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]

        async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{"status": "up"}'[:-1])
            writer.close()

        async with await asyncio.start_server(refuse, sock=taken):
            assert is_failure(await port.port(settings(tmp_path, port=number)), str(number), "in use")


async def test_a_database_that_is_not_there(tmp_path: Path, postgres: str) -> None:
    elsewhere = postgres.rpartition("/")[0] + "/nowhere"
    for url in ("postgresql+asyncpg://me:hidden@127.0.0.1:1/calls", elsewhere, "nonsense", "oracle+magic://there"):
        findings = await shared.database(settings(tmp_path, database_url=url))
        assert is_failure(findings[0])
        assert [one.verdict for one in findings[1:]] == [Verdict.SKIPPED] * 3
        assert "hidden" not in str(findings)


async def test_a_schema_that_nobody_made(tmp_path: Path, postgres: str) -> None:
    fresh = postgres.rpartition("/")[0] + "/template1"
    database, schema, write, clock = await shared.database(settings(tmp_path, database_url=fresh))
    assert is_failure(schema, "at None")
    assert "secureconnect migrate" in schema.advice
    assert [database.verdict, write.verdict, clock.verdict] == [Verdict.OK, Verdict.SKIPPED, Verdict.OK]


async def test_a_database_that_takes_no_write(tmp_path: Path, migrated: str) -> None:
    owner = open_database(migrated)
    for statement in ("CREATE ROLE reader LOGIN", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"):
        await owner.run_sync(lambda connection, statement=statement: connection.exec_driver_sql(statement))  # type: ignore[misc]
    await owner.close()
    findings = await shared.database(settings(tmp_path, database_url=migrated.replace("postgres@", "reader@")))
    assert [one.verdict for one in findings] == [Verdict.OK, Verdict.OK, Verdict.FAILED, Verdict.OK]
    assert is_failure(findings[2], "permission denied")


async def test_clocks_that_differ(tmp_path: Path, migrated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(SystemClock):
        def now(self) -> datetime:
            return super().now() - timedelta(seconds=3)

    monkeypatch.setattr(shared, "SystemClock", Slow)
    findings = await shared.database(settings(tmp_path, database_url=migrated))
    assert is_failure(findings[3], "3.0 s from ours")


async def test_a_bus_that_is_away(tmp_path: Path) -> None:
    finding = await shared.bus(settings(tmp_path, bus_url="redis://me:hidden@127.0.0.1:1"))
    assert is_failure(finding, "redis://127.0.0.1:1")
    assert "hidden" not in str(finding)


async def test_a_bus_for_one_beside_a_database_for_many(tmp_path: Path) -> None:
    finding = await shared.bus(settings(tmp_path, database_url="postgresql+asyncpg://localhost/calls"))
    assert finding.verdict is Verdict.OK
    assert "no other node" in finding.detail


# --- TLS ----------------------------------------------------------------------------------------------------------------------


def write_pair(folder: Path, *, begins: timedelta, ends: timedelta, key: ec.EllipticCurvePrivateKey | None = None) -> None:
    """cert.pem, valid between the two from now, and key.pem, which is another one's when `key` is given."""
    own = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "calls.example.com")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .sign(own, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes((key or own).private_bytes(*form))


def tls(folder: Path) -> Finding:
    return port.tls(settings(folder, tls_certificate=folder / "cert.pem", tls_key=folder / "key.pem"))


def test_certificates_in_and_out_of_their_time(tmp_path: Path) -> None:
    day = timedelta(days=1)
    write_pair(tmp_path, begins=-day, ends=90 * day)
    assert (tls(tmp_path).verdict, tls(tmp_path).advice) == (Verdict.OK, "")
    write_pair(tmp_path, begins=-day, ends=3 * day)
    assert (tls(tmp_path).verdict, tls(tmp_path).advice) == (Verdict.OK, "renew it soon, and restart")
    write_pair(tmp_path, begins=-9 * day, ends=-day)
    assert is_failure(tls(tmp_path), "expired")
    write_pair(tmp_path, begins=day, ends=9 * day)
    assert is_failure(tls(tmp_path), "valid only from")


def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    assert is_failure(tls(tmp_path), "No such file")
    write_pair(tmp_path, begins=timedelta(0), ends=timedelta(days=90), key=ec.generate_private_key(ec.SECP256R1()))
    assert is_failure(tls(tmp_path), "mismatch")
    (tmp_path / "cert.pem").write_text("no certificate")
    assert is_failure(tls(tmp_path), "cannot be used")
    assert is_failure(port.tls(settings(tmp_path, tls_key=tmp_path / "key.pem")), "missing")


def test_a_table_for_people() -> None:
    findings = [Finding("bus", Verdict.FAILED, "[Errno 111] refused", "start it"), Finding("TLS", Verdict.SKIPPED, "none")]
    table = report.as_table(findings)
    assert table.row_count == 2
    assert not report.is_healthy(findings)
    assert report.is_healthy(findings[1:])
