"""Webhooks at a real application: signed, in order per call, tried again, replayed by cursor, and outliving the server."""

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from secureconnect.config import ConfigurationError, load_settings
from secureconnect.doctor.webhook import webhook as examine
from tests.fakes.people import Json, Refused, World, mint
from tests.fakes.provider import Answer, Provider, Request, listening
from tests.fakes.server import SECRET, ServerProcess
from tests.scenario.conftest import serving

pytestmark = pytest.mark.anyio
OLD, NEW = (f"whsec_{base64.b64encode(letter * 32).decode()}" for letter in (b"o", b"n"))
DOCS = Path(__file__).parents[2] / "docs"


class Receiver(Provider):
    """The application. Takes everything, unless a test has given it another `answer`."""

    def __init__(self) -> None:
        super().__init__(lambda _: Answer(204))
        self.url = ""

    def of(self, call: Json) -> list[Request]:
        """What came about one call."""
        return [request for request in self.requests if event(request)["data"].get("call_id") == call["call_id"]]

    async def told(self, call: Json, last: str = "call.ended") -> list[Request]:
        """Everything about a call, once the event of the type `last` has come."""
        await self.until(lambda: last in types(self.of(call)))
        return self.of(call)


def event(request: Request) -> Json:
    parsed: Json = json.loads(request.body)
    return parsed


def types(requests: list[Request]) -> list[str]:
    return [event(request)["type"] for request in requests]


def ids(requests: list[Request]) -> list[str]:
    return [request.headers["webhook-id"] for request in requests]


@pytest.fixture(scope="module")
def verify() -> Callable[..., None]:
    """What the page tells people to copy."""
    text = (DOCS / "webhooks.md").read_text().partition("```python\n")[2].partition("```")[0]
    namespace: dict[str, Any] = {}
    exec(text, namespace)
    found: Callable[..., None] = namespace["verify"]
    return found


@pytest.fixture(scope="module")
async def application() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with listening(receiver) as url:
        receiver.url = f"{url}/hook"
        yield receiver


@pytest.fixture
def receiver(application: Receiver) -> Receiver:
    """The application, well again after the test before."""
    application.answer = lambda _: Answer(204)
    return application


