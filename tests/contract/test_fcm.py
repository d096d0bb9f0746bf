"""FCM as Google sees it: the assertion at the token endpoint, the message at the API; and what its answers lead to."""

import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from secureconnect.clock import SystemClock
from secureconnect.ids import CallId, DeviceId, UserId
from secureconnect.push import Delivered, Gone, Kind, Push, Refused, Retry
from secureconnect.push import Provider as By
from secureconnect.push.fcm import FcmSender, ServiceAccount
from tests.fakes import jose
from tests.fakes.people import World
from tests.fakes.provider import Answer, Provider, Request, listening
from tests.fakes.server import ServerProcess

pytestmark = pytest.mark.anyio
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RING = {"type": "call.incoming", "call_id": "c", "caller_name": "Ada"}


class Google(Provider):
    """Token endpoint and API. `send` answers the messages."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.expires_in = 3600
        self.sign_in = 200
        self.send = Answer(200, b'{"name": "projects/calls-1/messages/0:17"}')

    @property
    def sign_ins(self) -> list[Request]:
        return [request for request in self.requests if request.path == "/token"]

    @property
    def messages(self) -> list[Request]:
        return [request for request in self.requests if request.path != "/token"]

    def _answer(self, request: Request) -> Answer:
        if request.path == "/token":
            token = {"access_token": f"token-{len(self.sign_ins)}", "expires_in": self.expires_in, "token_type": "Bearer"}
            return Answer(self.sign_in, json.dumps(token).encode())
        return self.send


def refusal(status: int, code: str, error_code: str | None = None, **headers: str) -> Answer:
    """As the API words it: google.rpc.Status, with an FcmError among its details."""
    kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
    details = [{"@type": "type.googleapis.com/google.rpc.BadRequest"}, {"@type": kind, "errorCode": error_code}]
    body = {"error": {"code": status, "status": code, "message": "…", "details": details if error_code else []}}
    return Answer(status, json.dumps(body).encode(), headers)


@pytest.fixture
def google() -> Google:
    return Google()


@pytest.fixture
async def url(google: Google) -> AsyncIterator[str]:
    async with listening(google) as url:
        yield url


@pytest.fixture
def file(url: str, tmp_path: Path) -> Path:
    """As Google gives it, with more in it than is needed."""
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {
        "type": "service_account",
        "project_id": "calls-1",
        "private_key_id": "key-7",
        "private_key": pem,
        "client_email": "calls@calls-1.iam.gserviceaccount.com",
        "token_uri": f"{url}/token",
    }
    path = tmp_path / "account.json"
    path.write_text(json.dumps(account))
    return path


@pytest.fixture
async def sender(file: Path, url: str) -> AsyncIterator[FcmSender]:
    sender = FcmSender(ServiceAccount.read(file), SystemClock(), url)
    yield sender
    await sender.close()


def push() -> Push:
    return Push(
        push_id=uuid4(),
        call_id=CallId(uuid4()),
        user_id=UserId(uuid4()),
        device_id=DeviceId(uuid4()),
        provider=By.FCM,
        kind=Kind.RING,
        payload=RING,
        expires_at=SystemClock().now() + timedelta(seconds=30.5),
        address="the-token:of-a-phone",
    )


async def test_the_assertion(sender: FcmSender, google: Google, url: str) -> None:
    await sender.send(push())
    (request,) = google.sign_ins
    assert (request.method, request.headers["content-type"]) == ("POST", "application/x-www-form-urlencoded")
    form = parse_qs(request.body.decode(), strict_parsing=True)
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    header, claims = jose.verify(form["assertion"][0], KEY.public_key())
    assert header == {"alg": "RS256", "typ": "JWT", "kid": "key-7"}
    assert claims["iss"] == "calls@calls-1.iam.gserviceaccount.com"
    assert claims["aud"] == f"{url}/token"
    assert claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
    assert claims["iat"] <= time.time() < claims["exp"] <= claims["iat"] + 3600


async def test_the_message(sender: FcmSender, google: Google) -> None:
    assert await sender.send(push()) == Delivered("0:17")
    (request,) = google.messages
    assert (request.method, request.path) == ("POST", "/v1/projects/calls-1/messages:send")
    assert request.headers["authorization"] == "Bearer token-1"
    assert request.headers["content-type"] == "application/json"
    android = {"priority": "HIGH", "ttl": "30s"}
    assert json.loads(request.body) == {"message": {"token": "the-token:of-a-phone", "data": RING, "android": android}}


async def test_one_sign_in_serves_many_and_is_renewed_before_it_ends(sender: FcmSender, google: Google) -> None:
    for _ in range(3):
        await sender.send(push())
    assert len(google.sign_ins) == 1
    google.send = refusal(401, "UNAUTHENTICATED")
    assert isinstance(await sender.send(push()), Retry)
    google.expires_in = 300
    await sender.send(push())
    await sender.send(push())
    assert len(google.sign_ins) == 3


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (refusal(404, "NOT_FOUND", "UNREGISTERED"), Gone("UNREGISTERED")),
        (refusal(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", **{"retry-after": "9"}), Retry("429 QUOTA_EXCEEDED", 9.0)),
        (refusal(503, "UNAVAILABLE", "UNAVAILABLE"), Retry("503 UNAVAILABLE")),
        (refusal(500, "INTERNAL", "INTERNAL"), Retry("500 INTERNAL")),
        (refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"), Refused("400 INVALID_ARGUMENT")),
        (refusal(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"), Refused("403 SENDER_ID_MISMATCH")),
        (refusal(404, "NOT_FOUND"), Refused("404 NOT_FOUND")),
        (Answer(502, b"<html>"), Retry("502")),
    ],
    ids=lambda value: str(getattr(value, "status", type(value).__name__)),
)
async def test_what_the_answer_means(sender: FcmSender, google: Google, answer: Answer, verdict: object) -> None:
    google.send = answer
    assert await sender.send(push()) == verdict


@pytest.mark.parametrize(("status", "kind"), [(400, Refused), (503, Retry)])
async def test_a_sign_in_that_fails(sender: FcmSender, google: Google, status: int, kind: type) -> None:
    google.sign_in = status
    assert isinstance(await sender.send(push()), kind)
    assert google.messages == []


def test_another_file_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "google-services.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="service account"):
        ServiceAccount.read(path)


async def test_a_ring_through_the_server(google: Google, file: Path, url: str, tmp_path: Path) -> None:
    async with ServerProcess(tmp_path / "data", FCM_SERVICE_ACCOUNT=str(file), FCM_API_URL=url) as server:
        world = World(server.url)
        ada, linus = await world.people("Ada", "Linus")
        body = {"platform": "android", "provider": "fcm", "token": "a" * 140}
        await linus.ask("PUT", f"/v1/devices/{linus.device_id}", body)
        google.send = refusal(404, "NOT_FOUND", "UNREGISTERED")
        call = await ada.initiate(await ada.converse(linus), linus)
        await google.heard(2)
        assert json.loads(google.messages[0].body)["message"]["data"]["call_id"] == call["call_id"]
        await ada.end(call)  # queued for nobody: the phone is gone by then, or is told of it in vain
        await world.close()
    assert all("a" * 140 not in json.dumps(line) for line in server.lines)
