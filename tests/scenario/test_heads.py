"""The heads that real clients and proxies send open a socket, at a node and behind the gateway. What does not is a problem."""

import pytest

from tests.fakes.people import World
from tests.fakes.wire import OPENING, Place, connect, exchange, read_answer, request
from tests.scenario.conftest import on_one_and_on_many

pytestmark = [pytest.mark.anyio, on_one_and_on_many]

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
EVENTS = "/v1/ws/events"

HEADS = {
    "Chromium": """
Host: {host}
Connection: Upgrade
Pragma: no-cache
Cache-Control: no-cache
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36
Upgrade: websocket
Origin: {origin}
Sec-WebSocket-Version: 13
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: vi,en-US;q=0.9,en;q=0.8
Cookie: a=b; secureconnect_refresh_00=c
Sec-WebSocket-Key: {key}
Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits
Sec-WebSocket-Protocol: secureconnect.v1, bearer.{token}
""",
    "Firefox": """
Host: {host}
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0
Accept: */*
Accept-Language: en-US,en;q=0.5
Accept-Encoding: gzip, deflate, br, zstd
Sec-WebSocket-Version: 13
Origin: {origin}
Sec-WebSocket-Protocol: secureconnect.v1, bearer.{token}
Sec-WebSocket-Extensions: permessage-deflate
Sec-WebSocket-Key: {key}
DNT: 1
Connection: keep-alive, Upgrade
Sec-Fetch-Dest: empty
Sec-Fetch-Mode: websocket
Sec-Fetch-Site: same-origin
Pragma: no-cache
Cache-Control: no-cache
Upgrade: websocket
""",
    "Safari": """
Upgrade: websocket
Connection: Upgrade
Host: {host}
Origin: {origin}
Pragma: no-cache
Cache-Control: no-cache
Sec-WebSocket-Key: {key}
Sec-WebSocket-Version: 13
Sec-WebSocket-Extensions: x-webkit-deflate-frame, permessage-deflate
Sec-WebSocket-Protocol: secureconnect.v1, bearer.{token}
User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15
""",
    "ws of Node": """
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: {key}
Connection: Upgrade
Upgrade: websocket
Authorization: Bearer {token}
Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits
Host: {host}
""",
    "websockets of Python": """
Host: {host}
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Key: {key}
Sec-WebSocket-Version: 13
Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits
Authorization: Bearer {token}
User-Agent: Python/3.13 websockets/15.0
""",
    "aiohttp": """
Host: {host}
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: {key}
Accept: */*
Accept-Encoding: gzip, deflate
User-Agent: Python/3.13 aiohttp/3.12
Authorization: Bearer {token}
""",
    "OkHttp": """
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Key: {key}
Sec-WebSocket-Version: 13
Sec-WebSocket-Extensions: permessage-deflate
Authorization: Bearer {token}
Host: {host}
Accept-Encoding: gzip
User-Agent: okhttp/5.1.0
""",
    "URLSession": """
Host: {host}
Sec-WebSocket-Key: {key}
Sec-WebSocket-Version: 13
Upgrade: websocket
Authorization: Bearer {token}
Accept: */*
Sec-WebSocket-Extensions: permessage-deflate
Connection: Upgrade
""",
    "nginx": """
Upgrade: websocket
Connection: upgrade
Host: {host}
X-Real-IP: 198.51.100.7
X-Forwarded-For: 198.51.100.7
X-Forwarded-Proto: {scheme}
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: {key}
Sec-WebSocket-Protocol: secureconnect.v1, bearer.{token}
Origin: {origin}
""",
    "HAProxy": """
host: {host}
sec-websocket-version: 13
sec-websocket-key: {key}
sec-websocket-protocol: secureconnect.v1, bearer.{token}
origin: {origin}
x-forwarded-proto: {scheme}
x-forwarded-for: 203.0.113.9
x-forwarded-for: 198.51.100.7
connection: upgrade
upgrade: websocket
""",
    "Envoy": """
host: {host}
upgrade: websocket
connection: Upgrade
sec-websocket-version: 13
sec-websocket-key: {key}
authorization: Bearer {token}
x-forwarded-proto: {scheme}
x-request-id: 9f1c2d3e-4b5a-6978-8796-a5b4c3d2e1f0
x-envoy-expected-rq-timeout-ms: 15000
x-forwarded-for: 198.51.100.7
""",
    "curl": """
Host: {host}
User-Agent: curl/8.14.1
Accept: */*
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: {key}
Authorization: Bearer {token}
""",
    "lists in several lines": """
Host: {host}
Connection: keep-alive
Connection: Upgrade
Upgrade: h2c, WebSocket
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: {key}
Sec-WebSocket-Protocol: bearer.{token}
Sec-WebSocket-Protocol: secureconnect.v1
Sec-WebSocket-Extensions: permessage-deflate
Sec-WebSocket-Extensions: x-other; a="1, 2"
""",
    "the list the other way round": """
Host: {host}
Connection: Upgrade
Connection: keep-alive
Upgrade: websocket
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: {key}
Sec-WebSocket-Protocol: secureconnect.v1,bearer.{token}
""",
    "words in capitals, spaces, empty elements": """
HOST: {host}
CONNECTION: ,keep-alive ,\tUPGRADE,
UPGRADE: WEBSOCKET
SEC-WEBSOCKET-VERSION:13
SEC-WEBSOCKET-KEY:   {key}
AUTHORIZATION: bearer {token}
""",
}


