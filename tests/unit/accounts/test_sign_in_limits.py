"""Failed sign-ins: whom they lock out, and whom they do not."""

import asyncio
import os
from uuid import uuid4

import pytest

from secureconnect.accounts.client import Client
from secureconnect.accounts.credentials import PasswordHasher
from secureconnect.accounts.service import AccountService
from secureconnect.accounts.sign_in_limits import Attempt, SignInLimits
from secureconnect.accounts.sign_ins import SignIn
from secureconnect.errors import RateLimited, Unavailable, WrongCredentials
from secureconnect.ids import DeviceId
from secureconnect.ops.ratelimit import RateLimiter
from secureconnect.store import Database
from tests.fakes.clock import ManualClock

pytestmark = pytest.mark.anyio
DOCTOR, PASSWORD = "doctor@hospital.example", "correct horse battery"
HOME, WORK, STRANGER = "198.51.100.7", "192.0.2.5", "203.0.113.66"


class Door:
    """The sign-in of one node, as a client meets it."""

    def __init__(self, accounts: AccountService, database: Database, clock: ManualClock) -> None:
        self.accounts = accounts
        self.limiter = RateLimiter(clock=clock)
        self.limits = SignInLimits(database=database, limiter=self.limiter, clock=clock, key=b"of the tests")

    async def register(self, address: str, email: str = DOCTOR, device: DeviceId | None = None) -> SignIn:
        client = await self.limits.register(address)
        return await self.accounts.register(email=email, password=PASSWORD, display_name="Doctor", client=client, device_id=device)

    async def sign_in(
        self,
        address: str,
        password: str = PASSWORD,
        email: str = DOCTOR,
        device: DeviceId | None = None,
        tokens: tuple[str, ...] = (),
    ) -> SignIn:
        async def work(client: Client) -> SignIn:
            return await self.accounts.login(email=email, password=password, device_id=device, client=client)

        return await self.limits.sign_in(Attempt(email, address, device, tokens), work)

    async def fail(self, address: str, times: int = 1, email: str = DOCTOR, device: DeviceId | None = None) -> list[str]:
        """Sign in with a wrong password; what came of it."""
        outcomes = []
        for _ in range(times):
            try:
                await self.sign_in(address, "wrong", email, device)
            except (WrongCredentials, RateLimited) as refusal:
                outcomes.append(refusal.code)
        return outcomes


@pytest.fixture
def door(accounts: AccountService, database: Database, clock: ManualClock) -> Door:
    return Door(accounts, database, clock)


WRONG, REFUSED = "wrong_credentials", "rate_limited"


async def test_a_stranger_who_fails_does_not_lock_out_the_owner(door: Door) -> None:
    await door.register(WORK)
    assert await door.fail(STRANGER, 15, email=f" {DOCTOR.upper()} ") == [WRONG] * 10 + [REFUSED] * 5
    assert (await door.sign_in(HOME)).access_token, "from a network that was never seen"
    assert (await door.sign_in(WORK)).access_token
    with pytest.raises(RateLimited):
        await door.sign_in(STRANGER)


async def test_successes_do_not_count(door: Door) -> None:
    await door.register(WORK)
    for _ in range(70):
        assert (await door.sign_in(HOME)).access_token
    assert await door.fail(HOME, 11) == [WRONG] * 10 + [REFUSED]


async def test_many_networks_slow_down_strangers_and_not_those_who_were_there_before(door: Door, clock: ManualClock) -> None:
    device = DeviceId(uuid4())
    signed_in = await door.register(WORK, device=device)
    assert signed_in.refresh_token
    attacks = [asyncio.create_task(door.fail(f"203.0.113.{number}", 10)) for number in range(10)]
    for attack in attacks:
        while not attack.done():
            await asyncio.sleep(0.001)  # hashes are made in threads
            if clock.sleeping:
                clock.advance(0.1)
        assert WRONG in attack.result()
    assert clock.monotonic() > 1, "strangers were slowed down"
    assert await door.fail("203.0.113.99") == [REFUSED], "of all strangers together 100 a minute may try"
    begun = clock.monotonic()
    assert (await door.sign_in(WORK)).access_token, "its network"
    assert (await door.sign_in("203.0.113.200", device=device)).access_token, "its device"
    assert (await door.sign_in("203.0.113.201", tokens=("x", signed_in.refresh_token))).access_token, "its cookie"
    assert clock.monotonic() == begun, "without a pause"


async def test_a_stranger_on_the_same_network_does_not_lock_out_a_known_device(door: Door) -> None:
    device = DeviceId(uuid4())
    await door.register(WORK, device=device)
    assert await door.fail(WORK, 12) == [WRONG] * 10 + [REFUSED] * 2
    assert (await door.sign_in(WORK, device=device)).access_token
    assert await door.fail(WORK, 11, device=device) == [WRONG] * 10 + [REFUSED], "a device has a limit, too"


async def test_a_device_that_was_signed_out_is_not_known(door: Door) -> None:
    device = DeviceId(uuid4())
    signed_in = await door.register(WORK, device=device)
    assert signed_in.refresh_token
    await door.accounts.logout(signed_in.refresh_token)
    await door.fail(STRANGER, 10)
    with pytest.raises(RateLimited):
        await door.sign_in(STRANGER, device=device)


async def test_one_password_tried_on_many_accounts_is_limited_by_network(door: Door) -> None:
    outcomes = [await door.fail(f"2001:db8:1:1::{number:x}", email=f"{number}@x.example") for number in range(70)]
    assert [outcome for [outcome] in outcomes] == [WRONG] * 60 + [REFUSED] * 10
    assert await door.fail("2001:db8:1:2::1", email="1@x.example") == [WRONG], "the neighbour"
    assert await door.fail("::ffff:203.0.113.9", 60, email="a@x.example") == [WRONG] * 10 + [REFUSED] * 50
    assert await door.fail("203.0.113.9", email="a@x.example") == [REFUSED], "the same client"


async def test_registering_is_limited_by_network(door: Door) -> None:
    made = 0
    for number in range(62):
        try:
            await door.limits.register(f"2001:db8:1:1:{number:x}::1")
        except RateLimited:
            continue
        made += 1
    assert made == 60
    await door.limits.register(HOME)


async def test_a_queue_that_is_full_does_not_count_as_a_failure(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    await door.register(WORK)

    async def full(*_: object) -> bool:
        raise Unavailable

    with monkeypatch.context() as patch:
        patch.setattr(PasswordHasher, "verify", full)
        for _ in range(30):
            with pytest.raises(Unavailable):
                await door.sign_in(HOME)
    assert (await door.sign_in(HOME)).access_token


async def test_emails_that_do_not_exist_fill_no_table(door: Door) -> None:
    for number in range(3000):
        await door.fail(f"2001:db8:{number:x}::1", email=f"{os.urandom(4).hex()}@x.example")
    ratios = door.limiter.utilisation()
    assert ratios["login_account",] <= 3 * 3000 / 32_768
    assert ratios["login_email",] <= 3000 / 32_768
