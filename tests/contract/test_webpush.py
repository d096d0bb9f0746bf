"""Web Push as a push service and a browser see it: every header, the signature, the encryption; and what its answers lead to."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from secureconnect.clock import SystemClock
from secureconnect.ids import CallId, DeviceId, UserId
from secureconnect.push import Delivered, Gone, Kind, Push, Refused, Retry
from secureconnect.push import Provider as By
from secureconnect.push.vapid import VapidKey, new_private_key
from secureconnect.push.webpush import WebPushSender
from tests.fakes import jose
from tests.fakes.browser import Browser
from tests.fakes.people import World
from tests.fakes.provider import Answer, Provider, Request, listening
from tests.fakes.server import ServerProcess

pytestmark = pytest.mark.anyio
RING = {"type": "call.incoming", "caller_name": "Grüße, Ada ✆"}


@pytest.fixture
async def service() -> Provider:
    return Provider(lambda _: Answer(201))


@pytest.fixture
async def url(service: Provider) -> AsyncIterator[str]:
    async with listening(service) as url:
        yield url


@pytest.fixture
def key() -> VapidKey:
    return VapidKey(new_private_key(), "mailto:ops@example.com")


@pytest.fixture
async def sender(key: VapidKey) -> AsyncIterator[WebPushSender]:
    sender = WebPushSender(key, SystemClock())
    yield sender
    await sender.close()


def push_to(browser: Browser, payload: dict[str, str], kind: Kind = Kind.RING, call_id: CallId | None = None) -> Push:
    return Push(
        push_id=uuid4(),
        call_id=call_id or CallId(uuid4()),
        user_id=UserId(uuid4()),
        device_id=DeviceId(uuid4()),
        provider=By.WEBPUSH,
        kind=kind,
        payload=payload,
        expires_at=SystemClock().now() + timedelta(seconds=30.5),
        address=json.dumps(browser.subscription()),
    )


def test_the_browser_of_these_tests_opens_the_example_of_the_standard() -> None:
    """RFC 8291, section 5 and appendix A."""
    number = int.from_bytes(jose.decode("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"), "big")
    browser = Browser("", ec.derive_private_key(number, ec.SECP256R1()), jose.decode("BTBZMqHH6r4Tts7J_aSIgg"))
    body = (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95"
        "bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )
    assert browser.open(jose.decode(body)) == b"When I grow up, I want to be a watermelon"


class TestTheRequest:
    async def test_every_header_and_the_body(self, sender: WebPushSender, service: Provider, url: str, key: VapidKey) -> None:
        browser = Browser(f"{url}/wpush/v2/one?x=1")
        assert isinstance(await sender.send(push_to(browser, RING)), Delivered)
        (request,) = service.requests
        assert (request.method, request.path) == ("POST", "/wpush/v2/one")
        assert browser.read(request.body) == RING
        headers = request.headers
        assert headers["content-encoding"] == "aes128gcm"
        assert (headers["ttl"], headers["urgency"]) == ("30", "high")
        assert len(headers["topic"]) <= 32
        jose.decode(headers["topic"])
        scheme, _, parameters = headers["authorization"].partition(" ")
        named = dict(part.strip().split("=", 1) for part in parameters.split(","))
        assert (scheme, named["k"]) == ("vapid", key.public_key)
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), jose.decode(named["k"]))
        header, claims = jose.verify(named["t"], public)
        assert header == {"typ": "JWT", "alg": "ES256"}
        assert (claims["aud"], claims["sub"]) == (url, "mailto:ops@example.com")
        assert time.time() < claims["exp"] <= time.time() + 24 * 3600

    async def test_what_ends_a_ring_replaces_it(self, sender: WebPushSender, service: Provider, url: str) -> None:
        browser, call_id = Browser(url), CallId(uuid4())
        await sender.send(push_to(browser, RING, call_id=call_id))
        await sender.send(push_to(browser, {"type": "call.missed", "reason": "cancelled"}, Kind.MISSED, call_id))
        await sender.send(push_to(browser, RING))
        topics = [request.headers["topic"] for request in service.requests]
        assert topics[0] == topics[1] != topics[2]

    async def test_no_two_messages_look_alike(self, sender: WebPushSender, service: Provider, url: str) -> None:
        push = push_to(Browser(url), RING)
        await sender.send(push)
        await sender.send(push)
        first, second = (request.body for request in service.requests)
        assert first[:16] != second[:16]
        assert first[21:86] != second[21:86]


class TestTheAnswer:
    @pytest.mark.parametrize(
        ("answer", "verdict"),
        [
            (Answer(200), Delivered("200")),
            (Answer(404), Gone("404")),
            (Answer(410), Gone("410")),
            (Answer(429, headers={"retry-after": "7"}), Retry("429", 7.0)),
            (Answer(503), Retry("503")),
            (Answer(302, headers={"location": "http://127.0.0.1:1/"}), Refused("302")),
            (Answer(413), Refused("413")),
        ],
        ids=lambda value: str(getattr(value, "status", type(value).__name__)),
    )
    async def test_says_what_becomes_of_the_push(
        self, sender: WebPushSender, service: Provider, url: str, answer: Answer, verdict: object
    ) -> None:
        service.answer = lambda _: answer
        assert await sender.send(push_to(Browser(url), RING)) == verdict
        assert len(service.requests) == 1

    async def test_a_date_to_come_back_at(self, sender: WebPushSender, service: Provider, url: str) -> None:
        service.answer = lambda _: Answer(503, headers={"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"})
        assert await sender.send(push_to(Browser(url), RING)) == Retry("503", 0.0)

    async def test_nobody_there(self, sender: WebPushSender) -> None:
        verdict = await sender.send(push_to(Browser("http://127.0.0.1:1/secret-token"), RING))
        assert isinstance(verdict, Retry)
        assert "secret" not in verdict.detail


class TestThroughTheServer:
    """A real server, a real database: a call is placed, a closed tab's browser gets it."""

    @pytest.fixture
    async def server(self, tmp_path: Path) -> AsyncIterator[ServerProcess]:
        async with ServerProcess(tmp_path, WEBPUSH_HOSTS='["127.0.0.1"]') as server:
            yield server

    async def test_a_ring_and_its_end(self, server: ServerProcess, service: Provider, url: str) -> None:
        world, browser = World(server.url), Browser(f"{url}/tab")
        ada, linus = await world.people("Ada", "Linus")
        public_key = (await linus.ask("GET", "/v1/push/webpush-key"))["public_key"]
        body = {"platform": "web", "provider": "webpush", "subscription": browser.subscription()}
        await linus.ask("PUT", f"/v1/devices/{linus.device_id}", body)
        call = await ada.initiate(await ada.converse(linus), linus)
        (ring,) = await service.heard(1)
        assert public_key in ring.headers["authorization"]
        read = browser.read(ring.body)
        assert (read["type"], read["call_id"], read["caller_name"]) == ("call.incoming", call["call_id"], "Ada")
        await ada.end(call)
        last = (await service.heard(2))[1]
        assert browser.read(last.body)["type"] == "call.missed"
        await world.close()

    async def test_a_closed_tab_declines_with_what_the_ring_brought(
        self, server: ServerProcess, service: Provider, url: str
    ) -> None:
        world, browser = World(server.url), Browser(f"{url}/tab")
        ada, linus = await world.people("Ada", "Linus")
        body = {"platform": "web", "provider": "webpush", "subscription": browser.subscription()}
        await linus.ask("PUT", f"/v1/devices/{linus.device_id}", body)
        talk = await ada.converse(linus)
        call, another = await ada.initiate(talk, linus), await ada.initiate(talk, linus)
        rings = {read["call_id"]: read for read in (browser.read(ring.body) for ring in await service.heard(2))}
        token = rings[call["call_id"]]["ring_token"]
        assert rings[call["call_id"]]["user_id"] == linus.user_id
        async with httpx2.AsyncClient(base_url=server.url, headers={"Authorization": f"Bearer {token}"}) as tab:
            assert (await tab.get("/v1/users/me")).json()["code"] == "unauthenticated"
            assert (await tab.post(f"/v1/calls/{call['call_id']}/join")).status_code == 401
            assert (await tab.post(f"/v1/calls/{another['call_id']}/decline")).status_code == 401
            declined = await tab.post(f"/v1/calls/{call['call_id']}/decline", json={"device_id": linus.device_id})
        assert (declined.status_code, declined.json()["status"]) == (200, "declined")
        assert (await ada.look(another))["status"] == "ringing"
        await world.close()

    async def test_a_tab_that_is_gone_is_forgotten(self, server: ServerProcess, service: Provider, url: str) -> None:
        world, said = World(server.url), asyncio.Event()

        def answer(_: Request) -> Answer:
            said.set()
            return Answer(410)

        service.answer = answer
        ada, linus = await world.people("Ada", "Linus")
        body = {"platform": "web", "provider": "webpush", "subscription": Browser(url).subscription()}
        await linus.ask("PUT", f"/v1/devices/{linus.device_id}", body)
        await ada.initiate(await ada.converse(linus), linus)
        await said.wait()
        async with asyncio.timeout(10):
            while (await linus.ask("GET", "/v1/devices"))["items"]:  # noqa: ASYNC110  (what changes is in another process)
                await asyncio.sleep(0.02)
        await world.close()

    async def test_a_server_killed_while_it_sends_sends_after_it_is_back(
        self, server: ServerProcess, service: Provider, url: str
    ) -> None:
        world, never = World(server.url), asyncio.Event()
        service.answer = lambda _: Answer(201, after=never)
        ada, linus = await world.people("Ada", "Linus")
        browser = Browser(url)
        body = {"platform": "web", "provider": "webpush", "subscription": browser.subscription()}
        await linus.ask("PUT", f"/v1/devices/{linus.device_id}", body)
        call = await ada.initiate(await ada.converse(linus), linus)
        await service.heard(1)
        await server.kill()
        service.answer = lambda _: Answer(201)
        await server.start()
        again = (await service.heard(2))[1]
        assert browser.read(again.body)["call_id"] == call["call_id"]
        never.set()
        await world.close()

    async def test_where_no_push_service_is_nothing_is_sent(self, server: ServerProcess) -> None:
        world = World(server.url)
        (ada,) = await world.people("Ada")
        body = {
            "platform": "web",
            "provider": "webpush",
            "subscription": Browser(f"https://localhost/{os.urandom(4).hex()}").subscription(),
        }
        with pytest.raises(Exception, match="webpush_hosts"):
            await ada.ask("PUT", f"/v1/devices/{ada.device_id}", body)
        await world.close()
