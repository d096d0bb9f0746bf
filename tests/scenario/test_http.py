"""What holds for every route: HEAD, OPTIONS, conditional requests, other origins, caches and TLS."""

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from tests.fakes.certificates import self_signed
from tests.fakes.haproxy import Gateway
from tests.fakes.people import World
from tests.fakes.server import ServerProcess
from tests.fakes.wire import OPENING, Place, exchange, request
from tests.scenario.conftest import on_one_and_on_many, serving

pytestmark = pytest.mark.anyio

OPEN = (
    "/",
    "/health",
    "/health/live",
    "/health/ready",
    "/v1/calls/health",
    "/openapi.json",
    "/asyncapi.json",
    "/docs",
    "/docs/errors",
)
FILES = (
    "/",
    "/index.html",
    "/sw.js",
    "/static/main.js",
    "/sdk/api.js",
    "/static/style/base.css",
    "/static/icon.svg",
    "/docs/errors",
)
SIGNED_IN = ("/v1/users/me", "/v1/users?q=", "/v1/conversations", "/v1/calls", "/v1/ice-servers", "/v1/devices")
CHAT = "https://chat.example.com"


@on_one_and_on_many
async def test_head_is_get_without_its_body(place: Place, world: World) -> None:
    ada = await world.person("Ada")
    token = f"Authorization: Bearer {ada.token}"
    changing = {"x-request-id", "date", "content-length", "transfer-encoding"}
    for target in (*OPEN, *FILES, *SIGNED_IN, "/static/icon-192.png", "/v1/nowhere", "/v1/ws/events", "/v1/auth/login"):
        got, head = [await exchange(place, request(place, target, token, method=method)) for method in ("GET", "HEAD")]
        assert (head.status, head.body) == (got.status, b""), target
        assert {name for name in head.fields if name not in changing} == {name for name in got.fields if name not in changing}, (
            target
        )
        assert head.field("content-type") == got.field("content-type")


@on_one_and_on_many
async def test_options_says_which_methods_there_are(place: Place, world: World) -> None:
    assert (await world.health())["status"] == "healthy"
    wanted = {
        "/health": {"GET", "HEAD", "OPTIONS"},
        "/": {"GET", "HEAD", "OPTIONS"},
        "/static/main.js": {"GET", "HEAD", "OPTIONS"},
        "/v1/users/me": {"GET", "HEAD", "OPTIONS"},
        "/v1/conversations": {"GET", "HEAD", "POST", "OPTIONS"},
        "/v1/auth/login": {"POST", "OPTIONS"},
    }
    for target, methods in wanted.items():
        answer = await exchange(place, request(place, target, method="OPTIONS"))
        assert answer.status == 204, target
        assert {method.strip() for method in (answer.field("allow") or "").split(",")} == methods, target
        refused = await exchange(place, request(place, target, "Content-Length: 0", method="DELETE"))
        if refused.status == 405:
            assert {method.strip() for method in (refused.field("allow") or "").split(",")} == methods, target
            assert refused.problem["code"] == "method_not_allowed"


@on_one_and_on_many
@pytest.mark.parametrize("coding", ["gzip", "identity", "gzip;q=0", "br, gzip;q=0.5", ""])
async def test_an_unchanged_file_is_not_sent_again(place: Place, coding: str) -> None:
    for target in FILES:
        first = await exchange(place, request(place, target, f"Accept-Encoding: {coding}"))
        tag = first.field("etag")
        assert tag is not None
        assert first.field("cache-control") == "no-cache", "a new version is seen at the next load"
        is_packed = first.field("content-encoding") == "gzip"
        assert not is_packed or coding in ("gzip", "br, gzip;q=0.5"), target
        for value in (tag, f"W/{tag}", f'"other", {tag}', f'"a"\r\nIf-None-Match: {tag}', "*", f' , W/{tag} ,"x"'):
            for method in ("GET", "HEAD"):
                again = await exchange(
                    place, request(place, target, f"Accept-Encoding: {coding}", f"If-None-Match: {value}", method=method)
                )
                assert (again.status, again.body, again.field("etag")) == (304, b"", tag), (target, value)
                assert again.field("cache-control") == "no-cache"
                assert again.field("vary") == "Accept-Encoding"
        for value in ('"other"', tag.strip('"'), "W/", tag.upper() + "x", '""'):
            changed = await exchange(place, request(place, target, f"Accept-Encoding: {coding}", f"If-None-Match: {value}"))
            assert (changed.status, changed.body) == (200, first.body), (target, value)


async def test_each_form_of_a_file_has_a_tag_of_its_own(server: ServerProcess) -> None:
    place: Place = (server.url, None)
    packed, plain = [await exchange(place, request(place, "/static/main.js", f"Accept-Encoding: {one}")) for one in ("gzip", "br")]
    assert gzip.decompress(packed.body) == plain.body
    assert packed.field("etag") != plain.field("etag")
    assert packed.field("content-length") == str(len(packed.body))


