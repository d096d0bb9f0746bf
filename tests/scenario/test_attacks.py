"""What attackers try, at the gateway and directly at a node: each is refused in words, and everybody else is served meanwhile."""

import asyncio
import base64
import hashlib
import hmac
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from tests.fakes.haproxy import Gateway
from tests.fakes.people import Json, Refused, World, mint
from tests.fakes.server import SECRET, ServerProcess
from tests.scenario.conftest import on_one_and_on_many

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

RSA = rsa.generate_private_key(65537, 2048)
PRIVATE_PEM = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
PUBLIC_PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PATIENCE = 40.0
CROWD = 10_000
A_FEW = 100


def claims(**changes: Any) -> dict[str, Any]:
    """Good ones, except for these; None leaves one out."""
    now = int(time.time())
    good = {"iss": "secureconnect", "aud": "secureconnect", "sub": str(uuid4()), "name": "Eve", "iat": now, "exp": now + 600}
    return {name: value for name, value in (good | changes).items() if value is not None}


def signed(content: dict[str, Any], key: str = SECRET, alg: str = "HS256") -> str:
    return jwt.encode({"alg": alg, "typ": "JWT"}, content, OctKey.import_key(key), algorithms=[alg])


def unsigned(alg: str) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": alg, "typ": "JWT"}, claims())]
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), ""])


def confused() -> str:
    """HS256, keyed with a public key that everybody knows."""
    head, body = signed(claims()).split(".")[:2]
    mac = hmac.digest(PUBLIC_PEM, f"{head}.{body}".encode(), hashlib.sha256)
    return f"{head}.{body}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


TOKENS: dict[str, Callable[[], str]] = {
    "alg none": lambda: unsigned("none"),
    "alg NONE": lambda: unsigned("NONE"),
    "no signature": lambda: signed(claims()).rpartition(".")[0] + ".",
    "another key": lambda: signed(claims(), "another-key-of-more-than-32-characters"),
    "a public key as secret": confused,
    "RS256 by a key nobody published": lambda: jwt.encode({"alg": "RS256"}, claims(), RSAKey.import_key(PRIVATE_PEM)),
    "HS512": lambda: signed(claims(), alg="HS512"),
    "no exp": lambda: signed(claims(exp=None)),
    "no sub": lambda: signed(claims(sub=None)),
    "an empty sub": lambda: signed(claims(sub="")),
    "a sub that is no text": lambda: signed(claims(sub=7)),
    "an exp that is no number": lambda: signed(claims(exp="never")),
    "another audience": lambda: signed(claims(aud="somebody else")),
    "another issuer": lambda: signed(claims(iss="somebody else")),
    "two bodies": lambda: signed(claims()) + "." + signed(claims()),
    "bytes that are no token": lambda: "a" * 2000,
}


@on_one_and_on_many
@pytest.mark.parametrize("name", TOKENS)
async def test_a_forged_token_opens_nothing(world: World, name: str) -> None:
    headers = {"authorization": f"Bearer {TOKENS[name]()}"}
    with pytest.raises(Refused) as refused:
        await world.ask("GET", "/v1/users/me", None, headers)
    assert (refused.value.status, refused.value.code) == (401, "unauthenticated")
    with pytest.raises(Refused) as refused:
        await world.socket("/v1/ws/events", {}, headers)
    assert (refused.value.status, refused.value.code) == (401, "unauthenticated")


@on_one_and_on_many
async def test_an_old_token_is_told_to_be_old(world: World) -> None:
    with pytest.raises(Refused) as refused:
        await world.ask("GET", "/v1/users/me", None, {"authorization": f"Bearer {mint(str(uuid4()), 'Eve', seconds=-60)}"})
    assert (refused.value.status, refused.value.code) == (401, "token_expired")


@on_one_and_on_many
async def test_headers_that_say_who_one_is_are_not_believed(world: World) -> None:
    eve, ada = await world.people("Eve", "Ada")
    forged = dict.fromkeys(("X-User-Id", "X-Auth-User", "X-Forwarded-User", "X-Remote-User"), ada.user_id)
    me: Json = await eve.ask("GET", "/v1/users/me", **forged)
    assert me["user_id"] == eve.user_id
    with pytest.raises(Refused) as refused:
        await world.ask("GET", "/v1/users/me", None, forged)
    assert refused.value.status == 401


