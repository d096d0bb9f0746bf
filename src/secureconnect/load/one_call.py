"""One call between two people, step by step, as their clients make it. Called by calls.

A step that does not do what it must ends the call with LoadError; clearing up is the caller's.
"""

import time
from typing import Literal
from uuid import UUID

import msgspec

from secureconnect.load.contents import Content, content_of
from secureconnect.load.inbox import Inbox, open_inbox
from secureconnect.load.people import Person, initiate, join
from secureconnect.load.rest import LoadError, Rest
from secureconnect.load.target import Target

OFFER = content_of(4096)
CANDIDATE = content_of(300)

Kind = Literal["offer", "answer", "ice_candidate"]


class Pair(msgspec.Struct):
    """Two people with a conversation, both at their events sockets."""

    caller: Person
    callee: Person
    conversation_id: UUID
    caller_events: Inbox
    callee_events: Inbox


class Steps(msgspec.Struct, frozen=True):
    """Seconds from initiate to: its answer over HTTP, `call.incoming` at the callee, the SDP answer at the one who offered."""

    initiated: float
    rang: float
    answered: float


class OneCall:
    """A call about to be made."""

    def __init__(self, rest: Rest, target: Target, pair: Pair, candidates: int) -> None:
        self._rest = rest
        self._target = target
        self._pair = pair
        self._candidates = candidates

    async def run(self) -> Steps:
        """Ring, join, negotiate, leave, and see the end at both events sockets. Raises LoadError."""
        pair = self._pair
        began = time.perf_counter()
        call = await initiate(self._rest, pair.caller, pair.callee, pair.conversation_id)
        initiated = time.perf_counter()
        rang, _ = await pair.callee_events.until("call.incoming", call.call_id)
        answered = await self._talk(call.call_id)
        for events in (pair.caller_events, pair.callee_events):
            await events.until("call.ended", call.call_id)
        return Steps(initiated - began, rang - began, answered - began)

    async def _talk(self, call_id: UUID) -> float:
        """Both in, everything exchanged, both out. The moment of the answer."""
        caller, caller_session = await self._signal(self._pair.caller, call_id)
        try:
            await join(self._rest, self._pair.callee, call_id)
            callee, callee_session = await self._signal(self._pair.callee, call_id)
            try:
                answered = await self._negotiate(caller, caller_session, callee, callee_session)
                caller.send(b'{"type":"leave"}')
                await caller.closed()
                await callee.closed()
            finally:
                callee.close()
        finally:
            caller.close()
        return answered

    async def _signal(self, person: Person, call_id: UUID) -> tuple[Inbox, str]:
        """The person's signaling socket and session."""
        path = f"/v1/calls/ws/signaling?call_id={call_id}&device_id={person.device_id}"
        inbox = await open_inbox(self._target.socket_url + path, person)
        _, welcome = await inbox.until("welcome")
        return inbox, welcome.session_id

    async def _negotiate(self, caller: Inbox, caller_session: str, callee: Inbox, callee_session: str) -> float:
        """The one who came last offers, as docs/protocol.md has it. The moment the answer arrived."""
        callee.send(_message("offer", caller_session, OFFER, 0))
        await _expect(caller, "offer", OFFER, 0)
        caller.send(_message("answer", callee_session, OFFER, 1))
        answered = await _expect(callee, "answer", OFFER, 1)
        for number in range(self._candidates):
            callee.send(_message("ice_candidate", caller_session, CANDIDATE, number))
            caller.send(_message("ice_candidate", callee_session, CANDIDATE, number))
        for inbox in (caller, callee):
            for number in range(self._candidates):
                await _expect(inbox, "ice_candidate", CANDIDATE, number)
        return answered


def _message(kind: Kind, target: str, content: Content, number: int) -> bytes:
    opening = f'{{"type":"{kind}","target_id":"{target}","{content.field}":'
    return opening.encode() + content.at(number) + b"}"


async def _expect(inbox: Inbox, kind: Kind, content: Content, number: int) -> float:
    """The moment this message came, unchanged and in its turn. Raises LoadError."""
    moment, event = await inbox.until(kind)
    if bytes(event.candidate if content is CANDIDATE else event.sdp) != content.at(number):
        raise LoadError(f"{kind} {number} arrived altered or out of order")
    return moment