@pytest.fixture(scope="module")
async def server(application: Receiver, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    settings = {"WEBHOOK_URL": application.url, "WEBHOOK_SECRET": f"{NEW} {OLD}"}
    async with serving(tmp_path_factory.mktemp("data"), **settings) as server:
        yield server


async def a_whole_call(world: World) -> Json:
    ada, ben = await world.people("Ada", "Ben")
    call = await ada.initiate(await ada.converse(ben), ben)
    await ben.join(call)
    await ada.end(call)
    return call


async def command(server: ServerProcess, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "secureconnect", "webhooks", *words, "--data-dir", str(server.data_dir)),
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/bin", "COLUMNS": "200", "SECURECONNECT_JWT_SECRET": SECRET},
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0
    return said


async def test_a_call_from_its_start_to_its_end(world: World, receiver: Receiver, verify: Callable[..., None]) -> None:
    ada, ben, cleo = await world.people("Ada", "Ben", "Cleo")
    call = await ada.initiate(await ada.converse(ben, cleo), ben, cleo)
    await ben.join(call)
    await cleo.decline(call)
    await ben.leave(call)
    requests = await receiver.told(call)
    assert types(requests) == [
        *("call.started", "participant.joined", "call.ringing", "call.ringing"),
        *("participant.joined", "call.answered", "call.declined"),
        *("participant.left", "participant.left", "call.ended"),
    ]
    data = [event(request)["data"] for request in requests]
    about = [one.get("user_id") for one in data]
    assert about[:3] == [ada.user_id, ada.user_id, ben.user_id]
    assert about[4:7] == [ben.user_id, ben.user_id, cleo.user_id]
    assert set(about[7:9]) == {ada.user_id, ben.user_id}
    sequences = [one["sequence"] for one in data]
    assert sequences == sorted(set(sequences))
    assert len(set(ids(requests))) == len(requests)
    assert (data[-1]["reason"], data[-1]["call"]["status"]) == ("completed", "ended")
    assert data[-1]["duration_seconds"] >= 0
    for request in requests:
        for secret in (NEW, OLD):
            verify(secret, request.headers, request.body)
        with pytest.raises(ValueError, match="does not fit"):
            verify(NEW, request.headers, request.body + b" ")
        with pytest.raises(ValueError, match="too old"):
            verify(NEW, request.headers, request.body, now=0)


async def test_openssl_computes_the_same_signature(world: World, receiver: Receiver) -> None:
    (request, *_) = await receiver.told(await a_whole_call(world))
    key = base64.b64decode(NEW.removeprefix("whsec_")).hex()
    process = await asyncio.create_subprocess_exec(
        *("openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}", "-binary"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    digest = (await process.communicate(signed))[0]
    assert request.headers["webhook-signature"].split(" ")[0] == f"v1,{base64.b64encode(digest).decode()}"


async def test_one_that_is_not_taken_holds_back_its_own_call_and_no_other(world: World, receiver: Receiver) -> None:
    refused: list[Json] = []

    def answer(request: Request) -> Answer:
        told = event(request)
        if told["type"] != "call.started" or len(refused) == 2:
            return Answer(204)
        if refused and refused[0]["call_id"] != told["data"]["call_id"]:
            return Answer(204)
        refused.append(told["data"])
        return Answer(503, headers={"retry-after": "1"})

    receiver.answer = answer
    held = await a_whole_call(world)
    await receiver.told(held, "call.started")
    free = await a_whole_call(world)
    assert types(await receiver.told(free))[-1] == "call.ended"
    assert set(types(receiver.of(held))) == {"call.started"}, "the other call did not wait for this one"
    requests = await receiver.told(held)
    assert types(requests)[:4] == ["call.started"] * 3 + ["participant.joined"]
    assert len(set(ids(requests[:3]))) == 1, "the same id at each attempt"
    stamps = [int(request.headers["webhook-timestamp"]) for request in requests[:3]]
    assert stamps[0] < stamps[1] < stamps[2], "each attempt is signed with its own time, and waited as long as it was asked"


async def test_the_application_reads_again_by_cursor_what_it_was_told(
    world: World, receiver: Receiver, server: ServerProcess
) -> None:
    first = await receiver.told(await a_whole_call(world))
    call = await a_whole_call(world)
    second = await receiver.told(call)
    token = (await command(server, "token")).strip()
    path = f"/v1/webhooks/events?limit=100&cursor={ids(first)[-1]}"
    page = await world.ask("GET", path, None, {"authorization": f"Bearer {token}"})
    theirs = [item for item in page["items"] if item["event"]["data"]["call_id"] == call["call_id"]]
    assert [item["id"] for item in theirs] == ids(second)
    assert [item["event"] for item in theirs] == [event(request) for request in second]
    assert {item["outcome"] for item in theirs[:-1]} == {"delivered"}
    assert page["next_cursor"] == ids(first)[-1], "it stays behind what may still be written down"
    minted = mint("anything", "", audience="secureconnect/webhooks")
    assert (await world.ask("GET", path, None, {"authorization": f"Bearer {minted}"}))["items"]


async def test_an_application_is_no_person_and_no_person_is_the_application(world: World) -> None:
    ada = await world.person("Ada")
    token = mint("application", "", audience="secureconnect/webhooks")
    late = mint("application", "", audience="secureconnect/webhooks", seconds=-60)
    forged = mint("application", "", audience="secureconnect/webhooks", secret="another secret that is long enough for it")
    asked = {"/v1/webhooks/events": (ada.token, "nonsense", late, forged), "/v1/users/me": (token,)}
    for path, tokens in asked.items():
        for wrong in tokens:
            with pytest.raises(Refused) as refusal:
                await world.ask("GET", path, None, {"authorization": f"Bearer {wrong}"})
            assert (refusal.value.status, refusal.value.code) == (401, "unauthenticated")


async def test_the_operator_has_it_sent_again_in_order(world: World, receiver: Receiver, server: ServerProcess) -> None:
    first, call = await a_whole_call(world), await a_whole_call(world)
    before, once = await receiver.told(first), await receiver.told(call)
    listed = await command(server, "list", "--after", ids(before)[-1])
    assert ids(once)[-1] in listed
    assert ids(before)[-1] not in listed
    assert "are due again" in await command(server, "replay", "--after", ids(before)[-1])
    await receiver.until(lambda: len(receiver.of(call)) >= 2 * len(once))
    again = receiver.of(call)[len(once) :]
    assert [(request.headers["webhook-id"], request.body) for request in again] == [
        (request.headers["webhook-id"], request.body) for request in once
    ]
    assert len(receiver.of(first)) == len(before)


async def test_what_was_written_before_a_crash_is_sent_after_it(world: World, receiver: Receiver, server: ServerProcess) -> None:
    receiver.answer = lambda _: Answer(500)
    call = await a_whole_call(world)
    await receiver.told(call, "call.started")
    await server.kill()
    receiver.answer = lambda _: Answer(204)
    await server.start()
    requests = await receiver.told(call)
    taken = [name for name in types(requests) if name != "call.started"]
    assert taken == [
        *("participant.joined", "call.ringing", "participant.joined", "call.answered"),
        *("participant.left", "participant.left", "call.ended"),
    ]


async def test_the_doctor_tries_it(receiver: Receiver, verify: Callable[..., None], tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, webhook_url=receiver.url, webhook_secret=NEW)
    taken = await examine(settings, "0")
    assert (taken.verdict, taken.detail) == ("ok", "took a signed event of type webhook.test: 204")
    verify(NEW, receiver.requests[-1].headers, receiver.requests[-1].body)
    receiver.answer = lambda _: Answer(401)
    refused = await examine(settings, "0")
    assert (refused.verdict, refused.detail) == ("failed", "a signed event of type webhook.test: 401")
    nobody = await examine(load_settings(data_dir=tmp_path, webhook_url="http://127.0.0.1:9/", webhook_secret=NEW), "0")
    assert (nobody.verdict, nobody.detail) == ("failed", "a signed event of type webhook.test: not reached: ConnectError")


@pytest.mark.parametrize("secret", ["", "short", "whsec_!", f"whsec_{base64.b64encode(b'too short').decode()}"])
def test_a_secret_that_nobody_could_use_is_refused(secret: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="webhook_secret"):
        load_settings(data_dir=tmp_path, webhook_url="http://localhost", webhook_secret=secret)
    with pytest.raises(ConfigurationError, match="webhook_secret"):
        load_settings(data_dir=tmp_path, webhook_url="http://localhost")
