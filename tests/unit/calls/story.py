"""A call told step by step, for the tests of the machine: every verb is a command, decided at the story's own time.

`Story.of(ANN, BOB)` has Ann ring Bob. What the last step told the world is in `events`; `refused(code)` expects a step to be
refused and to change nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from secureconnect.calls import machine
from secureconnect.calls.call import Call, CallType, EndReason, Participant, Session, State, Status, due_at
from secureconnect.calls.commands import (
    CloseSession,
    Command,
    Decline,
    End,
    Event,
    Initiate,
    Invite,
    Join,
    Leave,
    NodeLost,
    OpenSession,
    Person,
    Tick,
)
from secureconnect.errors import ServiceError
from secureconnect.ids import CallId, ConversationId, DeviceId, NodeId, SessionId, UserId

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RING = timedelta(seconds=45)
GRACE = timedelta(seconds=30)
CAPACITY = 4

ANN, BOB, CYN, DAN, EVE = (UserId(UUID(int=0xA0 + number)) for number in range(5))
PHONE, LAPTOP, TABLET = (DeviceId(UUID(int=0xD0 + number)) for number in range(3))
EAST, WEST = NodeId(UUID(int=0xE0)), NodeId(UUID(int=0xE1))


def person(user_id: UserId, *, busy: bool = False) -> Person:
    return Person(user_id, f"Person {user_id.int:x}", busy)


def initiation(
    caller: UserId, *callees: Person, device: DeviceId | None = None, reject_busy: bool = False, capacity: int = CAPACITY
) -> Initiate:
    return Initiate(
        call_id=CallId(UUID(int=0xCA11)),
        conversation_id=ConversationId(UUID(int=0xC0)),
        call_type=CallType.VIDEO,
        caller=person(caller),
        callees=callees,
        capacity=capacity,
        ring=RING,
        grace=GRACE,
        device_id=device,
        reject_busy=reject_busy,
    )


class Story:
    """A call, the time, and what the last step led to."""

    def __init__(self, command: Initiate) -> None:
        self.now = START
        outcome = machine.initiate(command, self.now)
        self.call: Call = outcome.call
        self.events: tuple[Event, ...] = outcome.events
        self.changed = True
        self._sessions = 0

    @classmethod
    def of(cls, caller: UserId, *callees: UserId) -> "Story":
        return cls(initiation(caller, *(person(one) for one in callees)))

    # What one looks at

    @property
    def verdict(self) -> tuple[Status, EndReason | None]:
        return self.call.status, self.call.end_reason

    def one(self, user: UserId) -> Participant:
        found = self.call.participant(user)
        assert found is not None
        return found

    def state(self, user: UserId) -> State:
        return self.one(user).state

    def sessions(self, user: UserId) -> list[SessionId]:
        return [session.session_id for session in self.one(user).sessions]

    # Steps

    def step(self, command: Command) -> "Story":
        outcome = machine.decide(self.call, command, self.now)
        self.call, self.events, self.changed = outcome.call, outcome.events, outcome.changed
        return self

    def join(self, user: UserId, device: DeviceId | None = None, mode: str | None = None) -> "Story":
        return self.step(Join(person(user), GRACE, device, mode))

    def decline(self, user: UserId, device: DeviceId | None = None) -> "Story":
        return self.step(Decline(user, device))

    def leave(self, user: UserId, session: SessionId | None = None) -> "Story":
        return self.step(Leave(user, session))

    def end(self, user: UserId) -> "Story":
        return self.step(End(user))

    def invite(self, inviter: UserId, *people: UserId) -> "Story":
        return self.step(Invite(inviter, tuple(person(one) for one in people), RING))

    def open(
        self, user: UserId, device: DeviceId | None = None, *, resume: SessionId | None = None, node: NodeId = EAST
    ) -> SessionId:
        """A socket opens; returns the session it carries."""
        self._sessions += 1
        fresh = SessionId(UUID(int=0x5E00 + self._sessions))
        self.step(OpenSession(user, fresh, node, device, resume))
        carried = fresh if resume is None or fresh in self.sessions(user) else resume
        assert carried in self.sessions(user)
        return carried

    def close(self, user: UserId, session: SessionId) -> "Story":
        """The socket that carries this session now closes."""
        return self.close_socket(user, self.session(user, session))

    def close_socket(self, user: UserId, socket: Session) -> "Story":
        """One socket closes: the one that carried the session as it was in `socket`."""
        return self.step(CloseSession(user, socket.session_id, socket.generation, GRACE))

    def lose(self, node: NodeId) -> "Story":
        return self.step(NodeLost(node, GRACE))

    def wait(self, *, seconds: float) -> "Story":
        """Time passes, and the timer looks."""
        self.now += timedelta(seconds=seconds)
        return self.step(Tick())

    def wait_until_due(self) -> "Story":
        due = due_at(self.call)
        assert due is not None
        self.now = max(self.now, due)
        return self.step(Tick())

    def session(self, user: UserId, session: SessionId) -> Session:
        return next(one for one in self.one(user).sessions if one.session_id == session)

    @contextmanager
    def refused(self, code: str) -> Iterator[None]:
        before = self.call
        with pytest.raises(ServiceError) as caught:
            yield
        assert caught.value.code == code
        assert self.call == before


def a_conversation(*, group: bool = False) -> Story:
    """Ann and Bob talk, each through one socket; in a group Cyn was rung too and has not answered."""
    story = Story.of(ANN, BOB, CYN) if group else Story.of(ANN, BOB)
    story.open(ANN)
    story.join(BOB, PHONE)
    story.open(BOB, PHONE)
    return story
