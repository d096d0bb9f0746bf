"""Accounts on their second day: passwords, sign-ins and deletion, as users and the operator manage them, at real servers.

The operator's commands are processes of their own beside the servers, on the same database.
"""

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.fakes.people import Json, Person, Refused, Socket, World, mint
from tests.fakes.postgres import running_postgres
from tests.fakes.redis import RedisServer
from tests.fakes.server import SECRET, ServerProcess
from tests.scenario.conftest import serving

pytestmark = pytest.mark.anyio

PASSWORD, ANOTHER = "correct horse battery", "another horse battery"
REVOKED = 4003
WITHIN_SECONDS = 1.0
"""In what time every node knows."""


class Place:
    """Servers on one database, people at each of them, and the operator."""

    def __init__(self, servers: list[ServerProcess], environment: dict[str, str]) -> None:
        self.servers = servers
        self.worlds = [World(server.url) for server in servers]
        self._environment = environment

    async def users(self, *arguments: str) -> str:
        """Run `secureconnect users …` and return what it printed."""
        status, printed = await self.run_users(*arguments)
        assert status == 0, printed
        return printed

    async def run_users(self, *arguments: str) -> tuple[int, str]:
        return await self.run("users", *arguments)

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Run a command beside the servers; its exit status, and what it printed or else said."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "secureconnect", *arguments, "--data-dir", str(self.servers[0].data_dir)),
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, said = await process.communicate()
        assert process.returncode is not None
        return process.returncode, (printed or said).decode()

    async def register(self, name: str) -> "Account":
        email = f"{name.lower()}.{uuid4().hex[:8]}@example.com"
        account = Account(self, name, email)
        body = {"email": email, "password": PASSWORD, "display_name": name, "device_id": account.device_id}
        account.take(await self.worlds[0].ask("POST", "/v1/auth/register", body, {}))
        return account


class Account:
    """Somebody with a password, and the tokens of one sign-in."""

    def __init__(self, place: Place, name: str, email: str) -> None:
        self.place, self.name, self.email, self.device_id = place, name, email, str(uuid4())
        self.user: Json = {}
        self.token = self.refresh_token = ""

    def take(self, answer: Json) -> None:
        self.user, self.token, self.refresh_token = answer["user"], answer["access_token"], answer["refresh_token"]

    def at(self, node: int = 0) -> Person:
        return Person(self.place.worlds[node], self.user, self.token, self.device_id)

    async def sign_in(self, password: str = PASSWORD) -> "Account":
        """The same person at another device."""
        other = Account(self.place, self.name, self.email)
        body = {"email": self.email, "password": password, "device_id": other.device_id}
        other.take(await self.place.worlds[0].ask("POST", "/v1/auth/login", body, {}))
        return other

    async def refresh(self) -> None:
        self.take(await self.place.worlds[-1].ask("POST", "/v1/auth/refresh", {"refresh_token": self.refresh_token}, {}))

    async def refusals(self) -> list[str]:
        """How each node refuses the access token; `""` from one that takes it."""
        return [await code_of(self.at(node).ask("GET", "/v1/users/me")) for node in range(len(self.place.worlds))]

    async def goes_on(self) -> None:
        """Assert that every node takes the tokens."""
        assert not any(await self.refusals())
        await self.refresh()

    async def ends(self, *sockets: Socket) -> None:
        """Assert that every node refuses the tokens within a second, and that the sockets are closed."""
        await within(WITHIN_SECONDS, self._is_refused)
        for socket in sockets:
            assert await asyncio.wait_for(socket.closed(), WITHIN_SECONDS + 1.0) == REVOKED
        assert await code_of(self.refresh()) in ("unauthenticated", "account_disabled", "refresh_reused")

    async def _is_refused(self) -> bool:
        return all(await self.refusals())


async def within(seconds: float, holds: Callable[[], Awaitable[bool]]) -> None:
    """Assert that it holds after so many seconds, or before."""
    async with asyncio.timeout(seconds + 1.0):  # what a busy machine takes to ask
        while not await holds():  # noqa: ASYNC110  (it asks servers)
            await asyncio.sleep(0.05)


async def code_of(asked: Awaitable[Any]) -> str:
    try:
        await asked
    except Refused as refused:
        return refused.code
    return ""


@pytest.fixture(params=["one node", "two nodes"], scope="module")
async def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """SQLite and a bus of its own, which a command cannot reach; or PostgreSQL and Redis, which all share."""
    folder = tmp_path_factory.mktemp("accounts")
    settings = {"PUBLIC_URL": "https://calls.example.com"}
    async with stores(request.param == "two nodes") as shared:
        settings |= shared
        count = 2 if shared else 1
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SECURECONNECT_")}
        environment |= {f"SECURECONNECT_{name}": value for name, value in {"JWT_SECRET": SECRET, **settings}.items()}
        servers = [ServerProcess(folder / str(number), RATE_LIMITS="off", **settings) for number in range(count)]
        made = Place(servers, environment)
        if shared:
            await migrate(environment)
        try:
            for server in servers:
                await server.start()
            made.worlds = [World(server.url) for server in servers]
            yield made
        finally:
            for world in made.worlds:
                await world.close()
            for server in servers:
                assert await server.stop() == 0


