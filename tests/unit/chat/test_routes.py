"""The chat routes: shapes on the wire, statuses, what is malformed. The rules behind them are tested beside this file."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from litestar import Litestar, Request
from litestar.di import Provide

from secureconnect.accounts.grant import Grant
from secureconnect.accounts.service import Principal
from secureconnect.api.chat import routes
from secureconnect.api.problems import EXCEPTION_HANDLERS
from secureconnect.chat.addition_limits import AdditionLimits
from secureconnect.ids import UserId
from secureconnect.ops.ratelimit import LIMITS, Limit, RateLimiter
from tests.unit.chat.conftest import Office

pytestmark = pytest.mark.anyio
CONVERSATION = {
    "conversation_id",
    "title",
    "created_at",
    "participants",
    "last_message",
    "unread_count",
    "live_call",
    "member_count",
    "members_truncated",
    "members_may_add",
    "history",
    "invited",
}
MESSAGE = {"message_id", "conversation_id", "sender_id", "kind", "content", "created_at", "call"}


@pytest.fixture
async def app(office: Office) -> Litestar:
    async def principal(request: Request[Any, Any, Any]) -> Principal:
        user_id = UserId(UUID(request.headers["x-test-user"]))
        return Principal(user_id, office.people[user_id], Grant(user_id, 0.0, 0.0))

    limiter = RateLimiter(clock=office.clock, limits={**LIMITS, "message": Limit(5)})
    additions = AdditionLimits(database=office.database, limiter=limiter)
    return Litestar(
        routes,
        dependencies={
            "principal": Provide(principal),
            "chat": Provide(lambda: office.chat, sync_to_thread=False),
            "limiter": Provide(lambda: limiter, sync_to_thread=False),
            "addition_limits": Provide(lambda: additions, sync_to_thread=False),
        },
        exception_handlers=EXCEPTION_HANDLERS,
    )


@pytest.fixture
async def client(app: Litestar, office: Office) -> AsyncIterator[httpx2.AsyncClient]:
    """Speaks as Ada unless a request says otherwise."""
    transport = httpx2.ASGITransport(app=app)  # type: ignore[arg-type]
    headers = {"x-test-user": str(office.ada)}
    async with httpx2.AsyncClient(transport=transport, base_url="http://chat.example", headers=headers) as client:
        yield client


@pytest.fixture
async def room(client: httpx2.AsyncClient, office: Office) -> str:
    made = await client.post("/v1/conversations", json={"participant_ids": [str(office.grace)]})
    conversation_id: str = made.json()["conversation_id"]
    return conversation_id


async def test_a_conversation_from_start_to_end(client: httpx2.AsyncClient, office: Office) -> None:
    body = {"participant_ids": [str(office.grace)], "title": "Engines"}
    made = await client.post("/v1/conversations", json=body, headers={"idempotency-key": "k-1"})
    assert made.status_code == 201
    assert made.json().keys() == CONVERSATION
    assert made.json()["participants"] == [
        {"user_id": str(office.ada), "display_name": "Ada", "role": "owner"},
        {"user_id": str(office.grace), "display_name": "Grace", "role": "member"},
    ]
    again = await client.post("/v1/conversations", json=body, headers={"idempotency-key": "k-1"})
    assert (again.status_code, again.json()) == (201, made.json())
    path = f"/v1/conversations/{made.json()['conversation_id']}"

    assert (await client.get(path)).json() == made.json()
    assert (await client.get("/v1/conversations")).json() == {"items": [made.json()], "next_cursor": None}
    assert (await client.patch(path, json={"title": "Looms"})).json()["title"] == "Looms"
    assert (await client.patch(path, json={"title": None})).json()["title"] is None
    more = await client.post(f"{path}/participants", json={"user_ids": [str(office.hedy)]})
    assert (more.status_code, len(more.json()["participants"])) == (200, 3)
    assert (await client.delete(f"{path}/participants/{office.hedy}")).status_code == 204
    as_grace = {"x-test-user": str(office.grace)}
    refused = await client.delete(path, headers=as_grace)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (await client.delete(path)).status_code == 204
    gone = await client.get(path)
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")


async def test_messages_and_reading(client: httpx2.AsyncClient, office: Office, room: str) -> None:
    body = {"conversation_id": room, "content": "hello 👋"}
    sent = await client.post("/v1/messages", json=body, headers={"idempotency-key": "k-1"})
    assert (sent.status_code, sent.json().keys()) == (201, MESSAGE)
    again = await client.post("/v1/messages", json=body, headers={"idempotency-key": "k-1"})
    assert (again.status_code, again.json()) == (201, sent.json())
    reused = await client.post("/v1/messages", json=body | {"content": "bye"}, headers={"idempotency-key": "k-1"})
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
    await client.post("/v1/messages", json=body)

    first = (await client.get("/v1/messages", params={"conversation_id": room, "limit": 1})).json()
    assert first["next_cursor"] is not None
    rest = {"conversation_id": room, "limit": 1, "cursor": first["next_cursor"]}
    assert (await client.get("/v1/messages", params=rest)).json() == {"items": [sent.json()], "next_cursor": None}

    as_grace = {"x-test-user": str(office.grace)}
    assert (await client.get(f"/v1/conversations/{room}", headers=as_grace)).json()["unread_count"] == 2
    mark = {"message_id": first["items"][0]["message_id"]}
    assert (await client.put(f"/v1/conversations/{room}/read", json=mark, headers=as_grace)).status_code == 204
    assert (await client.get(f"/v1/conversations/{room}", headers=as_grace)).json()["unread_count"] == 0


async def test_unknown_people_are_not_acceptable(client: httpx2.AsyncClient) -> None:
    refused = await client.post("/v1/conversations", json={"participant_ids": [str(uuid4())]})
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_user")


async def test_writing_is_limited(client: httpx2.AsyncClient, room: str) -> None:
    body = {"conversation_id": room, "content": "hello"}
    assert [(await client.post("/v1/messages", json=body)).status_code for _ in range(6)] == [201] * 5 + [429]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/conversations", {}, 400),
        ("POST", "/v1/conversations", {"participant_ids": []}, 400),
        ("POST", "/v1/conversations", {"participant_ids": ["ada"]}, 400),
        ("POST", "/v1/conversations", {"participant_ids": "ada"}, 400),
        ("POST", "/v1/conversations", [], 400),
        ("POST", "/v1/messages", {"conversation_id": "{room}", "content": ""}, 400),
        ("POST", "/v1/messages", {"conversation_id": "{room}", "content": "x" * 8001}, 400),
        ("POST", "/v1/messages", {"conversation_id": "{room}", "content": None}, 400),
        ("POST", "/v1/messages", {"conversation_id": "{room}", "content": " \n"}, 422),
        ("POST", "/v1/messages", {"conversation_id": "{room}", "content": "a\0"}, 422),
        ("PATCH", "/v1/conversations/{room}", {}, 400),
        ("PATCH", "/v1/conversations/{room}", {"title": 7}, 400),
        ("PATCH", "/v1/conversations/{room}", {"members_may_add": 0}, 400),
        ("PATCH", "/v1/conversations/{room}", {"members_may_add": "true"}, 400),
        ("PATCH", "/v1/conversations/{room}", {"title": "a\0"}, 422),
        ("PUT", "/v1/conversations/{room}/read", {"message_id": 1}, 400),
        ("GET", "/v1/messages", None, 400),
        ("GET", "/v1/messages?conversation_id=7", None, 400),
        ("GET", "/v1/messages?conversation_id={room}&limit=0", None, 400),
        ("GET", "/v1/messages?conversation_id={room}&cursor=x", None, 400),
        ("GET", "/v1/conversations?limit=1000", None, 400),
        ("GET", "/v1/conversations/7", None, 404),
        ("GET", "/v1/conversations/00000000-0000-0000-0000-000000000007", None, 404),
    ],
)
async def test_malformed_is_told_from_unacceptable(
    client: httpx2.AsyncClient, room: str, method: str, path: str, body: Any, status: int
) -> None:
    if isinstance(body, dict) and body.get("conversation_id"):
        body = body | {"conversation_id": room}
    response = await client.request(method, path.replace("{room}", room), json=body)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == {400: "malformed", 404: "not_found", 422: "unprocessable"}[status]


async def test_every_route_is_described(app: Litestar) -> None:
    paths = app.openapi_schema.to_schema()["paths"]
    assert sum(len(path) for path in paths.values()) == 13
    for path in paths.values():
        for operation in path.values():
            assert operation["summary"]
            assert "application/problem+json" in operation["responses"]["401"]["content"]
