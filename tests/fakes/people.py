"""People at a real server, as tests tell their stories: what they can do (`Person`), and what their sockets hear (`Socket`).

Used by the scenarios. Raw JSON in and out, no retries and no resuming behind a test's back: what a client library would smooth over
is what a scenario looks at. Every refusal that passes through here is checked to be a proper problem (RFC 9457).
"""

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx2
from joserfc import jwt
from joserfc.jwk import OctKey
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.fakes.server import SECRET

Json = dict[str, Any]

PATIENCE_SECONDS = 20.0
"""How long anything that must happen may take on a machine that is busy with something else."""
PROBLEM_FIELDS = {"type", "title", "status", "detail", "code", "request_id"}


class Refused(Exception):
    """The server said no, properly: an RFC 9457 problem of this `status` and `code`."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        assert headers["content-type"].startswith("application/problem+json"), (status, headers["content-type"], body)
        self.problem: Json = json.loads(body)
        assert self.problem.keys() == PROBLEM_FIELDS, self.problem
        assert self.problem["status"] == status
        self.status = status
        self.headers = headers
        self.code: str = self.problem["code"]
        super().__init__(f"{status} {self.code}: {self.problem['detail']}")


class Socket:
    """An open socket. `frames` is everything it has heard, in order."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames: list[Json] = []

    @property
    def welcome(self) -> Json:
        return self.frames[0]

    @property
    def seq(self) -> int:
        """The place to resume from: of the last frame that had one, or of the snapshot."""
        return next(int(frame["seq"]) for frame in reversed(self.frames) if "seq" in frame and frame["type"] != "ack")

    @property
    def cursor(self) -> str:
        return next(str(frame["cursor"]) for frame in reversed(self.frames) if "cursor" in frame)

    def heard(self, kind: str, **fields: Any) -> list[Json]:
        """The frames of this type and with these fields that came so far."""
        return [frame for frame in self.frames if _fits(frame, {"type": kind, **fields})]

    async def read(self, patience: float = PATIENCE_SECONDS) -> Json:
        """The next frame, within `patience` seconds. Raises ConnectionClosed, TimeoutError."""
        async with asyncio.timeout(patience):
            frame: Json = json.loads(await self.connection.recv())
        self.frames.append(frame)
        return frame

    async def expect(self, kind: str, **fields: Any) -> Json:
        """The next frame of this type with these fields; others before it are only noted in `frames`."""
        return await self.until(lambda frame: _fits(frame, {"type": kind, **fields}), f"{kind} {fields}")

    async def until(self, fits: Callable[[Json], bool], wanted: str) -> Json:
        begun = len(self.frames)
        try:
            while True:
                frame = await self.read()
                if fits(frame):
                    return frame
        except (ConnectionClosed, TimeoutError) as end:
            came = [frame["type"] for frame in self.frames[begun:]]
            raise AssertionError(f"waited for {wanted}; there came {came}, then {end!r}") from end

    async def say(self, kind: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": kind, **fields}))

    async def tell(self, kind: str, **fields: Any) -> int:
        """Say it with a ref, and return the seq of the ack."""
        ref = uuid4().hex
        await self.say(kind, ref=ref, **fields)
        ack = await self.expect("ack", ref=ref)
        return int(ack["seq"])

    async def closed(self) -> int:
        """Read until the server closes; the close code."""
        try:
            while True:
                await self.read()
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd is not None else 1006

    def abort(self) -> None:
        """Cut the connection: no goodbye, as when a network goes away."""
        self.connection.transport.abort()


class Person:
    """Somebody signed in. `device_id` is the device at hand; `on` is the same person at another one."""

    def __init__(self, world: "World", user: Json, token: str, device_id: str) -> None:
        self.world = world
        self.user = user
        self.user_id: str = user["user_id"]
        self.token = token
        self.device_id = device_id

    def on(self, device_id: str) -> "Person":
        return Person(self.world, self.user, self.token, device_id)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer's JSON. Raises Refused."""
        return await self.world.ask(method, path, body, {"authorization": f"Bearer {self.token}", **headers})

    # Chat

    async def converse(self, *others: "Person") -> str:
        """A conversation with others; its id."""
        made = await self.ask("POST", "/v1/conversations", {"participant_ids": [other.user_id for other in others]})
        return str(made["conversation_id"])

    async def write(self, conversation_id: str, content: str) -> Json:
        message: Json = await self.ask("POST", "/v1/messages", {"conversation_id": conversation_id, "content": content})
        return message

    async def timeline(self, conversation_id: str) -> list[Json]:
        return await self.all(f"/v1/messages?conversation_id={conversation_id}&limit=100")

    # Calls

    async def initiate(self, conversation_id: str, *callees: "Person", key: str | None = None, **choice: Any) -> Json:
        body = {"call_type": "video", "conversation_id": conversation_id, "device_id": self.device_id, **choice}
        body["callee_ids"] = [callee.user_id for callee in callees]
        headers = {} if key is None else {"idempotency-key": key}
        call: Json = await self.ask("POST", "/v1/calls/initiate", body, **headers)
        return call

    async def join(self, call: Json, **choice: Any) -> Json:
        return await self._command(call, "join", {"device_id": self.device_id, **choice})

    async def decline(self, call: Json) -> Json:
        return await self._command(call, "decline", {"device_id": self.device_id})

    async def leave(self, call: Json) -> Json:
        return await self._command(call, "leave", None)

    async def end(self, call: Json) -> Json:
        return await self._command(call, "end", None)

    async def invite(self, call: Json, *others: "Person") -> Json:
        return await self._command(call, "invite", {"user_ids": [other.user_id for other in others]})

    async def look(self, call: Json) -> Json:
        """The call as it is now."""
        found: Json = await self.ask("GET", f"/v1/calls/{call['call_id']}")
        return found

    async def history(self, **query: str) -> list[Json]:
        return await self.all(f"/v1/calls?{urlencode({'limit': '100', **query})}")

    # Sockets

    async def signaling(self, call: Json, **query: Any) -> Socket:
        """A session in the call, welcomed. Raises Refused."""
        return await self.socket("/v1/calls/ws/signaling", call_id=call["call_id"], device_id=self.device_id, **query)

    async def resume(self, call: Json, lost: Socket, seq: int | None = None) -> Socket:
        """Come back to the session of a lost socket, from the last frame heard there."""
        return await self.signaling(call, resume=lost.welcome["resume"], seq=lost.seq if seq is None else seq)

    async def events(self, **query: Any) -> Socket:
        return await self.socket("/v1/ws/events", device_id=self.device_id, **query)

    async def socket(self, path: str, **query: Any) -> Socket:
        return await self.world.socket(path, query, {"authorization": f"Bearer {self.token}"})

    async def _command(self, call: Json, verb: str, body: Json | None) -> Json:
        changed: Json = await self.ask("POST", f"/v1/calls/{call['call_id']}/{verb}", body)
        return changed

    async def all(self, path: str) -> list[Json]:
        """Every item of a list, page after page."""
        found: list[Json] = []
        cursor = ""
        while True:
            page = await self.ask("GET", path + cursor)
            found += page["items"]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"


class World:
    """Everybody at the server that listens at `url`, and every socket they opened."""

    def __init__(self, url: str, certificate: Path | None = None) -> None:
        """`certificate`: of a server that signed its own, and is believed nevertheless."""
        self.url = url
        self._tls = None if certificate is None else ssl.create_default_context(cafile=certificate)
        self.sockets: list[Socket] = []
        self._http = httpx2.AsyncClient(
            base_url=url,
            trust_env=False,
            verify=self._tls or True,
            timeout=60.0,
            # Shorter than the server's, so that no request meets a connection that is just being closed.
            limits=httpx2.Limits(max_connections=64, max_keepalive_connections=64, keepalive_expiry=2.0),
        )

    async def person(self, name: str) -> Person:
        """Somebody whose token an embedding application signed: known to the server from the first request on."""
        return await self.bearer(mint(str(uuid4()), name))

    async def people(self, *names: str) -> Sequence[Person]:
        return await asyncio.gather(*(self.person(name) for name in names))

    async def bearer(self, token: str) -> Person:
        """Whoever this token stands for."""
        user = await self.ask("GET", "/v1/users/me", None, {"authorization": f"Bearer {token}"})
        return Person(self, user, token, str(uuid4()))

    async def register(self, name: str) -> Person:
        """Somebody with an account here."""
        body = {"email": f"{uuid4().hex}@example.com", "password": uuid4().hex, "display_name": name}
        made = await self.ask("POST", "/v1/auth/register", body, {})
        return Person(self, made["user"], made["access_token"], str(uuid4()))

    async def call_of(self, *names: str) -> tuple[Json, list[Person], list[Socket]]:
        """New people who talk: the first has rung the others, all have joined and opened a socket."""
        people = list(await self.people(*names))
        call = await people[0].initiate(await people[0].converse(*people[1:]), *people[1:])
        sockets = [await people[0].signaling(call)]
        for person in people[1:]:
            await person.join(call)
            sockets.append(await person.signaling(call))
        return call, people, sockets

    async def ask(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        """The answer's JSON, None when it has no body. Raises Refused."""
        answer = (
            await self._http.request(method, path, json=body, headers=headers)
            if body is not None
            else (await self._http.request(method, path, headers=headers))
        )
        if answer.status_code >= 400:
            refused = Refused(answer.status_code, answer.headers, answer.content)
            assert refused.problem["request_id"] == answer.headers["x-request-id"]
            raise refused
        return answer.json() if answer.content else None

    async def health(self) -> Json:
        """What the server says of its dependencies, well or not."""
        report: Json = (await self._http.get("/health")).json()
        return report

    async def ready(self) -> Json:
        """Whether the server wants new work, and if not, why."""
        report: Json = (await self._http.get("/health/ready")).json()
        return report

    async def socket(
        self, path: str, query: Json, headers: dict[str, str], *, origin: str | None = None, subprotocols: list[str] | None = None
    ) -> Socket:
        """A socket and its first frame. Raises Refused when there was no upgrade."""
        present = urlencode({name: value for name, value in query.items() if value is not None})
        try:
            connection = await connect(
                f"ws{self.url.removeprefix('http')}{path}?{present}",
                additional_headers=headers,
                origin=origin,  # type: ignore[arg-type]  # any text may claim to be one
                subprotocols=subprotocols,  # type: ignore[arg-type]
                ssl=self._tls,
                compression=None,
                proxy=None,
                max_queue=None,
                open_timeout=PATIENCE_SECONDS,
                close_timeout=1,
                ping_interval=None,
            )
        except InvalidStatus as refusal:
            answer = refusal.response
            raise Refused(answer.status_code, answer.headers, bytes(answer.body or b"")) from None
        socket = Socket(connection)
        self.sockets.append(socket)
        await socket.read()
        return socket

    async def close(self) -> None:
        """Everybody goes home."""
        for socket in self.sockets:
            socket.abort()
        await asyncio.gather(*(socket.connection.wait_closed() for socket in self.sockets))
        await self._http.aclose()


def mint(
    subject: str, name: str, *, seconds: int = 3600, secret: str = SECRET, audience: str = "secureconnect", **more: Any
) -> str:
    """A token as an embedding application signs one with the shared secret; `more` are further claims."""
    now = int(time.time())
    claims = {"iss": "secureconnect", "aud": audience, "sub": subject, "name": name, "iat": now, "exp": now + seconds, **more}
    return jwt.encode({"alg": "HS256", "typ": "JWT"}, claims, OctKey.import_key(secret))


def person_in(call: Json, person: Person) -> Json:
    """The person's entry in a call."""
    found: Json = next(one for one in call["participants"] if one["user_id"] == person.user_id)
    return found


def _fits(frame: Json, wanted: Json) -> bool:
    return all(name in frame and frame[name] == value for name, value in wanted.items())
