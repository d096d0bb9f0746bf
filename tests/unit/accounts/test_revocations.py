"""What was revoked is refused at every node: at once by the bus, or a little later by reading again."""

import asyncio
import json
import sqlite3
from collections.abc import Collection
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from secureconnect.accounts.grant import Grant
from secureconnect.accounts.registration import Registration
from secureconnect.accounts.revocations import READ_AGAIN_SECONDS, SIGN_INS_TOPIC, USERS_TOPIC, Revocations
from secureconnect.accounts.service import AccountService
from secureconnect.accounts.sign_ins import SignIn
from secureconnect.accounts.verification import TokenVerifier
from secureconnect.bus.memory import MemoryBus
from secureconnect.errors import AccountDisabled, Unauthenticated, UnknownUser
from secureconnect.ids import DeviceId, IdFactory, UserId
from secureconnect.store import Database, open_database
from secureconnect.store.probes import sqlite_stamp
from secureconnect.store.schema import migrate
from tests.fakes.clock import ManualClock
from tests.unit.accounts.conftest import AUDIENCE, ISSUER, SECRET

pytestmark = pytest.mark.anyio
ADA, PASSWORD = "ada@example.com", "correct horse"
LIFETIME = timedelta(hours=24)


class Node:
    """One node: its revocations, and the account service that asks them."""

    def __init__(self, service: AccountService, revocations: Revocations) -> None:
        self.accounts = service
        self.revocations = revocations
        self.told: list[tuple[set[UUID], set[UserId]]] = []
        revocations.listen(self._note)

    def _note(self, sign_ins: Collection[UUID], users: Collection[UserId]) -> None:
        self.told.append((set(sign_ins), set(users)))

    async def register(self, email: str, device_id: DeviceId | None = None) -> SignIn:
        return await self.accounts.register(email=email, password=PASSWORD, display_name="Somebody", device_id=device_id)

    async def accepts(self, token: str) -> bool:
        try:
            await self.accounts.authenticate(token)
        except Unauthenticated:
            return False
        return True


class World:
    """Nodes on one database and one bus."""

    def __init__(self, database: Database, clock: ManualClock, make: "MakeNode") -> None:
        self.database = database
        self.clock = clock
        self.bus = MemoryBus(clock)
        self._make = make

    async def node(self, *, deaf: bool = False) -> Node:
        """A node; a deaf one has a bus of its own, as when Redis is away."""
        bus = MemoryBus(self.clock) if deaf else self.bus
        revocations = Revocations(database=self.database, bus=bus, clock=self.clock, lifetime=LIFETIME)
        await revocations.load()
        return Node(self._make(self.database, revocations), revocations)


class MakeNode:
    """Makes the account service of one more node."""

    def __init__(self, ids: IdFactory, clock: ManualClock, passwords, issuer, http) -> None:  # type: ignore[no-untyped-def]
        self._parts = {"ids": ids, "clock": clock, "passwords": passwords, "issuer": issuer}
        verifier = {"secret": SECRET, "issuer": ISSUER, "audience": AUDIENCE, "outside": {}, "http": http, "clock": clock}
        self._verifier = TokenVerifier(**verifier)

    def __call__(self, database: Database, revocations: Revocations) -> AccountService:
        return AccountService(
            database=database,
            verifier=self._verifier,
            refresh_lifetime=timedelta(days=30),
            revocations=revocations,
            accepts_any_token=True,
            registration=Registration(database, self._parts["clock"], "open", "application", demo=False),
            **self._parts,
        )


@pytest.fixture
def world(database: Database, ids, clock: ManualClock, passwords, issuer, http) -> World:  # type: ignore[no-untyped-def]
    return World(database, clock, MakeNode(ids, clock, passwords, issuer, http))


def signed(clock: ManualClock, user_id: UUID, *, age: float = 0, **more: object) -> str:
    """A token as an embedding application signs one, issued `age` seconds ago. A member that is None is left out."""
    now = clock.now().timestamp() - age
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": str(user_id), "iat": int(now), "exp": int(now) + 3600, **more}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": "HS256"}, kept, OctKey.import_key(SECRET))


async def listen(node: Node) -> None:
    """What `run` does first."""
    bus = node.revocations._bus
    await bus.subscribe(SIGN_INS_TOPIC, node.revocations._hear_sign_ins)
    await bus.subscribe(USERS_TOPIC, node.revocations._hear_user)


