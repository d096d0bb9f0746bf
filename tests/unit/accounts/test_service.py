"""Accounts through the service: registration, sign-in, rotation under races, and who a token stands for."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import anyio
import argon2
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.accounts.credentials import TokenIssuer
from secureconnect.accounts.service import AccountService, Principal
from secureconnect.accounts.sign_ins import REPEAT, REPEATS, SignIn
from secureconnect.errors import (
    EmailTaken,
    IdempotencyKeyReused,
    RefreshReused,
    ServiceError,
    Unauthenticated,
    UnknownUser,
    Unprocessable,
    WrongCredentials,
)
from secureconnect.ids import UserId
from secureconnect.store import Database
from secureconnect.store import accounts as store
from secureconnect.store.accounts import User
from secureconnect.store.tables import idempotency_keys, refresh_tokens, users
from tests.fakes.clock import START, ManualClock
from tests.unit.accounts.conftest import AUDIENCE, ISSUER, SECRET, MakeService

pytestmark = pytest.mark.anyio
ADA: dict[str, Any] = {"email": "ada@example.com", "password": "analytical engine", "display_name": "Ada Lovelace"}


NOW = int(START.timestamp())


def token(subject: str, name: str | None = None) -> str:
    """A token that an embedding application makes with the shared secret."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "exp": NOW + 900} | ({"name": name} if name else {})
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET), algorithms=["HS256"])


async def rows(database: Database, table: object) -> int:
    async def count(connection: AsyncConnection) -> int:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()  # type: ignore[arg-type]

    return await database.read(count)


class TestRegister:
    async def test_it_signs_in_and_the_token_stands_for_the_user(self, accounts: AccountService) -> None:
        signed_in = await accounts.register(**ADA)
        assert (signed_in.user.email, signed_in.user.display_name) == ("ada@example.com", "Ada Lovelace")
        assert (signed_in.token_type, signed_in.expires_in) == ("Bearer", 900)
        principal = await accounts.authenticate(signed_in.access_token)
        assert (principal.user_id, principal.display_name) == (signed_in.user.user_id, "Ada Lovelace")
        assert await accounts.me(signed_in.user.user_id) == signed_in.user

    async def test_the_password_is_kept_as_a_slow_hash_only(self, accounts: AccountService, database: Database) -> None:
        await accounts.register(**ADA, idempotency_key="k")
        account = await database.read(lambda connection: store.find_account(connection, email="ada@example.com"))
        assert account is not None
        assert (account.password_hash or "").startswith("$argon2id$")

    @pytest.mark.parametrize("email", ["ada@example.com", " ADA@Example.COM ", "Ada@example.com\n"])
    async def test_an_email_is_taken_once_however_it_is_written(self, accounts: AccountService, email: str) -> None:
        await accounts.register(**ADA)
        with pytest.raises(EmailTaken):
            await accounts.register(**ADA | {"email": email})

    @pytest.mark.parametrize(
        "change",
        [
            {"email": "ada"},
            {"email": "@example.com"},
            {"email": "ada@"},
            {"email": "a@b@c"},
            {"email": "a da@example.com"},
            {"email": "ada\u00a0l@example.com"},
            {"email": "ada@exam\0ple.com"},
            {"email": "x" * 310 + "@example.com"},
            {"password": "short"},
            {"password": "x" * 257},
            {"display_name": "   "},
            {"display_name": "x" * 81},
            {"display_name": "A\0da"},
            {"display_name": "\ud83d"},
        ],
        ids=str,
    )
    async def test_what_cannot_be_kept_is_refused(self, accounts: AccountService, change: dict[str, str]) -> None:
        with pytest.raises(Unprocessable) as refused:
            await accounts.register(**ADA | change)
        assert refused.value.detail.startswith(next(iter(change)))

    async def test_a_name_is_kept_as_it_is_written(self, accounts: AccountService) -> None:
        name = "Ẑoë 👩‍🚀 O'Brien-Łódź"
        assert (await accounts.register(**ADA | {"display_name": name})).user.display_name == name

    async def test_a_repeat_with_the_same_key_signs_the_same_user_in(self, accounts: AccountService) -> None:
        first = await accounts.register(**ADA, idempotency_key="once")
        again = await accounts.register(**ADA, idempotency_key="once")
        assert again.user == first.user
        assert again.refresh_token != first.refresh_token

    async def test_a_repeat_does_not_open_the_account_to_another_password(self, accounts: AccountService) -> None:
        await accounts.register(**ADA, idempotency_key="once")
        with pytest.raises(IdempotencyKeyReused):
            await accounts.register(**ADA | {"password": "something else"}, idempotency_key="once")

    async def test_a_key_of_another_request_is_refused(self, accounts: AccountService) -> None:
        await accounts.register(**ADA, idempotency_key="once")
        with pytest.raises(IdempotencyKeyReused):
            await accounts.register(**ADA | {"display_name": "Augusta"}, idempotency_key="once")

    async def test_a_failed_registration_leaves_its_key_free(self, accounts: AccountService, database: Database) -> None:
        await accounts.register(**ADA)
        with pytest.raises(EmailTaken):
            await accounts.register(**ADA, idempotency_key="once")
        assert await rows(database, idempotency_keys) == 0

    async def test_of_many_at_once_with_one_key_all_get_the_one_account(self, accounts: AccountService, database: Database) -> None:
        signed_in = await gather(*[lambda: accounts.register(**ADA, idempotency_key="once")] * 8)
        assert len({outcome.user.user_id for outcome in signed_in if isinstance(outcome, SignIn)}) == 1
        assert all(isinstance(outcome, SignIn) for outcome in signed_in)
        assert await rows(database, users) == 1

    async def test_of_many_at_once_without_a_key_one_wins(self, accounts: AccountService, database: Database) -> None:
        outcomes = await gather(*[lambda: accounts.register(**ADA)] * 8)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["EmailTaken"] * 7 + ["SignIn"]
        assert await rows(database, users) == 1