@on_one_and_on_many
async def test_another_conversations_call_is_not_there(world: World) -> None:
    call, _, _ = await world.call_of("Ada", "Ben")
    eve = await world.person("Eve")
    for method, path in [("GET", ""), ("POST", "/join"), ("POST", "/end"), ("POST", "/decline"), ("GET", "/ice-servers")]:
        with pytest.raises(Refused) as refused:
            await eve.ask(method, f"/v1/calls/{call['call_id']}{path}")
        assert refused.value.status == 404, path
    with pytest.raises(Refused) as refused:
        await eve.signaling(call)
    assert refused.value.status == 404


@on_one_and_on_many
async def test_a_film_is_behind_its_signed_link_and_nothing_else_is_open(world: World) -> None:
    call, (ada, _), _ = await world.call_of("Ada", "Ben")
    recordings = f"/v1/calls/{call['call_id']}/recordings"
    film, tomorrow = f"{recordings}/{uuid4()}/film", int(time.time()) + 86_400
    forged = hmac.digest(b"another secret", film.encode(), hashlib.sha256).hex()
    for query in (f"expires={tomorrow}&signature={forged}", f"expires={tomorrow}&signature=", "expires=0&signature=0"):
        for headers in ({}, {"authorization": f"Bearer {ada.token}"}):
            with pytest.raises(Refused) as refused:
                await world.ask("GET", f"{film}?{query}", None, headers)
            assert (refused.value.status, refused.value.code) == (404, "not_found"), "the node's own word, without a token too"
    for path in (recordings, f"{recordings}/{uuid4()}", f"{film}s", f"/v1/calls/{call['call_id']}"):
        with pytest.raises(Refused) as refused:
            await world.ask("GET", f"{path}?expires={tomorrow}&signature={forged}", None, {})
        assert refused.value.status in (401, 404, 405), path
        assert path != recordings or refused.value.status == 401


@on_one_and_on_many
async def test_a_token_in_the_address_opens_nothing(world: World) -> None:
    token = mint(str(uuid4()), "Eve")
    for name in ("token", "access_token"):
        with pytest.raises(Refused) as refused:
            await world.socket("/v1/ws/events", {name: token}, {})
        assert (refused.value.status, refused.value.code) == (400, "token_in_query")
        with pytest.raises(Refused) as refused:
            await world.ask("GET", f"/v1/users/me?{name}={token}", None, {})
        assert (refused.value.status, refused.value.code) in {(400, "token_in_query"), (401, "unauthenticated")}


@on_one_and_on_many
async def test_a_page_of_another_origin_gets_no_socket(world: World) -> None:
    call, (ada, *_), _ = await world.call_of("Ada", "Ben")
    headers = {"authorization": f"Bearer {ada.token}"}
    for path, query in [("/v1/ws/events", {}), ("/v1/calls/ws/signaling", {"call_id": call["call_id"]})]:
        for origin in ("https://evil.example", "null"):
            with pytest.raises(Refused) as refused:
                await world.socket(path, query, headers, origin=origin)
            assert (refused.value.status, refused.value.code) == (403, "origin_not_allowed")


@on_one_and_on_many
async def test_metrics_and_identity_of_the_request(world: World) -> None:
    """Metrics stay behind the gateway; a request id that is well-formed goes through, another is replaced."""
    if world.url.startswith("https"):
        with pytest.raises(Refused) as refused:
            await world.ask("GET", "/metrics", None, {})
        assert refused.value.status == 404
    for given, kept in [("a-request-of-mine-1", True), ("with a space in it", False), ("x" * 65, False)]:
        with pytest.raises(Refused) as refused:
            await world.ask(
                "GET", "/v1/calls/nowhere", None, {"x-request-id": given, "authorization": f"Bearer {mint(str(uuid4()), 'Eve')}"}
            )
        assert (refused.value.problem["request_id"] == given) is kept


