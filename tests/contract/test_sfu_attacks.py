"""What a participant can send to an SFU to harm others: packets that its parser survives, and the sandbox for when it does not.

Debian 12's Janus 1.1.2 moves memory by a negative length when a retransmission (RTX, RFC 4588) has less than two bytes of payload.
The packets here are real, and go over the attacker's own SRTP connection.
"""

import asyncio
import json
import os
import random
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pylibsrtp
import pytest

import secureconnect.sandbox
from secureconnect.clock import SystemClock
from secureconnect.media import janus
from secureconnect.media.janus_bundle import MINIMUM
from secureconnect.media.janus_server import JanusOptions, find_program, program
from secureconnect.media.pool import JanusPool
from secureconnect.sandbox import missing_parts
from tests.contract.test_sfu import Place, Someone, running_pool, until
from tests.fakes.janus import ADDRESS, SECRET, running_janus

pytestmark = pytest.mark.anyio
ROUNDS = int(os.environ.get("ATTACKS", "20"))
VERSION = ".".join(map(str, MINIMUM))


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with running_janus() as server, running_pool(server.server) as pool:
        place = Place(server, pool)
        yield place
        await asyncio.gather(*(someone.close() for someone in place.people))


def rtp(payload_type: int, ssrc: int, number: int, payload: bytes, *, first: int = 0x80) -> bytes:
    """RFC 3550, section 5.1; `first` holds version, padding, extension and the count of contributing sources."""
    return struct.pack("!BBHII", first, payload_type, number % 65_536, number * 3000 % 2**32, ssrc) + payload


class Attacker:
    """Sends what she likes over the connection by which she publishes."""

    def __init__(self, someone: Someone) -> None:
        self._sender = someone.speaker.connection.getSenders()[1]
        sdp = someone.speaker.connection.localDescription.sdp
        lines = sdp[sdp.index("m=video") :].splitlines()
        self.rtx_type = next(int(line.split(":")[1].split()[0]) for line in lines if line.lower().endswith(" rtx/90000"))
        repair = next(line for line in lines if line.startswith("a=ssrc-group:FID"))
        self.ssrc, self.rtx_ssrc = (int(ssrc) for ssrc in repair.split()[1:])

    async def send(self, packet: bytes) -> None:
        with suppress(pylibsrtp.Error):  # the attacker's own library refuses to encrypt some
            await self._sender.transport._send_rtp(packet)

    async def send_short_retransmissions(self, count: int = 50) -> None:
        for number in range(count):
            await self.send(rtp(self.rtx_type, self.rtx_ssrc, number, bytes(number % 2)))
            await self.send(rtp(self.rtx_type, self.rtx_ssrc, number, b"\0"))

    async def send_malformed(self, chance: random.Random, count: int = 100) -> None:
        """Headers that promise what is not there: extensions, contributing sources, padding; RTCP of a wrong length."""
        for number in range(count):
            payload = chance.randbytes(chance.choice((0, 1, 2, 3, 7, 40)))
            ssrc = chance.choice((self.ssrc, self.rtx_ssrc))
            kind = chance.choice((self.rtx_type, self.rtx_type - 1, 96, 63, chance.randrange(128)))
            await self.send(rtp(kind, ssrc, number, payload, first=0x80 | chance.randrange(64)))
            length = chance.choice((0, 1, 2, 300, 65_535))
            await self.send(struct.pack("!BBHI", 0x80 | chance.randrange(32), chance.randrange(200, 208), length, ssrc) + payload)


async def test_no_packet_of_a_participant_ends_the_calls_of_others(place: Place) -> None:
    ann, bob = await place.seat("ann"), await place.seat("bob")
    await ann.publish()
    await bob.want(*ann.feeds())
    await bob.sees()
    pid, chance = place.janus.pid, random.Random(12)
    for round_ in range(ROUNDS):
        eve = await place.seat(f"eve {round_}")
        await eve.publish()
        attacker = Attacker(eve)
        await attacker.send_short_retransmissions()
        await attacker.send_malformed(chance)
        await bob.sees(3)
        assert place.janus.pid == pid, f"it was started again in round {round_}"
        assert "lost" not in (*ann.ear.heard, *bob.ear.heard, *eve.ear.heard)
        await eve.seat.leave()
        await eve.close()