class TestUser:
    async def test_all_tokens_of_before_are_refused_on_every_node(self, world: World) -> None:
        here, there = await world.node(), await world.node()
        await listen(there)
        first, second = await here.register(ADA), await here.accounts.login(email=ADA, password=PASSWORD)
        embedded = signed(world.clock, first.user.user_id)
        await here.revocations.revoke_user(first.user.user_id)
        for node in (here, there):
            for token in (first.access_token, second.access_token, embedded):
                assert not await node.accepts(token)
        for old in (first, second):
            with pytest.raises(Unauthenticated):
                await there.accounts.refresh(refresh_token(old))

    async def test_a_new_sign_in_counts_in_the_same_second(self, world: World) -> None:
        node = await world.node()
        old = await node.register(ADA)
        await node.revocations.revoke_user(old.user.user_id)
        new = await node.accounts.login(email=ADA, password=PASSWORD)
        assert await node.accepts(new.access_token)
        assert not await node.accepts(old.access_token)
        assert not await node.accepts(signed(world.clock, old.user.user_id)), "in the same second it may have been before"
        world.clock.advance(1)
        assert await node.accepts(signed(world.clock, old.user.user_id))

    async def test_others_are_not_touched(self, world: World) -> None:
        node = await world.node()
        ada = await node.register(ADA)
        ben = await node.register("ben@example.com")
        await node.revocations.revoke_user(ada.user.user_id)
        assert await node.accepts(ben.access_token)

    async def test_the_kept_sign_in_goes_on(self, world: World) -> None:
        here, there, later = await world.node(), await world.node(), await world.node(deaf=True)
        await listen(there)
        mine = await here.register(ADA)
        other = await here.accounts.login(email=ADA, password=PASSWORD)
        grant = (await here.accounts.authenticate(mine.access_token)).grant
        world.clock.advance(5)
        await here.revocations.revoke_user(mine.user.user_id, kept=grant.sign_in)
        await later.revocations.load_recent()
        for node in (here, there, later):
            assert await node.accepts(mine.access_token)
            assert not await node.accepts(other.access_token)
        renewed = await there.accounts.refresh(refresh_token(mine))
        assert await here.accepts(renewed.access_token)
        await here.revocations.revoke_user(mine.user.user_id)
        for node in (here, there):
            assert not await node.accepts(renewed.access_token), "the next time it is not kept"

    async def test_a_moment_in_the_past_spares_what_came_after(self, world: World) -> None:
        node = await world.node()
        old = await node.register(ADA)
        world.clock.advance(60)
        moment = world.clock.now()
        world.clock.advance(60)
        new = await node.accounts.login(email=ADA, password=PASSWORD)
        await node.revocations.revoke_user(old.user.user_id, moment)
        assert not await node.accepts(old.access_token)
        assert await node.accepts(new.access_token)
        assert await node.accepts((await node.accounts.refresh(refresh_token(new))).access_token)

    async def test_an_earlier_moment_does_not_undo_a_later_one(self, world: World) -> None:
        node, late = await world.node(), await world.node(deaf=True)
        ada = await node.register(ADA)
        moment = world.clock.now()
        world.clock.advance(30)
        token = signed(world.clock, ada.user.user_id)
        world.clock.advance(30)
        await node.revocations.revoke_user(ada.user.user_id)
        await node.revocations.revoke_user(ada.user.user_id, moment)
        await late.revocations.load()
        assert not await node.accepts(token)
        assert not await late.accepts(token)

    async def test_a_token_without_iat_counts_as_the_oldest_it_can_be(self, world: World) -> None:
        node = await world.node()
        ada = await node.register(ADA)
        await node.revocations.revoke_user(ada.user.user_id)
        world.clock.advance(60)
        assert not await node.accepts(signed(world.clock, ada.user.user_id, iat=None))
        world.clock.advance(LIFETIME.total_seconds())
        assert await node.accepts(signed(world.clock, ada.user.user_id, iat=None))

    async def test_nobody_there_is_said(self, world: World) -> None:
        node = await world.node()
        for revoke in (node.revocations.revoke_user, node.revocations.disable_user):
            with pytest.raises(UnknownUser):
                await revoke(UserId(uuid4()))


