"""Bodies that are JSON and that no decoder reads: 400 `malformed` on every route with a body, and no fault in the log."""

from uuid import uuid4

import httpx2
import pytest

from tests.fakes.people import World
from tests.fakes.server import ServerProcess

pytestmark = pytest.mark.anyio
DEEP = b"[" * 100_000 + b"]" * 100_000
BODIES = [
    DEEP,
    b"[" * 200_000,
    b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
    b'{"email":%s}' % DEEP,
    b'{"email":"a@x.org","password":"aaaaaaaa","display_name":%s}' % (b"9" * 5000),
    b'{"email":"a@x.org","password":"aaaaaaaa","display_name":1e999}',
    b'{"email":"a@x.org","password":NaN}',
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
@pytest.mark.parametrize("path", ["/v1/auth/register", "/v1/auth/login", "/v1/auth/refresh", "/v1/auth/logout"])
async def test_json_that_no_decoder_reads_is_malformed_without_a_token(server: ServerProcess, path: str, body: bytes) -> None:
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
        answer = await http.post(path, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


@pytest.mark.parametrize("body", BODIES[:4], ids=range(4))
async def test_deep_json_is_malformed_on_every_route_with_a_body(server: ServerProcess, world: World, body: bytes) -> None:
    ada, ben = await world.people("Ada", "Ben")
    call = await ada.initiate(await ada.converse(ben), ben)
    call_id, conversation_id = call["call_id"], call["conversation_id"]
    routes = [
        ("POST", "/v1/messages"),
        ("POST", "/v1/conversations"),
        ("PATCH", f"/v1/conversations/{conversation_id}"),
        ("POST", f"/v1/conversations/{conversation_id}/participants"),
        ("PUT", f"/v1/conversations/{conversation_id}/read"),
        ("PUT", f"/v1/devices/{uuid4()}"),
        ("POST", "/v1/calls/initiate"),
        *(("POST", f"/v1/calls/{call_id}/{what}") for what in ("join", "decline", "invite", "shown")),
        ("POST", f"/v1/calls/{call_id}/participants/{ben.user_id}/mute"),
    ]
    heads = {"authorization": f"Bearer {ada.token}", "content-type": "application/json"}
    async with httpx2.AsyncClient(base_url=world.url, trust_env=False) as http:
        for method, path in routes:
            answer = await http.request(method, path, content=body, headers=heads)
            assert (answer.status_code, answer.json()["code"]) == (400, "malformed"), path
    assert not [line for line in server.lines if line.get("event") == "request failed"]