async def test_an_old_janus_is_used_only_by_name_and_never_negotiates_retransmissions(monkeypatch: pytest.MonkeyPatch) -> None:
    # A newer minimum makes the Janus that is installed an old one.
    monkeypatch.setattr(janus, "MINIMUM", (99, 0))
    async with running_janus() as server:
        refusing = JanusPool([server.server], SystemClock(), key_of=lambda room: b"key", bitrate=1_000_000)
        task = asyncio.create_task(refusing.run())
        await until(lambda: "known faults" in refusing.trouble_of("one"), "the pool to refuse it")
        assert refusing.place() is None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with running_pool(server.server, allow_version=VERSION) as pool:
            place = Place(server, pool)
            ann, bob = await place.seat("ann"), await place.seat("bob")
            assert "rtx" in (await ann.speaker.offer()).lower()
            await ann.publish()
            await bob.want(*ann.feeds())
            await bob.sees()
            for description in (
                ann.speaker.connection.remoteDescription.sdp,
                bob.listener.connection.remoteDescription.sdp,
            ):
                assert "rtx" not in description.lower()
                assert "FID" not in description
            await asyncio.gather(ann.close(), bob.close())


async def test_janus_runs_in_its_sandbox(place: Place) -> None:
    check_restrictions(Path(f"/proc/{place.janus.pid}"))


def check_restrictions(process: Path) -> None:
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    assert status["CapEff"].strip() == status["CapPrm"].strip() == "0" * 16
    limits = (process / "limits").read_text().splitlines()
    assert next(line for line in limits if line.startswith("Max core file size")).split()[4:6] == ["0", "0"]
    table = [*Path("/proc/net/tcp").read_text().splitlines()[1:], *Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    of_tcp = {f"socket:[{line.split()[9]}]" for line in table}
    assert not of_tcp & {str(entry.readlink()) for entry in (process / "fd").iterdir()}, "no TCP socket at all"


TRIES = """
import json, os, runpy, socket, sys
port, secret, unix = int(sys.argv[1]), sys.argv[2], sys.argv[3]
sandbox = runpy.run_path(sys.argv[5])
sandbox["restrict"](sandbox["Sandbox"](**json.loads(sys.argv[6])), os.getppid())
def connect(family, kind, address):
    with socket.socket(family, kind) as one:
        one.settimeout(2)
        one.connect(address)
def fork():
    if os.fork() == 0:
        os._exit(0)
tries = {
    "TCP to loopback": lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", port)),
    "TCP to loopback by IPv6": lambda: connect(socket.AF_INET6, socket.SOCK_STREAM, ("::1", port)),
    "a Unix socket": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, unix),
    "a Unix datagram": lambda: connect(socket.AF_UNIX, socket.SOCK_DGRAM, "/dev/log"),
    "a raw socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "a connected UDP socket": lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", port)),
    "the data directory": lambda: open(secret).read(),
    "the list of users": lambda: open("/etc/passwd").read(),
    "the environment of another process": lambda: open(f"/proc/{os.getppid()}/environ", "rb").read(),
    "a file elsewhere": lambda: open("/tmp/secureconnect-was-here", "w"),
    "a new process": fork,
    "another program": lambda: os.execv("/bin/true", ["true"]),
    "a signal to another process": lambda: os.kill(os.getppid(), 0),
}
allowed = {
    "UDP": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port)),
    "UDP by IPv6": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close(),
    "its own folder": lambda: open(os.path.join(sys.argv[4], "file"), "w").write("x"),
    "a Unix socket to listen on": lambda: socket.socket(socket.AF_UNIX).bind(os.path.join(sys.argv[4], "socket")),
    "random bytes": lambda: open("/dev/urandom", "rb").read(1),
    "the addresses of the machine": socket.if_nameindex,
}
def outcome(what):
    try:
        what()
    except OSError as refusal:
        return f"refused: {refusal.strerror}"
    return "done"
print(json.dumps({name: outcome(what) for name, what in (tries | allowed).items()}))
"""


def in_sandbox(folder: Path, *arguments: str) -> dict[str, str]:
    """What a process can do that has restricted itself as Janus' launcher does."""
    found = find_program()
    assert found is not None
    own = program(JanusOptions(ADDRESS, SECRET, folder), found).sandbox
    assert own is not None
    sandbox = json.dumps(asdict(own(folder)))
    command = [sys.executable, "-I", "-S", "-c", TRIES, *arguments, str(folder), secureconnect.sandbox.__file__, sandbox]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    outcomes: dict[str, str] = json.loads(done.stdout)
    return outcomes


def test_in_the_sandbox_no_service_no_file_and_no_program_can_be_reached(tmp_path: Path) -> None:
    assert missing_parts() == [], "the kernel of the tests enforces all of it"
    folder = tmp_path / "own"
    folder.mkdir()
    secret = tmp_path / "jwt_secret"
    secret.write_text("a secret")
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
        for parent in (tmp_path, *tmp_path.parents[:2]):
            parent.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as service, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "service"))
        unix.listen()
        outcomes = in_sandbox(folder, str(service.getsockname()[1]), str(secret), str(tmp_path / "service"))
    may = {"UDP", "UDP by IPv6", "its own folder", "a Unix socket to listen on", "random bytes", "the addresses of the machine"}
    assert {name for name, outcome in outcomes.items() if outcome == "done"} == may, outcomes