async def test_a_file_with_its_version_is_kept_and_another_version_is_asked_for_again(server: ServerProcess) -> None:
    place: Place = (server.url, None)
    page = (await exchange(place, request(place, "/"))).body.decode()
    versioned = json.loads(page.partition('<script type="importmap">')[2].partition("</script>")[0])["imports"]
    assert len(versioned) > 50
    assert "/static/sw.js" not in versioned, "a service worker has no import map"
    for plain, address in (*versioned.items(), ("/static/style/base.css", page.partition('href="/static/style/base.css')[2][:25])):
        target = address if address.startswith("/") else plain + address.partition('"')[0]
        kept = await exchange(place, request(place, target))
        assert kept.field("cache-control") == "public, max-age=31536000, immutable", target
        assert kept.body == (await exchange(place, request(place, plain))).body
        for other in ("?v=0123456789abcdef", "?v=", "?", f"?v={target[-16:]}x", "?x=1"):
            assert (await exchange(place, request(place, plain + other))).field("cache-control") == "no-cache"


@on_one_and_on_many
async def test_what_is_private_is_in_no_cache(place: Place, world: World) -> None:
    ada = await world.person("Ada")
    for target in (*SIGNED_IN, "/v1/nowhere"):
        for lines in ((), (f"Authorization: Bearer {ada.token}",)):
            answer = await exchange(place, request(place, target, *lines))
            assert answer.field("cache-control") == "no-store", (target, lines)
            assert answer.field("strict-transport-security") == ("max-age=31536000" if place[1] else None)


