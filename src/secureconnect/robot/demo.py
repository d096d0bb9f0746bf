"""The people of the demo: Ada, Linus and Echo, their conversations, and the links that sign them in.

Used by `commands` and `headless`. Seeding twice changes nothing: who they are is kept in a file that only its owner can read.
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import httpx2
import msgspec

from secureconnect.clock import Clock
from secureconnect.ids import ConversationId, DeviceId
from secureconnect.robot.client import Client
from secureconnect.robot.problems import ProblemError, UnreachableError
from secureconnect.robot.wire import User

NAMES = ("Ada", "Linus", "Echo")
PEOPLE_FILE = "demo-people.json"
READY_SECONDS = 20.0
"""How long the server may take to answer for the first time."""


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """What the file keeps of somebody. The device stays the same, so that a robot that restarts finds its place in a call."""

    display_name: str
    email: str
    password: str
    device_id: DeviceId


@dataclass(frozen=True)
class Guest:
    """A person who is signed in."""

    person: Person
    user: User
    client: Client

    @property
    def link(self) -> str:
        """Opens the web client signed in as this person. The password is in the fragment, which browsers send to nobody."""
        email, password = quote(self.person.email, safe=""), quote(self.person.password, safe="")
        return f"{self.client.base_url}/#email={email}&password={password}"


@dataclass(frozen=True)
class Demo:
    """Who there is, and the conversation of the two people."""

    ada: Guest
    linus: Guest
    echo: Guest
    ada_and_linus: ConversationId


async def seed(base_url: str, data_dir: Path, http: httpx2.AsyncClient, clock: Clock) -> Demo:
    """Sign the three in, registering them first where needed, and open the conversations between each two.

    `data_dir` keeps their passwords (mode 0600). Raises ProblemError, or UnreachableError when no server answers for 20 s.
    """
    await _ready(base_url, http, clock)
    people = read_people(data_dir / PEOPLE_FILE) or [_person(name) for name in NAMES]
    guests = [await _sign_in(person, Client(base_url, http, clock=clock, device_id=person.device_id)) for person in people]
    write_people(data_dir / PEOPLE_FILE, [guest.person for guest in guests])
    ada, linus, echo = guests
    together = await _conversation(ada, linus)
    await _conversation(ada, echo)
    await _conversation(linus, echo)
    return Demo(ada, linus, echo, together)


def read_people(path: Path) -> list[Person] | None:
    """The people in the file, in the order of NAMES; None when there is no such file or it is not ours."""
    try:
        people = msgspec.json.decode(path.read_bytes(), type=list[Person])
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return people if tuple(person.display_name for person in people) == NAMES else None


def write_people(path: Path, people: list[Person]) -> None:
    """Keep the people, readable to the owner alone from the first byte on, and never half of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(people), indent=2))
    fresh.replace(path)


def _person(name: str, mark: str = "") -> Person:
    return Person(
        display_name=name,
        email=f"{name.lower()}{mark}@example.com",
        password=secrets.token_urlsafe(15),
        device_id=DeviceId(uuid4()),
    )


async def _ready(base_url: str, http: httpx2.AsyncClient, clock: Clock) -> None:
    deadline = clock.monotonic() + READY_SECONDS
    while True:
        try:
            if (await http.get(f"{base_url.rstrip('/')}/health/live")).is_success:
                return
            reason = "it is not alive yet"
        except httpx2.TransportError as failure:
            reason = str(failure) or type(failure).__name__
        if clock.monotonic() > deadline:
            raise UnreachableError(f"no server at {base_url}: {reason}")
        await clock.sleep(0.1)


async def _sign_in(person: Person, client: Client) -> Guest:
    try:
        return Guest(person, await client.login(person.email, person.password), client)
    except ProblemError as refusal:
        if refusal.code != "wrong_credentials":
            raise
    try:
        return Guest(person, await client.register(person.email, person.password, person.display_name), client)
    except ProblemError as refusal:
        if refusal.code != "email_taken":
            raise
    # The server knows an Ada whose password we do not: ours gets another address.
    person = _person(person.display_name, f"+{secrets.token_hex(4)}")
    return Guest(person, await client.register(person.email, person.password, person.display_name), client)


async def _conversation(one: Guest, other: Guest) -> ConversationId:
    both = {one.user.user_id, other.user.user_id}
    for conversation in await one.client.conversations():
        if {member.user_id for member in conversation.participants} == both:
            return conversation.conversation_id
    return (await one.client.create_conversation([other.user.user_id])).conversation_id
