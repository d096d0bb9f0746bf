"""What a new password ends and what goes on: at one node, with time in the test's hands."""

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.accounts.administration import Administration
from secureconnect.accounts.credentials import PasswordHasher
from secureconnect.accounts.password import RESET_LIFETIME, PasswordService, create_reset
from secureconnect.accounts.revocations import Revocations
from secureconnect.accounts.service import AccountService
from secureconnect.accounts.sign_ins import SignIn
from secureconnect.bus.memory import MemoryBus
from secureconnect.errors import AccountDisabled, LinkExpired, Unauthenticated, Unprocessable, WrongCredentials, WrongPassword
from secureconnect.ids import DeviceId, IdFactory
from secureconnect.push import Provider
from secureconnect.store import Database
from secureconnect.store import devices as device_store
from secureconnect.store.devices import Device
from secureconnect.store.tables import password_resets
from tests.fakes.clock import ManualClock
from tests.unit.accounts.conftest import MakeService

pytestmark = pytest.mark.anyio

EMAIL, PASSWORD, ANOTHER = "ada@example.com", "correct horse", "another horse"


class Desk:
    """The services of one node."""

    def __init__(
        self, accounts: AccountService, database: Database, ids: IdFactory, clock: ManualClock, passwords: PasswordHasher
    ) -> None:
        self.accounts, self.database, self.ids, self.clock = accounts, database, ids, clock
        revocations = accounts.sign_ins._revocations
        self.passwords = PasswordService(
            sign_ins=accounts.sign_ins, database=database, clock=clock, passwords=passwords, revocations=revocations
        )
        self.administration = Administration(database=database, ids=ids, clock=clock, revocations=revocations)

    async def register(self, device_id: DeviceId | None = None) -> SignIn:
        return await self.accounts.register(email=EMAIL, password=PASSWORD, display_name="Ada", device_id=device_id)

    async def sign_in(self, password: str = PASSWORD, device_id: DeviceId | None = None) -> SignIn:
        return await self.accounts.login(email=EMAIL, password=password, device_id=device_id)

    async def change(self, signed_in: SignIn, current: str = PASSWORD, new: str = ANOTHER) -> SignIn:
        return await self.passwords.change(await self.accounts.authenticate(signed_in.access_token), current, new)

    async def is_over(self, signed_in: SignIn) -> bool:
        try:
            await self.accounts.authenticate(signed_in.access_token)
        except Unauthenticated:
            return True
        return False

    async def cannot_renew(self, signed_in: SignIn) -> bool:
        assert signed_in.refresh_token is not None
        try:
            await self.accounts.refresh(signed_in.refresh_token)
        except Unauthenticated:
            return True
        return False

    async def wake_by_push(self, signed_in: SignIn, device_id: DeviceId) -> None:
        now = self.clock.now()
        device = Device(signed_in.user.user_id, device_id, Provider.LOG, "web", str(device_id), now, now)
        await self.database.transact(lambda connection: device_store.put_device(connection, device))

    async def woken(self, signed_in: SignIn) -> set[DeviceId]:
        user_id = signed_in.user.user_id
        found = await self.database.read(lambda connection: device_store.devices_of(connection, [user_id]))
        return {device.device_id for device in found}


@pytest.fixture
def desk(make_service: MakeService, database: Database, ids: IdFactory, clock: ManualClock, passwords: PasswordHasher) -> Desk:
    return Desk(make_service(database), database, ids, clock, passwords)


class TestChange:
    async def test_the_sign_in_that_asks_goes_on_with_both_its_tokens(self, desk: Desk) -> None:
        ada = await desk.register()
        changed = await desk.change(ada)
        assert not await desk.is_over(ada)
        assert not await desk.is_over(changed)
        assert not await desk.cannot_renew(changed)

    async def test_all_others_end_in_the_same_second_too(self, desk: Desk) -> None:
        ada = await desk.register()
        others = [await desk.sign_in() for _ in range(3)]
        await desk.change(ada)
        for other in others:
            assert await desk.is_over(other)
            assert await desk.cannot_renew(other)
        assert not await desk.is_over(await desk.sign_in(ANOTHER))

    async def test_a_refresh_token_copied_before_gives_nothing(self, desk: Desk) -> None:
        """Not even in the time in which the one used last is answered again."""
        first = await desk.register()
        assert first.refresh_token is not None
        second = await desk.accounts.refresh(first.refresh_token)
        changed = await desk.change(second)
        assert await desk.cannot_renew(first)
        assert await desk.is_over(changed), "whoever sent it may be a thief: the whole sign-in ends"

    async def test_a_wrong_one_changes_nothing(self, desk: Desk) -> None:
        ada, other = await desk.register(), await desk.sign_in()
        with pytest.raises(WrongPassword):
            await desk.change(ada, "wrong horse")
        assert not await desk.is_over(other)
        with pytest.raises(WrongCredentials):
            await desk.sign_in(ANOTHER)

    @pytest.mark.parametrize("new", ["", "1234567", "x" * 257])
    async def test_a_new_one_has_a_usable_length(self, desk: Desk, new: str) -> None:
        with pytest.raises(Unprocessable, match="new_password"):
            await desk.change(await desk.register(), new=new)

    async def test_other_devices_are_woken_no_more(self, desk: Desk) -> None:
        here, lost = DeviceId(desk.ids.new()), DeviceId(desk.ids.new())
        ada = await desk.register(here)
        for device_id in (here, lost):
            await desk.wake_by_push(ada, device_id)
        await desk.change(ada)
        assert await desk.woken(ada) == {here}

    async def test_links_that_were_not_used_are_void(self, desk: Desk) -> None:
        ada = await desk.register()
        token = await create_reset(desk.database, desk.clock.now(), ada.user.user_id)
        await desk.change(ada)
        with pytest.raises(LinkExpired):
            await desk.passwords.reset(token, "a third horse")