class TestLogin:
    async def test_email_and_password_belong_together(self, accounts: AccountService) -> None:
        registered = await accounts.register(**ADA)
        assert (await accounts.login(email=" ADA@example.com", password=ADA["password"])).user == registered.user

    @pytest.mark.parametrize(("email", "password"), [("ada@example.com", "wrong"), ("nobody@example.com", "wrong"), ("", "")])
    async def test_wrong_password_and_unknown_email_look_the_same(
        self, accounts: AccountService, email: str, password: str
    ) -> None:
        await accounts.register(**ADA)
        with pytest.raises(WrongCredentials) as refused:
            await accounts.login(email=email, password=password)
        assert refused.value.detail == "Email and password do not belong together."

    async def test_who_has_no_password_cannot_sign_in_with_one(self, accounts: AccountService, database: Database) -> None:
        user = User(UserId(uuid4()), "outside@example.com", "Known elsewhere")
        await database.transact(lambda connection: store.insert_user(connection, user, START))
        with pytest.raises(WrongCredentials):
            await accounts.login(email="outside@example.com", password="")

    async def test_a_hash_of_old_parameters_is_renewed(
        self, accounts: AccountService, database: Database, clock: ManualClock
    ) -> None:
        signed_in = await accounts.register(**ADA)
        old = argon2.PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(ADA["password"])
        await database.transact(lambda connection: store.set_password_hash(connection, signed_in.user.user_id, old))
        await accounts.login(email=ADA["email"], password=ADA["password"])
        account = await database.read(lambda connection: store.find_account(connection, email=ADA["email"]))
        assert account is not None
        assert "m=8,t=1,p=1" in (account.password_hash or "")
        await accounts.login(email=ADA["email"], password=ADA["password"])