@asynccontextmanager
async def stores(are_shared: bool) -> AsyncIterator[dict[str, str]]:
    if not are_shared:
        yield {}
        return
    redis = RedisServer()
    redis.start()
    try:
        with running_postgres() as url:
            yield {"DATABASE_URL": url, "BUS_URL": redis.url}
    finally:
        redis.stop()


async def migrate(environment: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "secureconnect", "migrate", env=environment)
    assert await process.wait() == 0


class TestPassword:
    async def test_a_new_one_ends_all_other_sign_ins_and_their_sockets(self, place: Place) -> None:
        ada = await place.register("Ada")
        stolen, unrelated = await ada.sign_in(), await place.register("Ben")
        here, there = await ada.at().events(), await stolen.at(-1).events()
        former = ada.refresh_token
        ada.take(await change(ada, PASSWORD, ANOTHER))
        await stolen.ends(there)
        await ada.goes_on()
        await unrelated.goes_on()
        assert await code_of(ada.sign_in(PASSWORD)) == "wrong_credentials"
        assert (await ada.sign_in(ANOTHER)).user == ada.user
        await asyncio.wait_for(await here.connection.ping(), 5)
        ada.refresh_token = former
        assert await code_of(ada.refresh()) == "refresh_reused", "whoever copied the token before has nothing of it"

    async def test_it_needs_the_present_one(self, place: Place) -> None:
        ada = await place.register("Ada")
        assert await code_of(change(ada, "not the password", ANOTHER)) == "wrong_password"
        assert await code_of(change(ada, PASSWORD, "short")) in ("unprocessable", "malformed")
        await ada.goes_on()
        await ada.sign_in()

    async def test_an_account_without_one_has_none_to_change(self, place: Place) -> None:
        person = await place.worlds[0].person("Grace")
        body = {"current_password": PASSWORD, "new_password": ANOTHER}
        assert await code_of(person.ask("POST", "/v1/auth/password", body)) == "no_password"

    async def test_of_two_changes_at_once_one_wins(self, place: Place) -> None:
        ada = await place.register("Ada")
        outcomes = await asyncio.gather(*(code_of(change(ada, PASSWORD, f"{ANOTHER} {number}")) for number in range(3)))
        assert sorted(outcomes)[0] == ""
        assert set(outcomes) <= {"", "conflict", "wrong_password"}
        assert outcomes.count("") == 1


class TestSignOutEverywhere:
    async def test_all_sign_ins_end(self, place: Place) -> None:
        ada = await place.register("Ada")
        phone = await ada.sign_in()
        socket = await phone.at(-1).events()
        await ada.at().ask("POST", "/v1/auth/logout-everywhere")
        await ada.ends()
        await phone.ends(socket)
        await (await ada.sign_in()).goes_on()


