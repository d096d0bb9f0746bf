"""What a call leaves in the log: enough to follow it from the request to the sockets, and nothing that must stay secret."""

import asyncio
import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.cluster import Cluster, running_cluster
from tests.fakes.people import Json, Person, Refused, World
from tests.fakes.server import ServerProcess
from tests.scenario.conftest import serving

pytestmark = pytest.mark.anyio

TURN = json.dumps([{"urls": ["turn:turn.example:3478"]}])
TURN_SECRET = "what the relay servers sign with, long"
SDP = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-pwd:nobodyMayReadThisOne\r\n"
CANDIDATE = "candidate:1 1 udp 2122260223 192.0.2.77 54321 typ host ufrag nobodyMayReadThis"
ENDPOINT = "https://updates.push.services.mozilla.com/wpush/v2/nobody-may-read-this-address"
JWT = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}")


async def logged(server: ServerProcess, fits: Callable[[Json], bool]) -> Json:
    """The line that fits, once it has come through the pipe."""
    async with asyncio.timeout(10):
        while True:
            for line in server.lines:
                if fits(line):
                    return line
            await asyncio.sleep(0.01)


def subscription() -> Json:
    """A browser's, at an address that is as good as a password (RFC 8030, section 8)."""
    point = generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    keys = {
        "p256dh": urlsafe_b64encode(point).rstrip(b"=").decode(),
        "auth": urlsafe_b64encode(uuid4().bytes).rstrip(b"=").decode(),
    }
    return {"platform": "web", "provider": "webpush", "subscription": {"endpoint": ENDPOINT, "keys": keys}}


async def test_a_request_says_its_route_its_person_and_its_call(world: World, server: ServerProcess) -> None:
    call, (ada, _), _ = await world.call_of("Ada", "Ben")
    await ada.ask("GET", f"/v1/calls/{call['call_id']}", None, **{"x-request-id": "look-at-one-call"})
    line = await logged(server, lambda one: one.get("request") == "look-at-one-call")
    assert (line["event"], line["method"], line["status"], line["route"]) == ("request", "GET", 200, "/v1/calls/{call_id}")
    assert (line["user"], line["call"]) == (ada.user_id[-8:], call["call_id"][-8:])
    assert line["ms"] > 0


async def test_one_request_can_be_followed_from_the_handshake_to_the_end_of_its_socket(world: World, server: ServerProcess) -> None:
    call, (ada, _), (_, at_ben) = await world.call_of("Ada", "Ben")
    headers = {"authorization": f"Bearer {ada.token}", "x-request-id": f"socket-{uuid4()}"}
    query = {"call_id": call["call_id"], "device_id": ada.device_id}
    socket = await world.socket("/v1/calls/ws/signaling", query, headers)
    assert socket.connection.response is not None
    assert socket.connection.response.headers["x-request-id"] == headers["x-request-id"]

    def mine(event: str) -> Callable[[Json], bool]:
        return lambda one: (one["event"], one.get("request")) == (event, headers["x-request-id"])

    about = {"kind": "signaling", "user": ada.user_id[-8:], "call": call["call_id"][-8:]}
    opened = await logged(server, mine("socket opened"))
    assert opened.items() >= {**about, "session": socket.welcome["session_id"][-8:]}.items()
    assert (await logged(server, mine("call changed")))["call"] == about["call"], "what the handshake did to the call"
    await socket.connection.close(1000)
    closed = await logged(server, mine("socket closed"))
    assert closed.items() >= {**about, "code": 1000, "reason": "closed by the client"}.items()
    at_ben.abort()
    session = at_ben.welcome["session_id"][-8:]
    lost = await logged(server, lambda one: (one["event"], one.get("session")) == ("socket closed", session))
    assert (lost["code"], lost["reason"]) == (1006, "connection lost")


async def test_a_refused_socket_is_found_by_the_name_its_gateway_gave_it(world: World, server: ServerProcess) -> None:
    with pytest.raises(Refused) as refused:
        await world.socket("/v1/ws/events", {}, {"x-request-id": "refused-handshake"})
    assert refused.value.problem["request_id"] == refused.value.headers["x-request-id"] == "refused-handshake"
    line = await logged(server, lambda one: one.get("request") == "refused-handshake")
    assert (line["event"], line["code"]) == ("socket refused", "unauthenticated")


async def test_a_request_and_a_call_are_followed_from_the_gateway_over_the_nodes(cluster: Cluster) -> None:
    world = World(cluster.url, cluster.gateway.certificate)
    call, (ada, _), (at_ada, at_ben) = await world.call_of("Ada", "Ben")
    request = f"followed-{uuid4()}"
    await ada.ask("GET", f"/v1/calls/{call['call_id']}", None, **{"x-request-id": request})
    async with asyncio.timeout(10):
        while True:
            lines = [line for node in cluster.nodes for line in node.lines]
            if request in cluster.gateway.said and any(line.get("request") == request for line in lines):
                break
            await asyncio.sleep(0.01)  # both logs come by way of a file or a pipe
    assert re.search(rf"200 GET /v1/calls/{call['call_id']} \d+ ms video/video\d -- \S+ {request}\n", cluster.gateway.said)
    about_the_call = [line for line in lines if line.get("call") == call["call_id"][-8:]]
    assert {line["event"] for line in about_the_call} >= {"call changed", "socket opened", "request"}
    sessions = {socket.welcome["session_id"][-8:] for socket in (at_ada, at_ben)}
    assert {line["session"] for line in about_the_call if line["event"] == "socket opened"} == sessions
    await world.close()