class TestRefresh:
    async def test_each_refresh_gives_the_next_token(self, accounts: AccountService) -> None:
        signed_in = await accounts.register(**ADA)
        tokens = {signed_in.refresh_token}
        for _ in range(5):
            signed_in = await accounts.refresh(_token(signed_in))
            tokens.add(signed_in.refresh_token)
            assert (await accounts.authenticate(signed_in.access_token)).user_id == signed_in.user.user_id
        assert len(tokens) == 6

    async def test_a_token_used_twice_ends_its_whole_family(self, accounts: AccountService) -> None:
        first = await accounts.register(**ADA)
        second = await accounts.refresh(_token(first))
        third = await accounts.refresh(_token(second))
        with pytest.raises(RefreshReused):
            await accounts.refresh(_token(first))
        with pytest.raises(Unauthenticated, match="sign in again"):
            await accounts.refresh(_token(third))
        with pytest.raises(RefreshReused):
            await accounts.refresh(_token(second))

    async def test_the_token_used_last_is_answered_again_for_a_while(self, accounts: AccountService, clock: ManualClock) -> None:
        """The first answer may have been lost: on a slow line, with a page that was reloaded."""
        first = await accounts.register(**ADA)
        lost = await accounts.refresh(_token(first))
        clock.advance(REPEAT.total_seconds() - 0.1)
        second = await accounts.refresh(_token(first))
        assert second.refresh_token != lost.refresh_token
        third = await accounts.refresh(_token(second))
        with pytest.raises(RefreshReused):
            await accounts.refresh(_token(lost))
        with pytest.raises(Unauthenticated):
            await accounts.refresh(_token(third))

    async def test_later_it_ends_the_family(self, accounts: AccountService, clock: ManualClock) -> None:
        first = await accounts.register(**ADA)
        second = await accounts.refresh(_token(first))
        clock.advance(REPEAT.total_seconds())
        with pytest.raises(RefreshReused):
            await accounts.refresh(_token(first))
        with pytest.raises(Unauthenticated):
            await accounts.refresh(_token(second))

    async def test_it_is_not_answered_again_once_a_successor_was_used(self, accounts: AccountService) -> None:
        first = await accounts.register(**ADA)
        lost, second = await accounts.refresh(_token(first)), await accounts.refresh(_token(first))
        await accounts.refresh(_token(second))
        with pytest.raises(RefreshReused):
            await accounts.refresh(_token(first))
        with pytest.raises(Unauthenticated):
            await accounts.refresh(_token(lost))

    async def test_it_is_answered_so_often_and_no_more(self, accounts: AccountService, clock: ManualClock) -> None:
        first = await accounts.register(**ADA)
        clock.advance(1)
        for _ in range(REPEATS):
            await accounts.refresh(_token(first))
        with pytest.raises(RefreshReused):
            await accounts.refresh(_token(first))

    async def test_signing_out_ends_repeats_too(self, accounts: AccountService) -> None:
        first = await accounts.register(**ADA)
        await accounts.logout(_token(await accounts.refresh(_token(first))))
        with pytest.raises(Unauthenticated):
            await accounts.refresh(_token(first))

    async def test_other_sign_ins_of_the_user_go_on(self, accounts: AccountService, clock: ManualClock) -> None:
        stolen = await accounts.register(**ADA)
        other_device = await accounts.login(email=ADA["email"], password=ADA["password"])
        await accounts.refresh(_token(stolen))
        clock.advance(REPEAT.total_seconds())
        with pytest.raises(RefreshReused):
            await accounts.refresh(_token(stolen))
        assert (await accounts.refresh(_token(other_device))).user == stolen.user

    async def test_racing_refreshes_are_one_exchange_and_its_repeats(self, accounts: AccountService) -> None:
        refresh_token = _token(await accounts.register(**ADA))
        outcomes = await gather(*[lambda: accounts.refresh(refresh_token)] * 6)
        assert [type(outcome).__name__ for outcome in outcomes] == ["SignIn"] * 6
        successors = [_token(outcome) for outcome in outcomes if isinstance(outcome, SignIn)]
        await accounts.refresh(successors[3])
        with pytest.raises(RefreshReused):
            await accounts.refresh(successors[0])

    async def test_an_old_token_has_ended(self, accounts: AccountService, clock: ManualClock) -> None:
        refresh_token = _token(await accounts.register(**ADA))
        clock.advance(timedelta(days=30).total_seconds())
        with pytest.raises(Unauthenticated, match="sign in again") as refused:
            await accounts.refresh(refresh_token)
        assert refused.value.code == "unauthenticated"

    @pytest.mark.parametrize("unknown", ["", "made up", "ö" * 43, "\0", "\ud800"])
    async def test_an_unknown_token_is_refused(self, accounts: AccountService, unknown: str) -> None:
        with pytest.raises(Unauthenticated, match="not known"):
            await accounts.refresh(unknown)

    async def test_tokens_are_not_kept_as_they_are_and_old_ones_are_forgotten(
        self, accounts: AccountService, database: Database, clock: ManualClock
    ) -> None:
        signed_in = await accounts.register(**ADA)

        async def hashes(connection: AsyncConnection) -> list[str]:
            return list((await connection.execute(select(refresh_tokens.c.token_hash))).scalars())

        [kept] = await database.read(hashes)
        assert kept != signed_in.refresh_token
        clock.advance(timedelta(days=30).total_seconds())
        await accounts.login(email=ADA["email"], password=ADA["password"])
        assert kept not in await database.read(hashes)

    async def test_logging_out_ends_the_family_and_may_be_repeated(self, accounts: AccountService) -> None:
        first = await accounts.register(**ADA)
        second = await accounts.refresh(_token(first))
        await accounts.logout(_token(first))
        await accounts.logout(_token(first))
        await accounts.logout("made up")
        for _ in range(2):
            with pytest.raises(Unauthenticated, match="has ended") as refused:
                await accounts.refresh(_token(second))
            assert refused.value.code == "unauthenticated", "signing out is not reuse"


