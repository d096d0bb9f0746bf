"""Devices: whose they are, what is acceptable, and how many; and the routes to them."""

import os
from base64 import urlsafe_b64encode
from uuid import UUID, uuid4

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from litestar import Litestar, Request
from litestar.di import Provide
from litestar.exceptions import HTTPException

from secureconnect.accounts.devices import REGISTRATIONS_PER_USER, DeviceService, Registration
from secureconnect.accounts.grant import Grant
from secureconnect.accounts.service import Principal
from secureconnect.api.devices import routes
from secureconnect.api.problems import on_exception, on_http_exception, on_service_error
from secureconnect.errors import NotFound, ServiceError, Unprocessable
from secureconnect.ids import DeviceId, UserId
from secureconnect.push import Provider
from secureconnect.push.subscription import Subscription, SubscriptionKeys
from secureconnect.store import Database
from tests.fakes.clock import ManualClock
from tests.unit.push.conftest import Switchboard, device_service

pytestmark = pytest.mark.anyio
HOSTS = ("updates.push.example", ".push.apple.example", "127.0.0.1")


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def point() -> str:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return base64url(public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def subscription(
    endpoint: str = "https://updates.push.example/1", p256dh: str | None = None, auth: str | None = None
) -> Subscription:
    keys = SubscriptionKeys(point() if p256dh is None else p256dh, base64url(os.urandom(16)) if auth is None else auth)
    return Subscription(endpoint, keys)


@pytest.fixture
def devices(database: Database) -> DeviceService:
    return device_service(database, ManualClock(), list(Provider), webpush_hosts=HOSTS, webpush_key="a key")


@pytest.fixture
async def ada(board: Switchboard) -> UserId:
    return await board.person("Ada")


async def web(devices: DeviceService, user_id: UserId, offered: Subscription) -> None:
    await devices.put(user_id, DeviceId(uuid4()), Registration("web", Provider.WEBPUSH, subscription=offered))


class TestWhoseTheyAre:
    async def test_a_device_that_registers_again_stays_one(self, board: Switchboard, ada: UserId) -> None:
        device = await board.device(ada)
        (before,) = await board.devices.of_user(ada)
        await board.device(ada, device_id=device)
        (after,) = await board.devices.of_user(ada)
        assert (after.device_id, after.created_at) == (device, before.created_at)
        assert after.address != before.address

    async def test_a_token_goes_with_whoever_registers_it_last(self, board: Switchboard, ada: UserId) -> None:
        linus, phone = await board.person("Linus"), DeviceId(uuid4())
        for user_id in (ada, linus):
            await board.devices.put(user_id, phone, Registration("android", Provider.FCM, token="token:of_one-phone.1"))
        assert await board.devices.of_user(ada) == []
        assert len(await board.devices.of_user(linus)) == 1

    async def test_knowing_the_id_of_a_device_does_not_silence_it(self, board: Switchboard, ada: UserId) -> None:
        """Everybody in a call sees the others' device ids."""
        phone, mallory = await board.device(ada), await board.person("Mallory")
        await board.device(mallory, device_id=phone)
        await board.devices.revoke(mallory, phone)
        assert [device.device_id for device in await board.devices.of_user(ada)] == [phone]

    async def test_the_one_seen_longest_ago_makes_room(self, devices: DeviceService, database: Database) -> None:
        clock = ManualClock()
        board = Switchboard(database, clock)
        ada, made = await board.person("Ada"), []
        for _ in range(REGISTRATIONS_PER_USER + 2):
            clock.advance(1)
            made.append(await board.device(ada))
        assert [device.device_id for device in await board.devices.of_user(ada)] == made[:1:-1]


class TestWhatIsAcceptable:
    async def test_subscriptions_of_known_push_services(self, devices: DeviceService, ada: UserId) -> None:
        for endpoint in ("https://updates.push.example/wpush/v2/x", "https://web.push.apple.example/y", "http://127.0.0.1:8000/z"):
            await web(devices, ada, subscription(endpoint))
        assert len(await devices.of_user(ada)) == 3

    @pytest.mark.parametrize(
        "endpoint",
        [
            "http://updates.push.example/1",
            "https://10.0.0.1/admin",
            "https://localhost/1",
            "http://[::1]:6379/",
            "https://push.apple.example.evil.example/",
            "https://evilpush.apple.example/",
            "https://updates.push.example@evil.example/",
            "https://evil.example\\@updates.push.example/",
            "https://updates.push.example/\r\nX: y",
            "ftp://updates.push.example/",
            "https://updates.push.example:port/",
            "//updates.push.example/",
            "",
        ],
    )
    async def test_no_other_address(self, devices: DeviceService, ada: UserId, endpoint: str) -> None:
        with pytest.raises(Unprocessable, match=r"^subscription\.endpoint"):
            await web(devices, ada, subscription(endpoint))

    @pytest.mark.parametrize("key", ["", "AAAA", base64url(b"\x04" + bytes(64)), "*" * 87])
    async def test_no_key_that_is_not_on_the_curve(self, devices: DeviceService, ada: UserId, key: str) -> None:
        with pytest.raises(Unprocessable, match="p256dh"):
            await web(devices, ada, subscription(p256dh=key))

    @pytest.mark.parametrize("auth", ["", base64url(bytes(15)), base64url(bytes(17)), "ä"])
    async def test_no_secret_of_another_length(self, devices: DeviceService, ada: UserId, auth: str) -> None:
        with pytest.raises(Unprocessable, match="auth"):
            await web(devices, ada, subscription(auth=auth))

    @pytest.mark.parametrize(
        ("provider", "token"),
        [
            (Provider.APNS, "zz" * 32),
            (Provider.APNS_VOIP, "../" * 20),
            (Provider.APNS, "ab" * 200),
            (Provider.FCM, "short"),
            (Provider.FCM, "x" * 4097),
            (Provider.LOG, "two\nlines"),
            (Provider.FCM, None),
            (Provider.WEBPUSH, "a token"),
        ],
    )
    async def test_no_token_that_a_provider_would_not_give(
        self, devices: DeviceService, ada: UserId, provider: Provider, token: str | None
    ) -> None:
        with pytest.raises(Unprocessable):
            await devices.put(ada, DeviceId(uuid4()), Registration("ios", provider, token=token))

    async def test_no_provider_without_a_sender(self, board: Switchboard, ada: UserId) -> None:
        with pytest.raises(Unprocessable, match="not set up"):
            await web(board.devices, ada, subscription())
        with pytest.raises(NotFound):
            board.devices.webpush_key()


class TestRoutes:
    async def test_put_list_delete(self, devices: DeviceService, ada: UserId) -> None:
        async def principal(request: Request[UUID, None, None]) -> Principal:  # type: ignore[type-var]
            return Principal(ada, "Ada", Grant(ada, 0.0, 0.0))

        app = Litestar(
            routes,
            dependencies={"principal": Provide(principal), "devices": Provide(lambda: devices, sync_to_thread=False)},
            exception_handlers={ServiceError: on_service_error, HTTPException: on_http_exception, Exception: on_exception},
        )
        transport = httpx2.ASGITransport(app=app)  # type: ignore[arg-type]
        path, token = f"/v1/devices/{uuid4()}", "a" * 64
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
            made = await http.put(path, json={"platform": "ios", "provider": "apns_voip", "token": token})
            assert made.status_code == 200
            assert made.json().keys() == {"device_id", "platform", "provider", "signed_in", "created_at", "seen_at"}
            assert token not in made.text
            assert (await http.get("/v1/devices")).json() == {"items": [made.json()], "next_cursor": None}
            assert (await http.get("/v1/push/webpush-key")).json() == {"public_key": "a key"}
            for _ in range(2):
                assert (await http.delete(path)).status_code == 204
            assert (await http.get("/v1/devices")).json()["items"] == []
            for body in ({"platform": "toaster", "provider": "fcm", "token": token}, {"platform": "ios", "provider": "pigeon"}):
                assert (await http.put(path, json=body)).status_code == 400
            refused = await http.put(path, json={"platform": "ios", "provider": "apns", "token": "no hex"})
            assert (refused.status_code, refused.json()["code"]) == (422, "unprocessable")
