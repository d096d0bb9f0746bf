"""One spelling of a path: gateway and node answer it, and refuse the same list of all others, for requests and for sockets."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.fakes.haproxy import Gateway
from tests.fakes.people import World, mint
from tests.fakes.server import ServerProcess
from tests.fakes.spellings import CANONICAL, OTHERS
from tests.fakes.wire import OPENING, PATIENCE, Place, exchange, request
from tests.scenario.conftest import on_one_and_on_many

pytestmark = pytest.mark.anyio

UNREADABLE = {"malformed", "path_not_canonical"}
"""What a spelling is refused with: HTTP's own parser stumbles over some before our rule is asked."""


@on_one_and_on_many
async def test_the_plain_form_is_answered(place: Place, world: World) -> None:
    ada = await world.person("Ada")
    for target in CANONICAL:
        token = f"Authorization: Bearer {ada.token}"
        answer = await exchange(place, request(place, target, token))
        assert answer.status in (200, 404), target
        again = await exchange(place, request(place, f"{place[0]}{target}", token))
        assert again.status == answer.status, target


@on_one_and_on_many
async def test_every_other_spelling_is_refused_before_anything_is_asked(place: Place, world: World) -> None:
    ada = await world.person("Ada")
    for target in (spelling.replace("http://here", place[0]) for spelling in OTHERS):
        for more in ((), (f"Authorization: Bearer {ada.token}",), (*OPENING, f"Authorization: Bearer {ada.token}")):
            answer = await exchange(place, request(place, target, *more))
            assert answer.status == 400, (target, more)
            assert (place[1] and answer.is_of_haproxy) or answer.problem["code"] in UNREADABLE, (target, more)
            assert "secureconnect_build_info" not in answer.body.decode("latin-1")


async def test_nothing_of_a_refused_query_comes_into_the_log(server: ServerProcess) -> None:
    place: Place = (server.url, None)
    for target in ("//v1?resume=hush-hush", "/v1/%20?token=hush-hush", "http://ada:hush-hush@localhost/v1", "/v1#hush-hush?a"):
        refused = await exchange(place, request(place, target, "X-Request-ID: a-refused-query"))
        assert refused.status == 400
    answered = await exchange(place, request(place, "/v1/nowhere?token=hush-hush", "X-Request-ID: the-last-of-them"))
    assert answered.status == 404
    async with asyncio.timeout(PATIENCE):
        while True:
            if any("the-last-of-them" in line for line in server.said):
                break
            await asyncio.sleep(0.01)  # the log comes through a pipe
    assert any("a-refused-query" in line for line in server.said)
    assert not any("hush-hush" in line for line in server.said)


@on_one_and_on_many
async def test_a_target_that_names_another_host_is_refused(place: Place, world: World) -> None:
    for target in (
        "http://evil.example/health",
        f"http://evil.example@{urlsplit(place[0]).netloc}/health",
        "https://127.0.0.1:1/health",
    ):
        answer = await exchange(place, request(place, target))
        assert answer.status == 400, target
        assert (place[1] and answer.is_of_haproxy) or answer.problem["code"] in UNREADABLE
    assert (await world.health())["status"] == "healthy"


@on_one_and_on_many
@pytest.mark.parametrize(
    "lines",
    [
        ("Host: a", "Host: b"),
        ("Host: a b",),
        ("Host: a/b",),
        ("Host:",),
        ("Authorization: Bearer a", "Authorization: Bearer b"),
        ("Content-Type: text/plain", "Content-Type: application/json"),
        ("Origin: https://a.example", "Origin: https://b.example"),
    ],
)
async def test_what_two_readers_could_take_for_two_things_is_refused(place: Place, lines: tuple[str, ...]) -> None:
    answer = await exchange(place, request(place, "/v1/users/me", *lines))
    assert answer.status == 400
    assert (place[1] and answer.is_of_haproxy) or answer.problem["code"] == "malformed"


@on_one_and_on_many
async def test_metrics_are_at_no_port_of_the_api(place: Place, world: World) -> None:
    for target in ("/metrics", "/METRICS", "/Metrics", "/metrics?x=1", "/v1/metrics", "/static/metrics", "/metrics/prometheus"):
        answer = await exchange(place, request(place, target))
        assert answer.status in (401, 404), target
        assert answer.problem["code"] in ("not_found", "unauthenticated")
    assert (await world.health())["status"] == "healthy"