class TestReset:
    async def test_it_works_once_and_ends_everything(self, desk: Desk) -> None:
        ada = await desk.register()
        token = await create_reset(desk.database, desk.clock.now(), ada.user.user_id)
        fresh = await desk.passwords.reset(token, ANOTHER)
        assert fresh.user == ada.user
        assert await desk.is_over(ada)
        assert not await desk.is_over(fresh)
        with pytest.raises(LinkExpired):
            await desk.passwords.reset(token, ANOTHER)

    async def test_it_works_for_thirty_minutes(self, desk: Desk) -> None:
        ada = await desk.register()
        for wait, works in ((RESET_LIFETIME - timedelta(seconds=1), True), (RESET_LIFETIME, False)):
            token = await create_reset(desk.database, desk.clock.now(), ada.user.user_id)
            desk.clock.advance(wait.total_seconds())
            if works:
                await desk.passwords.reset(token, ANOTHER)
            else:
                with pytest.raises(LinkExpired):
                    await desk.passwords.reset(token, ANOTHER)

    @pytest.mark.parametrize("token", ["", "made up", "ö" * 43, "\0", "\ud800"])
    async def test_any_other_token_is_refused(self, desk: Desk, token: str) -> None:
        await desk.register()
        with pytest.raises(LinkExpired):
            await desk.passwords.reset(token, ANOTHER)

    async def test_a_password_that_is_too_short_leaves_the_link_good(self, desk: Desk) -> None:
        ada = await desk.register()
        token = await create_reset(desk.database, desk.clock.now(), ada.user.user_id)
        with pytest.raises(Unprocessable):
            await desk.passwords.reset(token, "short")
        await desk.passwords.reset(token, ANOTHER)

    async def test_it_opens_no_disabled_account(self, desk: Desk) -> None:
        ada = await desk.register()
        token = await create_reset(desk.database, desk.clock.now(), ada.user.user_id)
        await desk.administration.disable(ada.user.user_id)
        with pytest.raises(AccountDisabled):
            await desk.passwords.reset(token, ANOTHER)

    async def test_only_its_hash_is_stored(self, desk: Desk) -> None:
        ada = await desk.register()
        token = await create_reset(desk.database, desk.clock.now(), ada.user.user_id)

        async def hashes(connection: AsyncConnection) -> list[str]:
            return list((await connection.execute(select(password_resets.c.token_hash))).scalars())

        [kept] = await desk.database.read(hashes)
        assert token not in kept
        assert len(kept) == 64


class TestAdministration:
    async def test_a_sign_in_that_begins_while_the_account_is_disabled_does_not_outlive_that(self, desk: Desk) -> None:
        """The node that signs in need not have heard of it."""
        ada = await desk.register()
        other_node = Revocations(
            database=desk.database, bus=MemoryBus(desk.clock), clock=desk.clock, lifetime=timedelta(minutes=15)
        )
        await other_node.disable_user(ada.user.user_id)
        with pytest.raises(AccountDisabled):
            await desk.sign_in()
        with pytest.raises(AccountDisabled):
            await desk.accounts.mint(EMAIL)

    async def test_sign_out_wakes_no_device(self, desk: Desk) -> None:
        ada = await desk.register()
        await desk.wake_by_push(ada, DeviceId(desk.ids.new()))
        await desk.administration.sign_out(ada.user.user_id)
        assert await desk.woken(ada) == set()
        assert await desk.is_over(ada)

    async def test_a_token_from_the_command_ends_with_sign_out(self, desk: Desk) -> None:
        ada = await desk.register()
        minted = await desk.accounts.mint(EMAIL)
        assert (await desk.accounts.authenticate(minted)).user_id == ada.user.user_id
        await desk.administration.sign_out(ada.user.user_id)
        with pytest.raises(Unauthenticated):
            await desk.accounts.authenticate(minted)