class TestAuthenticate:
    async def test_a_uuid_of_our_own_issuer_is_the_user_id(self, accounts: AccountService) -> None:
        user_id = uuid4()
        principal = await accounts.authenticate(token(str(user_id), "  Grace \n Hopper "))
        assert (principal.user_id, principal.display_name) == (UserId(user_id), "Grace Hopper")
        assert (await accounts.me(principal.user_id)).email is None

    async def test_any_other_subject_becomes_one_user(
        self, accounts: AccountService, make_service: MakeService, database: Database
    ) -> None:
        principal = await accounts.authenticate(token("employee 7", "Grace"))
        assert await make_service(database).authenticate(token("employee 7", "Another name")) == principal

    @pytest.mark.parametrize("form", ["{%s}", "urn:uuid:%s"])
    async def test_an_unusual_spelling_of_a_uuid_does_not_become_that_user(self, accounts: AccountService, form: str) -> None:
        signed_in = await accounts.register(**ADA)
        other = await accounts.authenticate(token(form % signed_in.user.user_id))
        assert other.user_id != signed_in.user.user_id

    async def test_somebody_without_a_name_gets_one(self, accounts: AccountService) -> None:
        assert (await accounts.authenticate(token("x"))).display_name.startswith("User ")
        assert len((await accounts.authenticate(token("y", "n" * 500))).display_name) == 80

    @pytest.mark.parametrize("subject", [str(UUID(int=77)), "employee 7"])
    async def test_of_many_first_sights_at_once_one_user_is_made(
        self, make_service: MakeService, database: Database, subject: str
    ) -> None:
        nodes = [make_service(database) for _ in range(8)]
        outcomes = await gather(*[lambda node=node: node.authenticate(token(subject, "Grace")) for node in nodes])
        assert len({outcome.user_id for outcome in outcomes if isinstance(outcome, Principal)}) == 1
        assert await rows(database, users) == 1

    async def test_a_known_user_costs_no_database(self, accounts: AccountService, database: Database) -> None:
        signed_in = await accounts.register(**ADA)
        principal = await accounts.authenticate(signed_in.access_token)
        await database.close()
        database.read = database.transact = _unreachable  # type: ignore[method-assign,assignment]
        assert await accounts.authenticate(signed_in.access_token) == principal

    async def test_a_minted_token_is_that_users_and_makes_nobody(
        self, accounts: AccountService, database: Database, issuer: TokenIssuer
    ) -> None:
        signed_in = await accounts.register(**ADA)
        for named in ("ADA@example.com", signed_in.user.user_id):
            assert (await accounts.authenticate(await accounts.mint(named))).user_id == signed_in.user.user_id
        for nobody in ("nobody@example.com", UserId(uuid4())):
            with pytest.raises(UnknownUser):
                await accounts.mint(nobody)
        assert await rows(database, users) == 1

    async def test_an_account_that_is_gone_says_so(self, accounts: AccountService) -> None:
        with pytest.raises(Unauthenticated):
            await accounts.me(UserId(uuid4()))


class TestSearch:
    PEOPLE = (
        ("ada@example.com", "Ada Lovelace"),
        ("grace@navy.example", "Grace Brewster Hopper"),
        ("lc@example.org", "Łukasz Ćwik"),
        ("strasse@example.org", "Anna Groß_100%"),
        ("yuki@example.jp", "ユキ 田中"),
    )

    @pytest.mark.parametrize(
        ("words", "found"),
        [
            ("ada", ["Ada Lovelace"]),
            ("LOVE", ["Ada Lovelace"]),
            ("hopp", ["Grace Brewster Hopper"]),
            ("brewster  hop", ["Grace Brewster Hopper"]),
            ("race", []),
            ("navy", []),
            ("grace@n", []),
            (" GRACE@navy.example", ["Grace Brewster Hopper"]),
            ("łuk", ["Łukasz Ćwik"]),
            ("ĆWIK", ["Łukasz Ćwik"]),
            ("C\u0301wik".upper(), ["Łukasz Ćwik"]),
            ("GROSS", ["Anna Groß_100%"]),
            ("groß_1", ["Anna Groß_100%"]),
            ("groß%", []),
            ("%", []),
            ("_", []),
            ("田", ["ユキ 田中"]),
            ("ﾕｷ", ["ユキ 田中"]),
            ("", ["Ada Lovelace", "Grace Brewster Hopper", "Łukasz Ćwik", "Anna Groß_100%", "ユキ 田中"]),
        ],
    )
    async def test_a_word_of_the_name_begins_with_it_or_the_email_is_whole(
        self, accounts: AccountService, words: str, found: list[str]
    ) -> None:
        me = await self._people(accounts)
        people, go_on_after = await accounts.search(me, words, limit=50)
        assert sorted(user.display_name for user in people) == sorted(found)
        assert go_on_after is None

    async def test_pages_follow_each_other_without_gap_or_repeat(self, accounts: AccountService) -> None:
        me = await self._people(accounts)
        found, after = await accounts.search(me, "", limit=2)
        while after is not None:
            more, after = await accounts.search(me, "", limit=2, after=after)
            found += more
        assert len(found) == len({user.user_id for user in found}) == len(self.PEOPLE)

    async def test_a_nul_is_refused(self, accounts: AccountService) -> None:
        with pytest.raises(Unprocessable):
            await accounts.search(UserId(uuid4()), "a\0", limit=1)

    async def _people(self, accounts: AccountService) -> UserId:
        for email, name in self.PEOPLE:
            await accounts.register(email=email, password="long enough", display_name=name)
        me = await accounts.register(email="me@example.com", password="long enough", display_name="Ada Grace Łukasz 田中")
        return me.user.user_id


def _token(signed_in: SignIn) -> str:
    assert signed_in.refresh_token is not None
    return signed_in.refresh_token


async def _unreachable(work: object) -> None:
    raise AssertionError("the database was asked")


async def gather(*calls: Callable[[], object]) -> list[object]:
    """Run all at once; what each returned or was refused with."""
    outcomes: list[object] = []

    async def run(call: Callable[[], object]) -> None:
        try:
            outcomes.append(await call())  # type: ignore[misc]
        except ServiceError as refusal:
            outcomes.append(refusal)

    async with anyio.create_task_group() as group:
        for call in calls:
            group.start_soon(run, call)
    return outcomes