class TestDisabled:
    async def test_a_disabled_user_is_refused_everywhere_until_enabled(self, world: World) -> None:
        here, there = await world.node(), await world.node()
        await listen(there)
        ada = await here.register(ADA)
        await here.revocations.disable_user(ada.user.user_id)
        world.clock.advance(5)
        for node in (here, there):
            with pytest.raises(AccountDisabled):
                await node.accounts.authenticate(signed(world.clock, ada.user.user_id))
            with pytest.raises(AccountDisabled):
                await node.accounts.login(email=ADA, password=PASSWORD)
            assert not await node.accepts(ada.access_token)
        await here.revocations.enable_user(ada.user.user_id)
        world.clock.advance(5)
        for node in (here, there):
            again = await node.accounts.login(email=ADA, password=PASSWORD)
            assert await node.accepts(again.access_token)
            assert not await node.accepts(ada.access_token), "tokens from before stay refused"

    async def test_a_wrong_password_says_nothing_of_the_account(self, world: World) -> None:
        node = await world.node()
        ada = await node.register(ADA)
        await node.revocations.disable_user(ada.user.user_id)
        with pytest.raises(Unauthenticated) as refused:
            await node.accounts.login(email=ADA, password="a wrong password")
        assert refused.value.code == "wrong_credentials"


class TestNodesThatMissedIt:
    async def test_it_is_read_again(self, world: World) -> None:
        here, deaf = await world.node(), await world.node(deaf=True)
        ada = await here.register(ADA)
        ben = await here.register("ben@example.com")
        cleo = await here.register("cleo@example.com")
        grant = (await here.accounts.authenticate(cleo.access_token)).grant
        world.clock.advance(300)
        await here.revocations.revoke_user(ada.user.user_id)
        await here.revocations.disable_user(ben.user.user_id)
        await here.accounts.logout(refresh_token(cleo))
        for given in (ada, ben, cleo):
            assert await deaf.accepts(given.access_token)
        await deaf.revocations.load_recent()
        for given in (ada, ben, cleo):
            assert not await deaf.accepts(given.access_token)
        heard_sign_ins = {sign_in for sign_ins, _ in deaf.told for sign_in in sign_ins}
        heard_users = {user for _, users in deaf.told for user in users}
        assert grant.sign_in in heard_sign_ins
        assert heard_users == {ada.user.user_id, ben.user.user_id}, "sockets hear of it, too"
        told = len(deaf.told)
        await deaf.revocations.load_recent()
        assert len(deaf.told) == told, "the same is not told twice"

    async def test_a_full_reading_lets_in_who_was_enabled_meanwhile(self, world: World) -> None:
        here, deaf = await world.node(), await world.node(deaf=True)
        ada = await here.register(ADA)
        await here.revocations.disable_user(ada.user.user_id)
        await deaf.revocations.load()
        await here.revocations.enable_user(ada.user.user_id)
        world.clock.advance(5)
        again = await here.accounts.login(email=ADA, password=PASSWORD)
        assert not await deaf.accepts(again.access_token)
        await deaf.revocations.load()
        assert await deaf.accepts(again.access_token)

    async def test_a_node_that_starts_knows_all(self, world: World) -> None:
        here = await world.node()
        ada = await here.register(ADA)
        await here.accounts.logout(refresh_token(ada))
        world.clock.advance(600)
        assert not await (await world.node(deaf=True)).accepts(ada.access_token)

    async def test_what_no_token_can_outlive_is_forgotten(self, world: World) -> None:
        node = await world.node()
        ada = await node.register(ADA)
        await node.revocations.revoke_user(ada.user.user_id)
        world.clock.advance(LIFETIME.total_seconds() + 120)
        await node.revocations.load()
        assert not node.revocations._sign_ins
        assert not node.revocations._not_before