@pytest.mark.parametrize("name", HEADS)
async def test_a_client_gets_its_socket(place: Place, world: World, name: str) -> None:
    ada = await world.person("Ada")
    scheme, _, host = place[0].partition("://")
    head = HEADS[name].format(host=host, origin=place[0], scheme=scheme, key=KEY, token=ada.token)
    answer = await exchange(place, f"GET {EVENTS} HTTP/1.1{head}\n".replace("\n", "\r\n").encode())
    assert answer.status == 101, answer
    assert answer.field("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert (answer.field("upgrade") or "").lower() == "websocket"
    assert answer.field("sec-websocket-extensions") is None, "what was not agreed to is not used"
    offered = "secureconnect.v1" in head
    assert answer.field("sec-websocket-protocol") == ("secureconnect.v1" if offered else None)


@pytest.mark.parametrize(
    ("lines", "method", "status", "code"),
    [
        (("Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}"), "GET", 426, "upgrade_required"),
        ((*OPENING[:2], "Sec-WebSocket-Version: 8", f"Sec-WebSocket-Key: {KEY}"), "GET", 426, "upgrade_required"),
        ((*OPENING[:2], "Sec-WebSocket-Version: 13, 8", f"Sec-WebSocket-Key: {KEY}"), "GET", 426, "upgrade_required"),
        ((), "GET", 426, "upgrade_required"),
        (("Connection: keep-alive", *OPENING[2:]), "GET", 426, "upgrade_required"),
        (("Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), "GET", 426, "upgrade_required"),
        (OPENING[:3], "GET", 400, "malformed"),
        ((*OPENING[:3], "Sec-WebSocket-Key: short"), "GET", 400, "malformed"),
        ((*OPENING[:3], "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ="), "GET", 400, "malformed"),
        ((*OPENING, f"Sec-WebSocket-Key: {KEY}"), "GET", 400, "malformed"),
        (OPENING, "POST", 405, "method_not_allowed"),
    ],
)
async def test_what_opens_no_socket_is_a_problem(
    place: Place, world: World, lines: tuple[str, ...], method: str, status: int, code: str
) -> None:
    ada = await world.person("Ada")
    answer = await exchange(place, request(place, EVENTS, f"Authorization: Bearer {ada.token}", *lines, method=method))
    assert answer.status == status
    if place[1] and answer.is_of_haproxy:
        return
    assert answer.problem["code"] == code
    if status == 426:
        assert answer.field("sec-websocket-version") == "13"
    if status == 405:
        assert "GET" in (answer.field("allow") or "")


async def test_an_upgrade_that_is_not_known_is_passed_over(place: Place, world: World) -> None:
    """`curl --http2` and others ask; the answer is HTTP/1.1, and the connection goes on (RFC 9110, section 7.8)."""
    ada = await world.person("Ada")
    head = request(
        place,
        "/v1/users/me",
        f"Authorization: Bearer {ada.token}",
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
    )
    reader, writer = await connect(place)
    for _ in range(2):
        writer.write(head)
        assert (await read_answer(reader)).status == 200
    writer.transport.abort()


@pytest.mark.parametrize(
    "head",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused_with_a_problem(place: Place, world: World, head: bytes) -> None:
    answer = await exchange(place, head)
    assert answer.status == 400
    assert (place[1] and answer.is_of_haproxy) or answer.problem["code"] == "malformed"
    assert (await world.health())["status"] == "healthy"