async def test_a_node_with_a_certificate_says_to_stay_with_tls(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    settings = {"TLS_CERTIFICATE": str(certificate), "TLS_KEY": str(key)}
    async with serving(tmp_path / "data", **settings) as server:
        place: Place = (f"https://localhost:{server.port}", certificate)
        for target in ("/", "/health", "/v1/users/me", "/static/main.js", "//", "/nowhere"):
            assert (await exchange(place, request(place, target))).field("strict-transport-security") == "max-age=31536000", target
        metrics: Place = (server.metrics_url, None)
        assert (await exchange(metrics, request(metrics, "/metrics"))).field("strict-transport-security") is None


@pytest.fixture(scope="module")
async def public(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """A node that knows its public address and lets pages of a chat in."""
    settings = {"PUBLIC_URL": "https://calls.example.com/", "ALLOWED_ORIGINS": json.dumps([CHAT, "capacitor://localhost"])}
    async with serving(tmp_path_factory.mktemp("data"), **settings) as server:
        yield server


@pytest.fixture(params=["node", "gateway"])
async def public_place(request: pytest.FixtureRequest, public: ServerProcess) -> AsyncIterator[Place]:
    if request.param == "node":
        yield (public.url, None)
        return
    async with Gateway([public.port]) as gateway:
        yield (gateway.url, gateway.certificate)


async def test_a_page_of_an_allowed_origin_may_ask_before_it_asks(public_place: Place) -> None:
    for origin in (CHAT, "https://CHAT.example.com:443", "capacitor://localhost"):
        for target in ("/v1/users/me", "/v1/auth/login", "/v1/conversations"):
            asked = (f"Origin: {origin}", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization")
            answer = await exchange(public_place, request(public_place, target, *asked, method="OPTIONS"))
            assert (answer.status, answer.field("access-control-allow-origin")) == (204, origin)
            assert "authorization" in (answer.field("access-control-allow-headers") or "").lower()
            assert "POST" in (answer.field("access-control-allow-methods") or "")
            assert answer.field("access-control-allow-credentials") is None
            assert "Origin" in (answer.field("vary") or "")


async def test_a_page_of_an_allowed_origin_reads_answers_and_refusals(public_place: Place, public: ServerProcess) -> None:
    world = World(public.url)
    ada = await world.person("Ada")
    token = f"Authorization: Bearer {ada.token}"
    for lines, status in (((token,), 200), ((), 401)):
        for target in ("/v1/users/me", "/sdk/api.js", "/v1/calls/health"):
            answer = await exchange(public_place, request(public_place, target, f"Origin: {CHAT}", *lines))
            assert answer.status == (status if target == "/v1/users/me" else 200)
            assert answer.field("access-control-allow-origin") in (CHAT, "*")
            assert "retry-after" in (answer.field("access-control-expose-headers") or "").lower()
    await world.close()


async def test_a_page_of_another_origin_reads_nothing(public_place: Place) -> None:
    for origin in ("https://evil.example", "null", "http://chat.example.com", f"{CHAT}.evil.example", f"{CHAT}:444"):
        asked = (f"Origin: {origin}", "Access-Control-Request-Method: GET")
        answer = await exchange(public_place, request(public_place, "/v1/users/me", *asked, method="OPTIONS"))
        assert (answer.status, answer.field("access-control-allow-origin")) == (204, None)
        for target in ("/v1/calls/health", "/sdk/api.js", "/nowhere/at/all"):
            answer = await exchange(public_place, request(public_place, target, f"Origin: {origin}"))
            assert answer.field("access-control-allow-origin") is None or answer.status == 404


async def test_the_content_policy_names_origins(public: ServerProcess) -> None:
    place: Place = (public.url, None)
    for target in ("/", "/static/main.js", "/docs", "/docs/errors"):
        policy = (await exchange(place, request(place, target))).field("content-security-policy") or ""
        sources = dict(part.strip().split(" ", 1) for part in policy.split(";"))
        assert sources["connect-src"] == "'self' wss://calls.example.com", target
        assert sources["default-src"] == "'self'"
        assert all(source.startswith("'") for source in sources["script-src"].split()), target
        assert "unsafe" not in sources["script-src"]


COOKIE = {"email": "ada@example.com", "password": "correct horse battery", "display_name": "Ada", "cookie": True}


async def test_the_cookie_is_secure_where_the_public_address_is(public: ServerProcess) -> None:
    async with httpx2.AsyncClient(base_url=public.url, trust_env=False) as http:
        answer = await http.post("/v1/auth/register", json=COOKIE)
        user = answer.json()["user"]["user_id"].replace("-", "")
        name, _, rest = answer.headers["set-cookie"].partition("=")
        assert name == f"__Secure-secureconnect_refresh_{user}"
        assert {"secure", "httponly", "samesite=strict", "path=/v1/auth"} <= {one.strip().lower() for one in rest.split(";")}
        value = rest.partition(";")[0]
        plain, secure = f"secureconnect_refresh_{user}", f"__Secure-secureconnect_refresh_{user}"

        async def exchange_by(cookies: str) -> dict[str, str]:
            exchanged = await http.post("/v1/auth/refresh", headers={"cookie": cookies})
            assert exchanged.status_code == 200
            lines = exchanged.headers.get_list("set-cookie")
            assert all("secure" in line.lower().replace(secure.lower(), "") for line in lines)
            return {line.partition("=")[0]: line.partition("=")[2].partition(";")[0] for line in lines}

        # Of a browser that was signed in before the upgrade: it keeps its name, which nodes of 0.1 know, too.
        old = await exchange_by(f"{plain}={value}")
        assert old.keys() == {plain}
        # Of both, the one that only TLS can set counts, and the other is forgotten.
        new = await exchange_by(f"{plain}=of-somebody-else; {secure}={old[plain]}")
        assert new.keys() == {plain, secure}
        assert new[plain] in ("", '""')
        both = f"{plain}={new[secure]}; {secure}={new[secure]}"
        out = await http.post("/v1/auth/logout", headers={"cookie": both})
        forgotten = out.headers.get_list("set-cookie")
        assert out.status_code == 204
        assert {one.partition("=")[0] for one in forgotten} == {
            f"secureconnect_refresh_{user}",
            f"__Secure-secureconnect_refresh_{user}",
        }
        assert all("max-age=0" in one.lower() for one in forgotten)


@pytest.mark.parametrize(
    ("host", "proto"),
    [
        ("calls.example.com", "https"),
        ("calls.example.com:443", "https"),
        ("Calls.Example.COM.", "https"),
        ("calls.example.com:80", "http"),
        ("[2001:db8::1]:443", "https"),
        ("calls.example.com", None),
    ],
)
async def test_a_page_of_ours_stays_ours_whatever_a_proxy_makes_of_host(
    server: ServerProcess, host: str, proto: str | None
) -> None:
    place: Place = (server.url, None)
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    origin = f"{proto or 'https'}://{name.lower().removesuffix('.')}"
    more = (f"X-Forwarded-Proto: {proto}",) if proto else ()
    account = {"email": f"{uuid4().hex}@example.com", "password": "correct horse battery", "display_name": "Ada"}
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
        headers = {"host": host, "origin": origin} | ({"x-forwarded-proto": proto} if proto else {})
        ada = (await http.post("/v1/auth/register", json=account)).json()
        person = {"email": account["email"], "password": account["password"], "cookie": True}
        answer = await http.post("/v1/auth/login", json=person, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["set-cookie"].startswith("__Secure-") is (proto == "https")
        evil = await http.post("/v1/auth/login", json=person, headers=headers | {"origin": f"{origin}.evil.example"})
        assert evil.json()["code"] == "origin_not_allowed"
    opening = (f"Host: {host}", f"Origin: {origin}", *more, f"Authorization: Bearer {ada['access_token']}")
    assert (await exchange(place, request(place, "/v1/ws/events", *opening, *OPENING))).status == 101