class TestRollingUpgrade:
    async def test_what_version_0_1_listens_to_is_a_list_of_uuids(self, world: World) -> None:
        node = await world.node()
        heard: list[bytes] = []
        await world.bus.subscribe(SIGN_INS_TOPIC, lambda entry: heard.append(entry.body))
        ada = await node.register(ADA)
        ben = await node.register("ben@example.com")
        await node.revocations.revoke_user(ada.user.user_id)
        await node.accounts.logout(refresh_token(ben))
        grants = [await grant_of(node, given) for given in (ada, ben)]
        assert [[UUID(sign_in) for sign_in in json.loads(body)] for body in heard] == [[grant] for grant in grants]

    async def test_what_is_not_understood_ends_nothing(self, world: World) -> None:
        node = await world.node()
        await listen(node)
        for body in (
            b'{"of":"a later version"}',
            b"[]",
            b'["no uuid"]',
            b'{"user_id":7}',
            b"",
            b'{"user_id":"%s"}' % uuid4().bytes.hex().encode(),
        ):
            world.bus.publish(SIGN_INS_TOPIC, body)
            world.bus.publish(USERS_TOPIC, body)
        ada = await node.register(ADA)
        sign_in = await grant_of(node, ada)
        world.bus.publish(SIGN_INS_TOPIC, json.dumps([str(sign_in)]).encode())
        assert not await node.accepts(ada.access_token), "it still listens"


class TestRun:
    async def test_it_reads_every_five_seconds(self, world: World) -> None:
        here, deaf = await world.node(), await world.node(deaf=True)
        heard = asyncio.Event()
        deaf.revocations.listen(lambda sign_ins, users: heard.set())
        loop = asyncio.ensure_future(deaf.revocations.run())
        try:
            await until_asleep(world.clock)
            ada = await here.register(ADA)
            await here.revocations.revoke_user(ada.user.user_id)
            assert await deaf.accepts(ada.access_token)
            world.clock.advance(READ_AGAIN_SECONDS)
            await asyncio.wait_for(heard.wait(), 20)
            assert not await deaf.accepts(ada.access_token)
        finally:
            loop.cancel()

    async def test_it_reads_only_when_the_database_has_changed(self, world: World) -> None:
        here = await world.node()
        stamps = ["same"]
        alone = Revocations(
            database=world.database,
            bus=MemoryBus(world.clock),
            clock=world.clock,
            lifetime=LIFETIME,
            read_again=1.0,
            stamp=lambda: stamps[-1],
        )
        await alone.load()
        told: list[int] = []
        alone.listen(lambda sign_ins, users: told.append(len(users)))
        loop = asyncio.ensure_future(alone.run())
        try:
            for _ in range(3):
                await until_asleep(world.clock)
                world.clock.advance(1.0)
            await until_asleep(world.clock)
            ada = await here.register(ADA)
            await here.revocations.revoke_user(ada.user.user_id)
            world.clock.advance(1.0)
            await until_asleep(world.clock)
            assert not told
            stamps.append("another")
            world.clock.advance(1.0)
            async with asyncio.timeout(20):
                while not told:  # noqa: ASYNC110  (it is told within a reading)
                    await asyncio.sleep(0.01)
        finally:
            loop.cancel()

    async def test_the_stamp_of_a_file_changes_with_each_commit_of_any_process(self, tmp_path: Path) -> None:
        file = tmp_path / "stamp.sqlite3"
        database = open_database(f"sqlite+aiosqlite:///{file}")
        await migrate(database)
        await database.ping()
        before = sqlite_stamp(file)
        assert sqlite_stamp(file) == before
        with closing(sqlite3.connect(file)) as other:
            other.execute("CREATE TABLE theirs (number INTEGER)")
            other.commit()
            assert sqlite_stamp(file) != before
        await database.close()


async def until_asleep(clock: ManualClock) -> None:
    async with asyncio.timeout(20):
        while not clock.sleeping:  # noqa: ASYNC110  (the clock has no event for it)
            await asyncio.sleep(0.01)


async def test_a_grant_says_what_the_token_says(world: World) -> None:
    node = await world.node()
    device = DeviceId(uuid4())
    ada = await node.register(ADA, device)
    grant = (await node.accounts.authenticate(ada.access_token)).grant
    now = int(world.clock.now().timestamp())
    assert grant == Grant(ada.user.user_id, now, now + 900, grant.sign_in, device)
    assert grant.sign_in is not None
    again = await node.accounts.refresh(refresh_token(ada))
    renewed = (await node.accounts.authenticate(again.access_token)).grant
    assert (renewed.sign_in, renewed.device_id) == (grant.sign_in, device)


def refresh_token(given: SignIn) -> str:
    assert given.refresh_token is not None
    return given.refresh_token


async def grant_of(node: Node, given: SignIn) -> UUID:
    """The sign-in that a token names, whether or not it has ended."""
    claims = await node.accounts._verifier.verify(given.access_token)
    assert claims.sign_in is not None
    return claims.sign_in
