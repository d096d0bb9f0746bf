"""TURN by a real coturn: what `serve` starts relays for whom it should, to where it may, and for nobody else."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aioice import stun

from secureconnect.clock import SystemClock
from secureconnect.config import load_settings
from secureconnect.doctor.finding import Verdict
from secureconnect.doctor.turn import allocate, turn
from secureconnect.media.child import Child
from secureconnect.media.coturn import FORBIDDEN, CoturnOptions, configuration, free_port, program, server_at
from secureconnect.media.ice import parse_turn_url, turn_credentials
from tests.fakes.certificates import self_signed
from tests.fakes.people import Json, World
from tests.fakes.server import ServerProcess

ADDRESS = "10.77.0.1"
SECRET = "what coturn and we know"
PATIENCE = 20.0
EXAMPLE = CoturnOptions(
    address="10.0.0.10",
    secret="REPLACE-WITH-YOUR-turn_secret",
    external_ip="203.0.113.10",
    certificate=Path("/etc/coturn/fullchain.pem"),
    key=Path("/etc/coturn/privkey.pem"),
)

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def running(options: CoturnOptions) -> AsyncIterator[Child]:
    listening = asyncio.Event()
    child = Child(program(options), SystemClock(), on_change=lambda is_up: listening.set())
    task = asyncio.create_task(child.run_once())
    try:
        async with asyncio.timeout(PATIENCE):
            await listening.wait()
        assert child.pid is not None, "coturn did not start"
        yield child
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def on_free_ports(tmp_path: Path) -> CoturnOptions:
    certificate, key = self_signed(tmp_path, ADDRESS)
    return CoturnOptions(
        address=ADDRESS,
        secret=SECRET,
        port=free_port(ADDRESS, 0),
        tls_port=free_port(ADDRESS, 0),
        certificate=certificate,
        key=key,
    )


def credentials(*, seconds: float = 60, secret: str = SECRET) -> tuple[str, str]:
    return turn_credentials(secret, "anna.call", datetime.now(UTC) + timedelta(seconds=seconds))


async def code_of(url: str, name: str, password: str) -> int:
    """What an allocation is refused with."""
    with pytest.raises(stun.TransactionFailed) as refused:
        async with asyncio.timeout(PATIENCE), allocate(url, name, password, trusting=True):
            pass
    return int(refused.value.response.attributes["ERROR-CODE"][0])


async def test_it_relays_over_each_transport_and_refuses_whoever_may_not(tmp_path: Path) -> None:
    options = on_free_ports(tmp_path)
    async with running(options):
        urls = server_at(options, ADDRESS).urls
        assert [parse_turn_url(url)[0] + parse_turn_url(url)[3] for url in urls] == ["turnudp", "turntcp", "turnstcp"]
        for url in urls:
            async with (
                asyncio.timeout(PATIENCE),
                allocate(url, *credentials(), trusting=True) as one,
                allocate(url, *credentials(), trusting=True) as other,
            ):
                await one.permit(other.address)
                await other.permit(one.address)
                await one.send(b"hello", other.address)
                assert await other.receive() == b"hello"
            assert await code_of(url, *credentials(secret="another")) == 401
            assert await code_of(url, *credentials(seconds=-5)) == 401
            assert await code_of(url, "anna", "a name without a time") == 401


async def test_a_user_has_one_quota_whatever_the_credential_says_until_when(tmp_path: Path) -> None:
    """Each call and each test gives the user another name to coturn, with another time; they are counted as one."""
    options = on_free_ports(tmp_path)
    async with running(options), asyncio.timeout(PATIENCE), AsyncExitStack() as opened:
        url = server_at(options).urls[0]
        for number in range(48):
            await opened.enter_async_context(allocate(url, *credentials(seconds=60 + number % 3), trusting=True))
        assert await code_of(url, *credentials(seconds=70)) == 486
        other = turn_credentials(SECRET, "bert", datetime.now(UTC) + timedelta(seconds=60))
        await opened.enter_async_context(allocate(url, *other, trusting=True))


async def test_every_forbidden_range_is_refused_at_both_ends(tmp_path: Path) -> None:
    options = on_free_ports(tmp_path)
    async with running(options), asyncio.timeout(PATIENCE), allocate(server_at(options).urls[0], *credentials()) as one:
        for place in FORBIDDEN:
            for end in place.split("-"):
                with pytest.raises(stun.TransactionFailed) as refused:
                    await one.permit((end, 4000))
                code = refused.value.response.attributes["ERROR-CODE"][0]
                # 443: it has no IPv6 relay to begin with (RFC 8656, section 19).
                assert code in ({443, 403} if ":" in end else {403}), (end, code)
        await one.permit((ADDRESS, 4000))


async def test_ipv4_within_ipv6_is_refused_by_a_relay_that_has_ipv6() -> None:
    """What CVE-2026-27624 lets past a list of IPv4 ranges."""
    text = configuration(EXAMPLE)
    assert "denied-peer-ip=::ffff:0.0.0.0-::ffff:255.255.255.255\n" in text
    assert "denied-peer-ip=64:ff9b::-64:ff9b::ffff:ffff\n" in text


def test_the_configuration_we_ship_is_the_one_we_run() -> None:
    shipped = (Path(__file__).parents[2] / "deploy/coturn.conf").read_text()
    without_its_head = "\n".join(shipped.splitlines()[3:]) + "\n"
    assert without_its_head == configuration(EXAMPLE, log_to="syslog")


async def test_serve_runs_one_and_hands_out_what_opens_it_and_starts_it_again(tmp_path: Path) -> None:
    port = free_port(ADDRESS, 0)
    async with ServerProcess(tmp_path / "data", TURN="auto", TURN_PORT=str(port)) as server:
        world = World(server.url)
        call, [anna, _], _ = await world.call_of("Anna", "Bert")

        async def until_some_are(*, given_out: bool) -> Json:
            async with asyncio.timeout(PATIENCE):
                while True:
                    answer: Json = await anna.ask("GET", f"/v1/calls/{call['call_id']}/ice-servers")
                    if bool(answer["ice_servers"]) is given_out:
                        return answer
                    await asyncio.sleep(0.02)  # the child's end can only be asked for

        async def once_given() -> Json:
            answer = await until_some_are(given_out=True)
            until = datetime.fromisoformat(answer["expires_at"])
            assert timedelta(minutes=59) < until - datetime.now(UTC) <= timedelta(hours=1)
            turned: Json
            [turned] = answer["ice_servers"]
            assert turned["urls"] == [f"turn:{ADDRESS}:{port}?transport={transport}" for transport in ("udp", "tcp")]
            return turned

        turned = await once_given()
        assert turned["username"].endswith(f":{anna.user_id}")
        first = child_of(server.pid)
        os.kill(first, signal.SIGKILL)
        await until_some_are(given_out=False)
        await once_given()
        assert child_of(server.pid) != first
        # What was given before opens it still: the secret is the same.
        async with asyncio.timeout(PATIENCE), allocate(turned["urls"][0], turned["username"], turned["credential"]):
            pass
        await world.close()


def child_of(pid: int) -> int:
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


async def test_the_doctor_asks_a_configured_server_and_says_what_is_wrong(tmp_path: Path) -> None:
    options = on_free_ports(tmp_path)
    async with running(options):
        configured = [{"urls": server_at(options).urls}]
        findings = await turn(load_settings(turn_servers=configured, turn_secret=SECRET))
        assert [finding.verdict for finding in findings] == [Verdict.OK] * 3
        wrong = await turn(load_settings(turn_servers=configured, turn_secret="wrong"))
        assert {finding.verdict for finding in wrong} == {Verdict.FAILED}
        assert "401" in wrong[0].detail
        assert "turn_secret" in wrong[0].advice
    gone = await turn(load_settings(turn_servers=[{"urls": server_at(options).urls[1:]}], turn_secret=SECRET))
    assert {finding.verdict for finding in gone} == {Verdict.FAILED}


async def test_the_doctor_tries_the_one_that_serve_would_run() -> None:
    findings = await turn(load_settings())
    assert [finding.verdict for finding in findings] == [Verdict.OK] * 3, findings