async def test_metrics_have_a_listener_of_their_own(server: ServerProcess) -> None:
    place: Place = (server.metrics_url.removesuffix("/metrics"), None)
    answer = await exchange(place, request(place, "/metrics"))
    assert (answer.status, b"secureconnect_build_info" in answer.body) == (200, True)
    head = await exchange(place, request(place, "/metrics", method="HEAD"))
    assert (head.status, head.body, head.field("content-type")) == (200, b"", answer.field("content-type"))
    assert (await exchange(place, request(place, "/metrics", method="POST"))).problem["code"] == "method_not_allowed"
    for target in ("/", "/health", "/v1/users/me", "/docs"):
        assert (await exchange(place, request(place, target))).problem["code"] == "not_found"
    assert (await exchange(place, request(place, "//metrics"))).problem["code"] == "path_not_canonical"


async def test_metrics_may_stay_beside_the_api(tmp_path: Path) -> None:
    """What an operator of 0.1 sets who cannot change Prometheus yet; the gateway keeps them inside all the same."""
    server = ServerProcess(tmp_path / "data")
    server.change(METRICS_PORT=str(server.port))
    async with server, Gateway([server.port]) as gateway:
        here: Place = (server.url, None)
        assert b"secureconnect_build_info" in (await exchange(here, request(here, "/metrics"))).body
        outside: Place = (gateway.url, gateway.certificate)
        for target in ("/metrics", *OTHERS):
            answer = await exchange(outside, request(outside, target.replace("http://here", gateway.url)))
            assert answer.status in (400, 404), target
            assert b"secureconnect_build_info" not in answer.body


SUBJECTS = {
    "one letter": "x",
    "200 letters": "x" * 200,
    "201 letters": "x" * 201,
    "255 letters": "x" * 255,
    "256 letters": "x" * 256,
    "120 Vietnamese letters": "ế" * 120,
    "255 Vietnamese letters": "ế" * 255,
    "256 Vietnamese letters": "ế" * 256,
    "255 of four bytes": "\U0001f600" * 255,
    "a quote and a backslash": 'a"b\\c',
    "only a quote": '"',
    "an address": "mailto:ada@example.com",
    "a provider's": "auth0|5f7c8ec7c33c6c004bbafe82",
    "a space": " ",
    "empty": "",
    "a line": "a\nb",
}


async def test_gateway_and_node_take_the_same_subjects(server: ServerProcess) -> None:
    async with Gateway([server.port]) as gateway:
        for name, subject in SUBJECTS.items():
            token = f"Authorization: Bearer {mint(subject, 'Ada')}"
            places: list[Place] = [(server.url, None), (gateway.url, gateway.certificate)]
            node, outside = [await exchange(place, request(place, "/v1/users/me", token)) for place in places]
            assert (node.status, outside.status) in {(200, 200), (401, 401)}, name
            assert (node.status == 200) is (len(subject) in range(1, 256)), name


async def test_gateway_and_node_have_the_same_leeway(server: ServerProcess) -> None:
    async with Gateway([server.port]) as gateway:
        for seconds, status in ((-5, 200), (-7, 200), (-14, 401), (-60, 401)):
            token = f"Authorization: Bearer {mint(str(uuid4()), 'Ada', seconds=seconds)}"
            places: list[Place] = [(server.url, None), (gateway.url, gateway.certificate)]
            for place in places:
                answer = await exchange(place, request(place, "/v1/users/me", token))
                assert answer.status == status, (seconds, place[0])
                assert status == 200 or answer.problem["code"] == "token_expired"


async def test_the_gateway_counts_by_the_whole_subject(server: ServerProcess) -> None:
    """Subjects of one provider begin alike; ids in the path may be in capitals, and are of one call all the same."""
    async with Gateway([server.port], requests_per_subject=20) as gateway:
        place: Place = (gateway.url, gateway.certificate)

        async def ask(subject: str, target: str = "/v1/users/me") -> int:
            return (await exchange(place, request(place, target, f"Authorization: Bearer {mint(subject, 'Ada')}"))).status

        eve, ada = "x" * 100 + "eve", "x" * 100 + "ada"
        assert [await ask(eve) for _ in range(25)].count(429) >= 4
        assert await ask(ada) == 200, "who only begins alike is another"
        vietnamese = "ế" * 100
        assert [await ask(vietnamese) for _ in range(25)].count(429) >= 4
        for target in OTHERS[:20]:
            assert await ask(eve, target) == 400, "no spelling passes the limit"