@pytest.mark.parametrize("place", ["one node", "two nodes behind the gateway"])
async def test_nothing_secret_is_logged_even_when_everything_is(place: str, tmp_path: Path) -> None:
    if place == "one node":
        async with serving(tmp_path, LOG_LEVEL="debug", TURN_SERVERS=TURN, TURN_SECRET=TURN_SECRET) as server:
            secrets = await everything_said(World(server.url))
        said = "".join(server.said)
    else:
        vapid = urlsafe_b64encode(bytes(range(32))).rstrip(b"=").decode()
        async with running_cluster(
            tmp_path,
            nodes=2,
            RATE_LIMITS="off",
            VAPID_PRIVATE_KEY=vapid,
            LOG_LEVEL="debug",
            TURN_SERVERS=TURN,
            TURN_SECRET=TURN_SECRET,
        ) as cluster:
            secrets = await everything_said(World(cluster.url, cluster.gateway.certificate))
            said = cluster.gateway.said
            assert " /v1/calls/ws/signaling " in said, "paths, and no more of an address"
        said += "".join(word for node in cluster.nodes for word in node.said)
    assert '"call changed"' in said
    assert '"push"' in said, "somebody was pushed to, or there was no address to keep"
    assert len(secrets) > 15
    assert [name for name, secret in secrets.items() if secret in said] == []
    assert JWT.search(said) is None


async def everything_said(world: World) -> dict[str, str]:
    try:
        return await whole_call(world)
    finally:
        await world.close()


async def whole_call(world: World) -> dict[str, str]:
    """Sign-in, push, a call with all it says and all that is refused; every secret that went in or out, by name."""
    secrets: dict[str, str] = {"sdp": "nobodyMayReadThisOne", "candidate": "192.0.2.77", "text": "for your eyes only"}
    secrets |= {"endpoint": "nobody-may-read-this-address", "turn secret": TURN_SECRET}
    ada, ben = await signed_in(world, "ada", secrets), await signed_in(world, "ben", secrets)
    browser = subscription()
    secrets |= {"push key": browser["subscription"]["keys"]["auth"], "push point": browser["subscription"]["keys"]["p256dh"]}
    await ben.ask("PUT", f"/v1/devices/{ben.device_id}", browser)
    conversation = await ada.converse(ben)
    await ada.write(conversation, secrets["text"])
    call = await ada.initiate(conversation, ben)
    await pushed(ada, call)
    events = await ada.events()
    await ben.join(call)
    at_ada, at_ben = await ada.signaling(call), await ben.signaling(call)
    await at_ada.say("offer", sdp=SDP)
    await at_ben.expect("offer")
    await at_ben.say("ice_candidate", candidate={"candidate": CANDIDATE, "sdpMid": "0"})
    await at_ada.expect("ice_candidate")
    await at_ada.say("offer", sdp=SDP, target_id="nobody", ref="refused")
    await at_ada.say("offer", sdp=5, candidate=CANDIDATE)
    await at_ada.connection.send(f"no JSON {SDP}")
    await at_ada.expect("error", ref="refused")
    secrets |= {"resume": at_ada.welcome["resume"], "resume of the other": at_ben.welcome["resume"]}
    relays = (await ada.ask("GET", f"/v1/calls/{call['call_id']}/ice-servers"))["ice_servers"]
    secrets |= {f"credential {at}": one["credential"] for at, one in enumerate(relays) if "credential" in one}
    assert "credential 0" in secrets or "credential 1" in secrets
    at_ada.abort()
    at_ada = await ada.resume(call, at_ada)
    for path, query, headers in (
        ("/v1/calls/ws/signaling", {"call_id": call["call_id"], "token": ada.token}, {}),
        ("/v1/calls/ws/signaling", {"call_id": call["call_id"]}, {"authorization": f"Bearer {ada.token}x"}),
        ("/v1/calls/ws/signaling", {"call_id": str(uuid4())}, {"authorization": f"Bearer {ada.token}"}),
    ):
        with pytest.raises(Refused):
            await world.socket(path, query, headers)
    for body in (
        {"email": "ada@example.com", "password": "a wrong guess of a word"},
        {"refresh_token": "a forged one, of some length"},
    ):
        with pytest.raises(Refused):
            await world.ask("POST", "/v1/auth/login" if "email" in body else "/v1/auth/refresh", body, {})
    secrets |= {"guess": "a wrong guess of a word", "forged": "a forged one"}
    with pytest.raises(Refused):
        await world.ask("GET", f"/v1/nowhere?access_token={ada.token}", None, {})
    await ada.end(call)
    await events.expect("call.ended")
    return secrets


async def pushed(caller: Person, call: Json) -> None:
    """Return once a push of the ring has been tried, whatever came of it: what is said of it must be in the log."""
    async with asyncio.timeout(10):
        while True:
            trace = await caller.ask("GET", f"/v1/calls/{call['call_id']}/trace")
            events = [entry["event"] for callee in trace["callees"] for device in callee["devices"] for entry in device["events"]]
            if {"accepted", "retried", "failed"} & set(events):
                return
            await asyncio.sleep(0.01)


async def signed_in(world: World, name: str, secrets: dict[str, str]) -> Any:
    """Somebody with an account, who has come back once and renewed what they hold."""
    email, password = f"{name}-{uuid4().hex}@example.com", f"the password of {name}, {uuid4().hex}"
    body = {"email": email, "password": password, "display_name": name}
    made = await world.ask("POST", "/v1/auth/register", body, {})
    again = await world.ask("POST", "/v1/auth/login", {"email": email, "password": password}, {})
    renewed = await world.ask("POST", "/v1/auth/refresh", {"refresh_token": again["refresh_token"]}, {})
    secrets |= {f"password of {name}": password}
    for at, answer in enumerate((made, again, renewed)):
        secrets |= {f"{kind} {at} of {name}": answer[kind] for kind in ("access_token", "refresh_token")}
    return await world.bearer(renewed["access_token"])
