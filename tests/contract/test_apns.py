"""APNs as Apple sees it, over real HTTP/2 and TLS: every header, the provider token, the payload; and what its answers lead to."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from secureconnect.clock import SystemClock
from secureconnect.config import ConfigurationError, load_settings
from secureconnect.ids import CallId, DeviceId, UserId
from secureconnect.push import Delivered, Gone, Kind, Provider, Push, Refused, Retry
from secureconnect.push.apns import ApnsKey, ApnsSender
from secureconnect.senders import make_senders
from tests.fakes import jose
from tests.fakes.apns import Apple, running_apns
from tests.fakes.clock import ManualClock

pytestmark = pytest.mark.anyio
PRIVATE = ec.generate_private_key(ec.SECP256R1())
PEM = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PHONE = "ab" * 32
PAYLOAD = {"type": "call.incoming", "call_id": "c", "conversation_id": "talk", "caller_name": "Ada"}


@pytest.fixture(scope="module")
async def apple(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Apple]:
    async with running_apns(tmp_path_factory.mktemp("apns")) as apple:
        yield apple


@pytest.fixture
async def sender(apple: Apple) -> AsyncIterator[ApnsSender]:
    sender = ApnsSender(ApnsKey(PEM, "KEY4567890", "TEAM567890"), "org.example.calls", SystemClock(), api=apple.url, tls=apple.tls)
    yield sender
    await sender.close()


def push(provider: Provider = Provider.APNS_VOIP, kind: Kind = Kind.RING, token: str = PHONE) -> Push:
    return Push(
        push_id=uuid4(),
        call_id=CallId(uuid4()),
        user_id=UserId(uuid4()),
        device_id=DeviceId(uuid4()),
        provider=provider,
        kind=kind,
        payload=PAYLOAD,
        expires_at=datetime.now(UTC) + timedelta(seconds=30),
        address=token,
    )


async def delivered(sender: ApnsSender, apple: Apple, one: Push) -> dict[str, Any]:
    """Send it, and return what Apple saw."""
    assert await sender.send(one) == Delivered(str(one.push_id))
    seen = (await apple.seen())[-1]
    assert seen["version"] == "2"
    assert seen["path"] == f"/3/device/{one.address}"
    assert seen["headers"]["apns-id"] == str(one.push_id)
    assert seen["headers"]["apns-expiration"] == str(int(one.expires_at.timestamp()))
    return seen


class TestTheRequest:
    async def test_a_ring_by_voip(self, sender: ApnsSender, apple: Apple) -> None:
        seen = await delivered(sender, apple, push())
        headers = seen["headers"]
        assert (headers["apns-push-type"], headers["apns-topic"]) == ("voip", "org.example.calls.voip")
        assert headers["apns-priority"] == "10"
        assert seen["body"] == {"aps": {}, **PAYLOAD}

    async def test_a_notice_is_an_alert_that_takes_the_place_of_the_ring(self, sender: ApnsSender, apple: Apple) -> None:
        ring = push(Provider.APNS)
        first = await delivered(sender, apple, ring)
        missed = Push(**{name: getattr(ring, name) for name in ring.__struct_fields__} | {"kind": Kind.MISSED, "push_id": uuid4()})
        second = await delivered(sender, apple, missed)
        for seen in (first, second):
            assert (seen["headers"]["apns-push-type"], seen["headers"]["apns-topic"]) == ("alert", "org.example.calls")
            assert seen["headers"]["apns-priority"] == "10"
            assert seen["body"]["aps"]["alert"]["title"] == "Ada"
        assert first["headers"]["apns-collapse-id"] == second["headers"]["apns-collapse-id"]
        assert len(first["headers"]["apns-collapse-id"]) <= 64

    async def test_an_answer_elsewhere_is_for_the_app_alone(self, sender: ApnsSender, apple: Apple) -> None:
        seen = await delivered(sender, apple, push(Provider.APNS, Kind.CANCEL))
        headers = seen["headers"]
        assert (headers["apns-push-type"], headers["apns-topic"]) == ("background", "org.example.calls")
        assert headers["apns-priority"] == "5"
        assert seen["body"]["aps"] == {"content-available": 1}

    async def test_the_provider_token(self, sender: ApnsSender, apple: Apple) -> None:
        seen = await delivered(sender, apple, push())
        scheme, _, token = seen["headers"]["authorization"].partition(" ")
        header, claims = jose.verify(token, PRIVATE.public_key())
        assert scheme == "bearer"
        assert (header["alg"], header["kid"]) == ("ES256", "KEY4567890")
        assert claims.keys() == {"iss", "iat"}
        assert claims["iss"] == "TEAM567890"
        assert abs(claims["iat"] - time.time()) < 60

    async def test_many_share_one_connection(self, sender: ApnsSender, apple: Apple) -> None:
        await sender.send(push())
        before = len(await apple.seen())
        await asyncio.gather(*(sender.send(push()) for _ in range(50)))
        assert len({tuple(seen["peer"]) for seen in (await apple.seen())[before - 1 :]}) == 1


def test_a_provider_token_serves_forty_minutes() -> None:
    clock, key = ManualClock(), ApnsKey(PEM, "KEY4567890", "TEAM567890")
    first = key.token(clock.now())
    clock.advance(39 * 60)
    assert key.token(clock.now()) == first
    clock.advance(61)
    second = key.token(clock.now())
    assert second != first
    key.forget(first)
    assert key.token(clock.now()) == second
    key.forget(second)
    assert key.token(clock.now()) != second


@pytest.mark.parametrize(
    ("status", "reason", "verdict"),
    [
        (410, "Unregistered", Gone("Unregistered")),
        (400, "BadDeviceToken", Gone("BadDeviceToken")),
        (400, "DeviceTokenNotForTopic", Refused("400 DeviceTokenNotForTopic")),
        (400, "BadTopic", Refused("400 BadTopic")),
        (403, "ExpiredProviderToken", Retry("ExpiredProviderToken")),
        (403, "InvalidProviderToken", Refused("403 InvalidProviderToken")),
        (429, "TooManyRequests", Retry("429 TooManyRequests", 11.0)),
        (500, "InternalServerError", Retry("500 InternalServerError")),
        (503, "ServiceUnavailable", Retry("503 ServiceUnavailable")),
    ],
)
async def test_what_the_answer_means(sender: ApnsSender, apple: Apple, status: int, reason: str, verdict: object) -> None:
    await apple.answers(status, reason)
    assert await sender.send(push(token=f"{status}a" * 16)) == verdict


async def test_a_stranger_in_apples_place_gets_nothing(apple: Apple) -> None:
    """Its certificate is not one that the system trusts."""
    before = len(await apple.seen())
    sender = ApnsSender(ApnsKey(PEM, "k", "t"), "org.example.calls", SystemClock(), api=apple.url)
    assert isinstance(await sender.send(push()), Retry)
    await sender.close()
    assert len(await apple.seen()) == before


async def test_settings_that_do_not_fit_are_refused_in_words(tmp_path: Path) -> None:
    key = tmp_path / "AuthKey.p8"
    key.write_text(PEM)
    with pytest.raises(ConfigurationError, match="apns_key_id"):
        make_senders(load_settings(apns_key=key), SystemClock(), None)
    rest: dict[str, Any] = {"apns_key_id": "k", "apns_team_id": "t", "apns_topic": "org.example.calls"}
    with pytest.raises(ConfigurationError, match="cannot be read"):
        make_senders(load_settings(apns_key=tmp_path / "none", **rest), SystemClock(), None)
    senders = make_senders(load_settings(apns_key=key, **rest), SystemClock(), None)
    assert senders.keys() == {Provider.LOG, Provider.APNS, Provider.APNS_VOIP}
    for sender in senders.values():
        await sender.close()
    key.write_text("no key")
    with pytest.raises(ConfigurationError, match="p8"):
        make_senders(load_settings(apns_key=key, **rest), SystemClock(), None)
