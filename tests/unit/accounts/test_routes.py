"""The account routes: shapes, cookies, other sites. The rules behind them are tested in test_service.py."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from litestar import Litestar, Request
from litestar.di import Provide

from secureconnect.accounts.service import AccountService, Principal
from secureconnect.accounts.sign_in_limits import SignInLimits
from secureconnect.api.accounts import routes
from secureconnect.api.problems import EXCEPTION_HANDLERS
from secureconnect.ops.ratelimit import RateLimiter
from secureconnect.store import Database
from tests.fakes.clock import ManualClock

pytestmark = pytest.mark.anyio
ADA = {"email": "ada@example.com", "password": "analytical engine", "display_name": "Ada Lovelace"}
GRACE = {"email": "grace@example.com", "password": "nanoseconds", "display_name": "Grace Hopper"}
ANSWER = {"user", "access_token", "refresh_token", "token_type", "expires_in"}


@pytest.fixture
def sign_in_limits(database: Database, clock: ManualClock) -> SignInLimits:
    limiter = RateLimiter(clock=clock, enabled=False)
    return SignInLimits(database=database, limiter=limiter, clock=clock, key=b"of the tests")


@pytest.fixture
def app(accounts: AccountService, sign_in_limits: SignInLimits) -> Litestar:
    async def principal(request: Request[Any, Any, Any]) -> Principal:
        return await accounts.authenticate(request.headers.get("authorization", "").removeprefix("Bearer "))

    return Litestar(
        routes,
        dependencies={
            "principal": Provide(principal),
            "accounts": Provide(lambda: accounts, sync_to_thread=False),
            "sign_in_limits": Provide(lambda: sign_in_limits, sync_to_thread=False),
        },
        exception_handlers=EXCEPTION_HANDLERS,
    )


@pytest.fixture
async def client(app: Litestar) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=app)  # type: ignore[arg-type]
    async with httpx2.AsyncClient(transport=transport, base_url="http://chat.example") as client:
        yield client


def bearer(answer: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {answer['access_token']}"}


class TestSignIn:
    async def test_registering_answers_with_a_user_and_tokens(self, client: httpx2.AsyncClient) -> None:
        response = await client.post("/v1/auth/register", json=ADA)
        assert response.status_code == 201
        answer = response.json()
        assert answer.keys() == ANSWER
        assert answer["user"].keys() == {"user_id", "email", "display_name"}
        assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 900)
        assert response.headers["cache-control"] == "no-store"
        assert "set-cookie" not in response.headers

        me = await client.get("/v1/users/me", headers=bearer(answer))
        assert me.json() == answer["user"]

    async def test_a_repeat_with_its_key_is_created_again_and_without_taken(self, client: httpx2.AsyncClient) -> None:
        key = {"idempotency-key": "k-1"}
        first = await client.post("/v1/auth/register", json=ADA, headers=key)
        again = await client.post("/v1/auth/register", json=ADA | {"cookie": True}, headers=key)
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json()["user"] == again.json()["user"]
        taken = await client.post("/v1/auth/register", json=ADA)
        assert (taken.status_code, taken.json()["code"]) == (409, "email_taken")

    async def test_signing_in_refreshing_and_out_in_the_body(self, client: httpx2.AsyncClient) -> None:
        await client.post("/v1/auth/register", json=ADA)
        signed_in = await client.post("/v1/auth/login", json={"email": "Ada@Example.com", "password": ADA["password"]})
        assert signed_in.status_code == 200
        refreshed = await client.post("/v1/auth/refresh", json={"refresh_token": signed_in.json()["refresh_token"]})
        assert refreshed.status_code == 200
        assert refreshed.json().keys() == ANSWER
        newest = {"refresh_token": refreshed.json()["refresh_token"]}
        for _ in range(2):
            assert (await client.post("/v1/auth/logout", json=newest)).status_code == 204
        ended = await client.post("/v1/auth/refresh", json=newest)
        assert (ended.status_code, ended.json()["code"]) == (401, "unauthenticated")
        assert ended.headers["www-authenticate"] == "Bearer"

    async def test_a_reused_token_is_named_so(self, client: httpx2.AsyncClient) -> None:
        answer = (await client.post("/v1/auth/register", json=ADA)).json()
        body = {"refresh_token": answer["refresh_token"]}
        successor = (await client.post("/v1/auth/refresh", json=body)).json()
        await client.post("/v1/auth/refresh", json={"refresh_token": successor["refresh_token"]})
        reused = await client.post("/v1/auth/refresh", json=body)
        assert (reused.status_code, reused.json()["code"]) == (401, "refresh_reused")

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            (b"", 400, "malformed"),
            (b"{", 400, "malformed"),
            (b"[]", 400, "malformed"),
            (b'{"email": "ada@example.com", "password": "long enough"}', 400, "malformed"),
            (b'{"email": "ada@example.com", "password": 12345678, "display_name": "Ada"}', 400, "malformed"),
            (b'{"email": "ada@example.com", "password": "short", "display_name": "Ada"}', 400, "malformed"),
            (b'{"email": "ada@example.com", "password": "long enough", "display_name": "\\ud800"}', 400, "malformed"),
            (b'{"email": "ada@example.com", "password": "long enough", "display_name": "A\\u0000"}', 422, "unprocessable"),
            (b'{"email": "ada.example.com", "password": "long enough", "display_name": "Ada"}', 422, "unprocessable"),
            (b'{"email": "ada@example.com", "password": "long enough", "display_name": "Ada", "new": 1}', 201, None),
        ],
    )
    async def test_what_cannot_be_understood_or_accepted(
        self, client: httpx2.AsyncClient, body: bytes, status: int, code: str | None
    ) -> None:
        response = await client.post("/v1/auth/register", content=body, headers={"content-type": "application/json"})
        assert (response.status_code, response.json().get("code")) == (status, code)

    @pytest.mark.parametrize("key", ["", "x" * 129])
    async def test_an_unusable_idempotency_key_is_malformed(self, client: httpx2.AsyncClient, key: str) -> None:
        response = await client.post("/v1/auth/register", json=ADA, headers={"idempotency-key": key})
        assert (response.status_code, response.json()["code"]) == (400, "malformed")


class TestCookie:
    async def _sign_in(self, client: httpx2.AsyncClient, person: dict[str, str]) -> dict[str, Any]:
        response = await client.post("/v1/auth/register", json=person | {"cookie": True})
        answer: dict[str, Any] = response.json()
        return answer

    async def test_it_is_out_of_reach_of_script_other_sites_and_other_routes(self, client: httpx2.AsyncClient) -> None:
        response = await client.post("/v1/auth/register", json=ADA | {"cookie": True})
        assert response.json()["refresh_token"] is None
        name, _, attributes = response.headers["set-cookie"].partition("=")
        assert name == "secureconnect_refresh_" + response.json()["user"]["user_id"].replace("-", "")
        described = {attribute.strip().lower() for attribute in attributes.split(";")[1:]}
        assert described == {"httponly", "samesite=strict", "path=/v1/auth", f"max-age={30 * 24 * 3600}"}

    async def test_over_https_it_stays_there(self, app: Litestar) -> None:
        transport = httpx2.ASGITransport(app=app)  # type: ignore[arg-type]
        async with httpx2.AsyncClient(transport=transport, base_url="https://chat.example") as client:
            response = await client.post("/v1/auth/register", json=ADA | {"cookie": True})
        assert "; secure" in response.headers["set-cookie"].lower()

    async def test_it_rotates_and_ends(self, client: httpx2.AsyncClient) -> None:
        answer = await self._sign_in(client, ADA)
        [before] = [cookie.value for cookie in client.cookies.jar]
        refreshed = await client.post("/v1/auth/refresh")
        [after] = [cookie.value for cookie in client.cookies.jar]
        assert (refreshed.status_code, refreshed.json()["refresh_token"]) == (200, None)
        assert refreshed.json()["user"] == answer["user"]
        assert before != after
        assert (await client.post("/v1/auth/logout", json={"user_id": answer["user"]["user_id"]})).status_code == 204
        assert not list(client.cookies.jar), "the browser was told to forget it"
        assert (await client.post("/v1/auth/refresh")).status_code == 401

    @pytest.mark.parametrize("body", [{}, {"refresh_token": None}, {"refresh_token": ""}])
    async def test_script_cannot_lure_it_into_a_body(self, client: httpx2.AsyncClient, body: dict[str, Any]) -> None:
        await self._sign_in(client, ADA)
        response = await client.post("/v1/auth/refresh", json=body)
        assert (response.status_code, response.json()["refresh_token"]) == (200, None)
        assert "httponly" in response.headers["set-cookie"].lower()

    async def test_two_people_in_one_browser_are_told_apart(self, client: httpx2.AsyncClient) -> None:
        ada, grace = await self._sign_in(client, ADA), await self._sign_in(client, GRACE)
        for answer in (ada, grace, ada):
            response = await client.post("/v1/auth/refresh", json={"user_id": answer["user"]["user_id"]})
            assert response.json()["user"] == answer["user"]
        unclear = await client.post("/v1/auth/refresh")
        assert (unclear.status_code, unclear.json()["code"]) == (401, "unauthenticated")
        await client.post("/v1/auth/logout", json={"user_id": ada["user"]["user_id"]})
        assert (await client.post("/v1/auth/refresh")).json()["user"] == grace["user"]

    async def test_without_token_and_cookie_nobody_is_signed_in(self, client: httpx2.AsyncClient) -> None:
        for body in (None, {}, {"refresh_token": ""}, {"user_id": "00000000-0000-0000-0000-000000000001"}):
            refused = await client.post("/v1/auth/refresh", json=body)
            assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
        assert (await client.post("/v1/auth/logout")).status_code == 204

    @pytest.mark.parametrize("path", ["/v1/auth/refresh", "/v1/auth/logout"])
    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            ({"headers": {"origin": "https://evil.example"}}, 403),
            ({"headers": {"origin": "null"}}, 403),
            ({"headers": {"origin": "http://chat.example:8080"}}, 403),
            ({"headers": {"origin": "http://chat.example.evil.example"}}, 403),
            ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 400),
            ({"content": b"{}", "headers": {"content-type": "application/x-www-form-urlencoded"}}, 400),
            ({"content": b"{}"}, 400),
        ],
    )
    async def test_another_site_cannot_ride_on_it(
        self, client: httpx2.AsyncClient, path: str, sent: dict[str, Any], status: int
    ) -> None:
        await self._sign_in(client, ADA)
        assert (await client.post(path, **sent)).status_code == status
        own = {"origin": "http://chat.example", "content-type": "application/json; charset=utf-8"}
        assert (await client.post("/v1/auth/refresh", content=b"{}", headers=own)).status_code == 200, "nothing was ended"

    @pytest.mark.parametrize("path", ["/v1/auth/register", "/v1/auth/login"])
    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"content-type": "text/plain"}, 400),
            ({"content-type": "application/json", "origin": "https://evil.example"}, 403),
        ],
    )
    async def test_another_site_cannot_sign_a_browser_in_as_somebody_of_its_choice(
        self, client: httpx2.AsyncClient, path: str, headers: dict[str, str], status: int
    ) -> None:
        await client.post("/v1/auth/register", json=ADA)
        person = ADA | {"email": "another@example.com"} if path.endswith("register") else ADA
        answer = await client.post(path, content=json.dumps(person | {"cookie": True}).encode(), headers=headers)
        assert (answer.status_code, "set-cookie" in answer.headers) == (status, False)


class TestPeople:
    async def test_a_list_of_others_in_pages(self, client: httpx2.AsyncClient, clock: ManualClock) -> None:
        ada = (await client.post("/v1/auth/register", json=ADA)).json()
        for number in range(3):
            person = {"email": f"g{number}@example.com", "password": "nanoseconds", "display_name": f"Grace {number}"}
            clock.advance(1)
            await client.post("/v1/auth/register", json=person)
        first = (await client.get("/v1/users", params={"q": "gra", "limit": 2}, headers=bearer(ada))).json()
        assert [user["display_name"] for user in first["items"]] == ["Grace 0", "Grace 1"]
        assert first["items"][0].keys() == {"user_id", "display_name"}
        rest = {"q": "gra", "limit": 2, "cursor": first["next_cursor"]}
        second = (await client.get("/v1/users", params=rest, headers=bearer(ada))).json()
        assert [user["display_name"] for user in second["items"]] == ["Grace 2"]
        assert second["next_cursor"] is None

    @pytest.mark.parametrize(
        "query",
        [
            "",
            "q=a&limit=0",
            "q=a&limit=101",
            "q=a&limit=many",
            "q=a&cursor=%21",
            "q=a&cursor=%C3%B6",
            "q=a&cursor=AAAA",
            "q=a&cursor=" + "A" * 21 + "B",
            "q=a&cursor=" + "A" * 65,
        ],
    )
    async def test_bad_parameters_are_malformed(self, client: httpx2.AsyncClient, query: str) -> None:
        ada = (await client.post("/v1/auth/register", json=ADA)).json()
        response = await client.get(f"/v1/users?{query}", headers=bearer(ada))
        assert (response.status_code, response.json()["code"]) == (400, "malformed")

    async def test_a_nul_is_not_acceptable(self, client: httpx2.AsyncClient) -> None:
        ada = (await client.post("/v1/auth/register", json=ADA)).json()
        response = await client.get("/v1/users?q=a%00", headers=bearer(ada))
        assert (response.status_code, response.json()["code"]) == (422, "unprocessable")

    async def test_only_the_signed_in_see_people(self, client: httpx2.AsyncClient) -> None:
        for path in ("/v1/users/me", "/v1/users?q=a"):
            assert (await client.get(path)).status_code == 401


async def test_every_route_is_described(app: Litestar) -> None:
    """Each has a summary and says which refusals it may answer with, as problem documents."""
    paths = app.openapi_schema.to_schema()["paths"]
    assert set(paths) == {
        "/v1/auth/config",
        "/v1/auth/register",
        "/v1/auth/login",
        "/v1/auth/refresh",
        "/v1/auth/logout",
        "/v1/users/me",
        "/v1/users",
    }
    for name, path in paths.items():
        for operation in path.values():
            assert operation["summary"]
            if name == "/v1/auth/config":
                continue  # it refuses no one
            assert "application/problem+json" in operation["responses"]["401"]["content"]