class TestOperator:
    async def test_signs_a_user_out_of_everything(self, place: Place) -> None:
        ada = await place.register("Ada")
        phone = await ada.sign_in()
        socket = await phone.at(-1).events()
        await place.users("sign-out", ada.email)
        await ada.ends()
        await phone.ends(socket)
        await (await ada.sign_in()).goes_on()

    async def test_disables_and_enables(self, place: Place) -> None:
        ada = await place.register("Ada")
        shown = json.loads(await place.users("disable", ada.email, "--json"))
        assert (shown["email"], shown["sign_ins"], shown["disabled_at"] is None) == (ada.email, 0, False)
        await ada.ends()
        assert await code_of(ada.sign_in("wrong password")) == "wrong_credentials", "a stranger learns nothing"
        assert await code_of(ada.sign_in()) == "account_disabled"
        await place.users("enable", ada.user["user_id"])
        await within(WITHIN_SECONDS, lambda: signs_in(ada))
        again = await ada.sign_in()
        await within(WITHIN_SECONDS, lambda: is_taken(again))
        await again.goes_on()
        assert all(await ada.refusals()), "tokens from before stay refused"

    async def test_a_disabled_user_leaves_live_calls(self, place: Place) -> None:
        ada, ben, cyn = [await place.register(name) for name in ("Ada", "Ben", "Cyn")]
        call = await ada.at().initiate(await ada.at().converse(ben.at(), cyn.at()), ben.at(), cyn.at())
        socket = await ada.at(-1).signaling(call)
        for other in (ben, cyn):
            await other.at().join(call)
            await other.at().signaling(call)
        await place.users("disable", ada.email)
        await ada.ends(socket)
        await within(WITHIN_SECONDS, lambda: has_left(ben, call, ada))
        assert (await ben.at().look(call))["status"] == "active", "the others go on"

    async def test_a_disabled_user_of_an_application_is_refused(self, place: Place) -> None:
        person = await place.worlds[0].person("Grace")
        await place.users("disable", person.user_id)
        await within(WITHIN_SECONDS, lambda: refuses(place, person, "account_disabled"))

    async def test_resets_a_password_by_a_link_that_works_once(self, place: Place) -> None:
        ada = await place.register("Ada")
        void = json.loads(await place.users("reset", ada.email, "--json"))["url"]
        shown = json.loads(await place.users("reset", ada.email, "--json"))
        assert shown["expires_in"] == 1800
        assert shown["url"].startswith("https://calls.example.com/#reset=")
        body = {"new_password": ANOTHER, "token": shown["url"].partition("=")[2]}
        world = place.worlds[-1]
        assert (
            await code_of(world.ask("POST", "/v1/auth/password/reset", {**body, "token": void.partition("=")[2]}, {}))
            == "link_expired"
        )
        assert await code_of(world.ask("POST", "/v1/auth/password/reset", {**body, "new_password": "short"}, {})) in (
            "unprocessable",
            "malformed",
        )
        answer = await world.ask("POST", "/v1/auth/password/reset", body, {})
        assert answer["user"] == ada.user
        await ada.ends()
        assert await code_of(world.ask("POST", "/v1/auth/password/reset", body, {})) == "link_expired"
        assert await code_of(ada.sign_in()) == "wrong_credentials"
        await (await ada.sign_in(ANOTHER)).goes_on()

    async def test_creates_an_account_that_chooses_its_password(self, place: Place) -> None:
        email = f"{uuid4().hex}@example.com"
        shown = json.loads(await place.users("create", email, "Dr. Grace", "--json"))
        body = {"token": shown["url"].partition("=")[2], "new_password": PASSWORD}
        grace = Account(place, "Grace", email)
        assert await code_of(grace.sign_in()) == "wrong_credentials"
        grace.take(await place.worlds[0].ask("POST", "/v1/auth/password/reset", body, {}))
        assert (grace.user["display_name"], grace.user["user_id"]) == ("Dr. Grace", shown["user_id"])
        await grace.goes_on()
        status, said = await place.run_users("create", email, "Another")
        assert (status, "already" in said or "email" in said) == (1, True)

    async def test_lists_users_with_their_sign_ins(self, place: Place) -> None:
        ada = await place.register("Ada")
        await ada.sign_in()
        [shown] = json.loads(await place.users("list", ada.email, "--json"))
        assert (shown["user_id"], shown["email"], shown["sign_ins"], shown["has_password"]) == (
            ada.user["user_id"],
            ada.email,
            2,
            True,
        )
        assert "password_hash" not in shown
        assert "Ada" in await place.users("list", ada.email)

    async def test_names_a_user_that_is_not_there(self, place: Place) -> None:
        for name in ("nobody@example.com", str(uuid4())):
            for command in ("disable", "enable", "sign-out", "reset"):
                status, said = await place.run_users(command, name)
                assert (status, "no such user" in said) == (1, True)

    async def test_deletes_only_what_was_confirmed(self, place: Place) -> None:
        ada = await place.register("Ada")
        status, said = await place.run_users("delete", ada.email)
        assert (status, "--yes" in said) == (2, True)
        await ada.goes_on()


class TestDeletion:
    async def test_a_deleted_user_has_no_name_no_sign_in_and_no_place_in_calls(self, place: Place) -> None:
        ada, ben, cyn = [await place.register(name) for name in ("Ada", "Ben", "Cyn")]
        group = await ada.at().converse(ben.at(), cyn.at())
        await ada.at().write(group, "my words stay")
        past = await ada.at().initiate(group, ben.at())
        await ben.at().decline(past)
        call = await ada.at().initiate(group, ben.at(), cyn.at())
        socket = await ada.at(-1).signaling(call)
        for other in (ben, cyn):
            await other.at().join(call)
            await other.at().signaling(call)
        await place.users("delete", ada.email, "--yes")
        await ada.ends(socket)
        await within(20.0, lambda: has_left(ben, call, ada))
        assert (await ben.at().look(call))["status"] == "active", "the others go on"
        await within(20.0, lambda: is_anonymous(ben, past, ada))
        messages = await ben.at().timeline(group)
        assert [message["content"] for message in messages if message["kind"] == "text"] == ["my words stay"]
        conversation = await ben.at().ask("GET", f"/v1/conversations/{group}")
        assert sorted(member["display_name"] for member in conversation["participants"]) == ["Ben", "Cyn"]
        assert any(member["role"] == "owner" for member in conversation["participants"])
        assert await code_of(ada.sign_in()) == "wrong_credentials"
        await ben.at().leave(call)
        await cyn.at().leave(call)
        await within(20.0, lambda: is_anonymous(ben, call, ada))

    async def test_the_email_may_be_used_again_by_another_account(self, place: Place) -> None:
        ada = await place.register("Ada")
        await place.users("delete", ada.user["user_id"], "--yes", "--json")
        body = {"email": ada.email, "password": PASSWORD, "display_name": "Another"}
        made = await place.worlds[0].ask("POST", "/v1/auth/register", body, {})
        assert made["user"]["user_id"] != ada.user["user_id"]
        for command in ("enable", "reset"):
            status, said = await place.run_users(command, ada.user["user_id"])
            assert (status, "no such user" in said) == (1, True)

    async def test_a_deleted_user_is_found_and_invited_by_no_one(self, place: Place) -> None:
        ada, ben = await place.register("Ada"), await place.register("Ben")
        await place.users("delete", ada.email, "--yes")
        body = {"participant_ids": [ada.user["user_id"]]}
        assert await code_of(ben.at().ask("POST", "/v1/conversations", body)) == "unknown_user"