@asynccontextmanager
async def raw(
    place: tuple[str, Path | None], *, source: str = "127.0.0.1"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection with nothing said on it yet."""
    where = urlsplit(place[0])
    tls = ssl.create_default_context(cafile=place[1]) if place[1] else None
    reader, writer = await asyncio.open_connection("127.0.0.1", where.port, ssl=tls, local_addr=(source, 0))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@on_one_and_on_many
async def test_a_head_too_large_is_refused(place: tuple[str, Path | None], world: World) -> None:
    async with asyncio.timeout(PATIENCE), raw(place) as (reader, writer):
        # Read from the start: a connection that is reset behind its answer takes along what nobody has read.
        answering = asyncio.create_task(reader.read(4096))
        writer.write(b"GET /v1/users/me HTTP/1.1\r\nHost: here\r\n")
        # A little more than each of them takes.
        for number in range(66 if place[1] else 80):
            writer.write(f"X-Filler-{number}: {'x' * 500}\r\n".encode())
            await asyncio.sleep(0)
        answer = await answering
    assert answer.split(b" ", 2)[1] in {b"400", b"431"}, answer
    assert (await world.health())["status"] == "healthy"


@pytest.mark.parametrize("place", ["three nodes"], indirect=True)  # a node's own patience: test_malformed
async def test_heads_that_never_end_are_cut_off_and_hold_nobody_up(place: tuple[str, Path | None], world: World) -> None:
    async with AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(raw(place)) for _ in range(A_FEW)]
        for _, writer in slow:
            writer.write(b"GET /v1/users/me HTTP/1.1\r\nHost: here\r\nX-Slow: ")
        assert (await world.health())["status"] == "healthy"
        async with asyncio.timeout(PATIENCE):
            answers = await asyncio.gather(*(reader.read() for reader, _ in slow))
    assert {answer.split(b" ", 2)[1] for answer in answers} == {b"408"}


async def test_ten_thousand_connections_of_one_address_leave_room_for_others(server: ServerProcess) -> None:
    """The gateway takes so many of one address; the rest is closed at once, and another address is served."""
    allowed = 500
    async with Gateway([server.port], connections_per_address=allowed) as gateway:
        crowd: list[socket.socket] = []
        try:
            for _ in range(CROWD):
                one = socket.socket()
                one.bind(("127.0.0.9", 0))
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", gateway.port))
                crowd.append(one)
                if len(crowd) % A_FEW == 0:
                    await asyncio.sleep(0)
            async with asyncio.timeout(PATIENCE), raw((gateway.url, gateway.certificate)) as (reader, writer):
                writer.write(b"GET /health HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
                assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            with pytest.raises((OSError, ssl.SSLError)):
                async with asyncio.timeout(PATIENCE), raw((gateway.url, gateway.certificate), source="127.0.0.9") as (reader, _):
                    await reader.read()
            held = int((await gateway.tell("show table by_address")).partition("127.0.0.9")[2].partition("conn_cur=")[2].split()[0])
            assert held <= allowed + 1
        finally:
            for one in crowd:
                one.close()


async def test_ten_thousand_connections_directly_at_a_node_do_not_end_it(server: ServerProcess) -> None:
    crowd = [socket.socket() for _ in range(CROWD)]
    try:
        for number, one in enumerate(crowd):
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", server.port))
            if number % A_FEW == 0:
                await asyncio.sleep(0)
        world = World(server.url)
        assert (await world.health())["status"] == "healthy"
        await world.close()
    finally:
        for one in crowd:
            one.close()


@pytest.mark.parametrize("who", ["address", "subject"])
async def test_the_gateway_limits_requests_in_words(server: ServerProcess, who: str) -> None:
    async with Gateway([server.port], **{f"requests_per_{who}": 20}) as gateway:
        world = World(gateway.url, gateway.certificate)
        ada = await world.person("Ada")
        for _ in range(15):
            await ada.ask("GET", "/v1/users/me")
        with pytest.raises(Refused) as refused:
            await asyncio.gather(*(ada.ask("GET", "/v1/users/me") for _ in range(15)))
        assert (refused.value.status, refused.value.code) == (429, "rate_limited")
        assert refused.value.headers["retry-after"] == "10"
        await world.close()


async def test_with_no_node_there_the_gateway_says_so_itself(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path / "data") as server:
        gateway = Gateway([server.port])
        await gateway.start()
    try:
        world = World(gateway.url, gateway.certificate)
        with pytest.raises(Refused) as refused:
            await world.person("Ada")
        assert (refused.value.status, refused.value.code) == (503, "unavailable")
        assert refused.value.headers["retry-after"] == "1"
        await world.close()
    finally:
        await gateway.stop()
