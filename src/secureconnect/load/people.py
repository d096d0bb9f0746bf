"""People for a run: minted here when the server's secret is known, else registered; and what they ask of the HTTP API.

Called by the runs.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar
from uuid import UUID, uuid4

import msgspec
from joserfc import jwt
from joserfc.jwk import OctKey

from secureconnect.load.rest import Rest

T = TypeVar("T")

ISSUER = "secureconnect"
TOKEN_SECONDS = 86_400
AT_ONCE = 16


class Person(msgspec.Struct, frozen=True):
    """Somebody who may sign in, at a device of their own."""

    user_id: UUID
    token: str
    device_id: UUID

    @property
    def headers(self) -> dict[str, str]:
        """What opens a socket for this person."""
        return {"Authorization": f"Bearer {self.token}"}


class _User(msgspec.Struct):
    user_id: UUID


class _SignedIn(msgspec.Struct):
    user: _User
    access_token: str


class _Conversation(msgspec.Struct):
    conversation_id: UUID


class Call(msgspec.Struct):
    """The part of a call that a driver looks at."""

    call_id: UUID
    status: str


class _Calls(msgspec.Struct):
    items: list[Call]


async def gather_people(rest: Rest, count: int, secret: str | None, tick: Callable[[int], None]) -> list[Person]:
    """`count` people known to the server. `tick` hears how many there are so far.

    Raises LoadError when the server takes one of them for a stranger.
    """
    found: list[Person] = []

    async def one(number: int) -> None:
        found.append(await (_register(rest, number) if secret is None else _introduce(rest, number, secret)))
        tick(len(found))

    await all_of(one(number) for number in range(count))
    return found


async def all_of(work: Iterable[Coroutine[Any, Any, T]], at_once: int = AT_ONCE) -> list[T]:
    """Run all, a few at a time, in order; the first failure cancels the others and is raised as itself."""
    slots = asyncio.Semaphore(at_once)

    async def one(item: Coroutine[Any, Any, T]) -> T:
        async with slots:
            return await item

    tasks = [asyncio.create_task(one(item)) for item in work]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def _register(rest: Rest, number: int) -> Person:
    body = {
        "email": f"load-{uuid4().hex}@example.com",
        "password": uuid4().hex,
        "display_name": f"Load {number}",
    }
    signed_in: _SignedIn = await rest.call("POST", "/v1/auth/register", _SignedIn, body=body)
    return Person(signed_in.user.user_id, signed_in.access_token, uuid4())


async def _introduce(rest: Rest, number: int, secret: str) -> Person:
    """Sign a token ourselves and show it once: the server makes the user on first sight, and others may then name it."""
    user_id = uuid4()
    token = sign(user_id, f"Load {number}", secret)
    user: _User = await rest.call("GET", "/v1/users/me", _User, token=token)
    return Person(user.user_id, token, uuid4())


def sign(user_id: UUID, name: str, secret: str, *, seconds: int = TOKEN_SECONDS) -> str:
    """An access token as an embedding application signs one with the shared secret, good for so many seconds."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": ISSUER, "sub": str(user_id), "name": name, "iat": now, "exp": now + seconds}
    return jwt.encode({"alg": "HS256", "typ": "JWT"}, claims, OctKey.import_key(secret))


async def converse(rest: Rest, first: Person, second: Person) -> UUID:
    """A conversation of two; its id."""
    made: _Conversation = await rest.call(
        "POST", "/v1/conversations", _Conversation, token=first.token, body={"participant_ids": [second.user_id]}
    )
    return made.conversation_id


async def initiate(rest: Rest, caller: Person, callee: Person, conversation_id: UUID) -> Call:
    """Ring the callee."""
    body = {
        "call_type": "video",
        "conversation_id": conversation_id,
        "callee_ids": [callee.user_id],
        "device_id": caller.device_id,
    }
    return await rest.call("POST", "/v1/calls/initiate", Call, token=caller.token, body=body)


async def join(rest: Rest, person: Person, call_id: UUID) -> Call:
    return await rest.call("POST", f"/v1/calls/{call_id}/join", Call, token=person.token, body={"device_id": person.device_id})


async def end(rest: Rest, person: Person, call_id: UUID) -> Call:
    return await rest.call("POST", f"/v1/calls/{call_id}/end", Call, token=person.token)


async def unfinished(rest: Rest, person: Person) -> list[Call]:
    """The person's calls that still ring or run."""
    found: list[Call] = []
    for status in ("ringing", "active"):
        page: _Calls = await rest.call("GET", f"/v1/calls?status={status}", _Calls, token=person.token)
        found += page.items
    return found