class TestTokensOfApplications:
    """Whoever has jwt_secret may name the users of an application, and no account that signs in here."""

    @pytest.mark.parametrize("claims", [{}, {"sid": "its own"}, {"sid": None}, {"sid": "01a228ab-fd90-7259-b88b-7456799755d3"}])
    async def test_they_cannot_name_an_account_with_a_password(self, place: Place, claims: dict[str, Any]) -> None:
        ada, eve = await place.register("Ada"), await place.register("Eve")
        forged = mint(ada.user["user_id"], "Eve", **claims)
        assert await code_of(place.worlds[0].bearer(forged)) == "unauthenticated"
        of_eve = mint(ada.user["user_id"], "Eve", sid=claims_of(eve.token)["sid"])
        assert await code_of(place.worlds[0].bearer(of_eve)) == "unauthenticated"
        await ada.goes_on()

    async def test_their_own_users_are_as_before(self, place: Place) -> None:
        person = await place.worlds[0].person("Grace")
        assert (await person.ask("GET", "/v1/users/me"))["display_name"] == "Grace"

    async def test_a_command_prints_a_token_that_sign_out_ends(self, place: Place) -> None:
        ada = await place.register("Ada")
        ada.token = (await place.run("token", ada.email))[1].strip()
        assert not any(await ada.refusals())
        await place.users("sign-out", ada.email)
        await ada.ends()


async def test_a_setting_lets_them_name_any_account_as_in_0_1(tmp_path: Path) -> None:
    async with serving(tmp_path, ACCOUNT_TOKENS="any") as server:
        world = World(server.url)
        ada = await world.register("Ada")
        assert (await world.bearer(mint(ada.user_id, "Ada"))).user == ada.user
        await world.close()


async def test_guessing_the_present_password_is_limited(tmp_path: Path) -> None:
    async with serving(tmp_path, RATE_LIMITS="on") as server:
        world = World(server.url)
        ada = await world.register("Ada")
        body = {"current_password": "a guess", "new_password": ANOTHER}
        codes = [await code_of(ada.ask("POST", "/v1/auth/password", body)) for _ in range(12)]
        assert codes == ["wrong_password"] * 10 + ["rate_limited"] * 2
        await world.close()


async def change(account: Account, current: str, new: str) -> Json:
    body = {"current_password": current, "new_password": new}
    answer: Json = await account.at().ask("POST", "/v1/auth/password", body)
    return answer


async def signs_in(account: Account) -> bool:
    return await code_of(account.sign_in()) == ""


async def is_taken(account: Account) -> bool:
    return not any(await account.refusals())


async def refuses(place: Place, person: Person, code: str) -> bool:
    """Whether every node refuses a token that an application has just signed for this person."""
    token = mint(person.user_id, "Grace")
    return [await code_of(world.bearer(token)) for world in place.worlds] == [code] * len(place.worlds)


async def has_left(witness: Account, call: Json, account: Account) -> bool:
    """Whether this person has no part in the call any more."""
    found = await witness.at().look(call)
    return entry_of(found, account)["state"] not in ("joined", "reconnecting", "ringing")


async def is_anonymous(witness: Account, call: Json, account: Account) -> bool:
    """Whether the call shows a deleted user in this person's place, and says nothing else of them."""
    found = await witness.at().look(call)
    shown = entry_of(found, account)
    return shown["display_name"] == "Deleted user" and account.name not in json.dumps(found)


def entry_of(call: Json, account: Account) -> Json:
    found: Json = next(shown for shown in call["participants"] if shown["user_id"] == account.user["user_id"])
    return found


def claims_of(token: str) -> Json:
    payload = token.split(".")[1]
    claims: Json = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims
