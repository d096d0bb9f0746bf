"""kill -9 in the middle of calls, and a start on the same data: no call is stuck, and nothing that was answered is lost."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.fakes.people import Json, Person, Refused, Socket, World, person_in
from tests.fakes.server import ServerProcess
from tests.scenario.conftest import faults

pytestmark = pytest.mark.anyio

GRACE_SECONDS = 12
"""Longer than a start takes on a busy machine: whoever was about to come back must still be able to."""
SHORTEST_RING = 5
WRITERS = 6
ANSWERS = 150
"""Answers after which the process dies, in the middle of the next."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    server = ServerProcess(tmp_path, RATE_LIMITS="off", GRACE_SECONDS=str(GRACE_SECONDS))
    await server.start()
    yield server
    assert await server.stop() == 0
    assert faults(server) == []


async def kill_and_start(server: ServerProcess) -> None:
    await server.kill()
    await server.start()


async def ended(person: Person, call: Json) -> Json:
    """The call once it is over: now, or when this person is told."""
    inbox = await person.events()
    now = await person.look(call)
    if now["status"] not in ("ringing", "active"):
        return now
    told: Json = (await inbox.expect("call.ended", call_id=call["call_id"]))["call"]
    return told


async def come_back(person: Person, call: Json, lost: Socket) -> Socket:
    """The same session, with a fresh snapshot: the log of before is gone. Its seqs go on above those it gave."""
    back = await person.resume(call, lost)
    assert back.welcome["session_id"] == lost.welcome["session_id"]
    assert back.welcome["resumed"] is False
    assert back.welcome["seq"] > lost.seq
    assert person_in(back.welcome["call"], person)["state"] == "joined"
    return back


async def test_those_who_come_back_talk_on(world: World, server: ServerProcess) -> None:
    call, (ada, ben), (at_ada, at_ben) = await world.call_of("Ada", "Ben")
    shaky, (cleo, dora), (at_cleo, at_dora) = await world.call_of("Cleo", "Dora")
    at_dora.abort()
    while person_in((await at_cleo.expect("call"))["call"], dora)["state"] != "reconnecting":
        pass
    await at_ada.tell("reaction")
    await kill_and_start(server)

    at_ada, at_ben = await come_back(ada, call, at_ada), await come_back(ben, call, at_ben)
    at_cleo, at_dora = await come_back(cleo, shaky, at_cleo), await come_back(dora, shaky, at_dora)
    for mine, theirs in ((at_ada, at_ben), (at_cleo, at_dora)):
        await mine.say("offer", sdp="on we go", target_id=theirs.welcome["session_id"])
        offer = await theirs.expect("offer", sdp="on we go")
        assert offer["seq"] > theirs.welcome["seq"]
        assert not theirs.heard("join"), "nobody came who was not there before"
        assert not theirs.heard("leave")
    assert (await ada.end(call))["end_reason"] == "completed"
    assert (await cleo.end(shaky))["end_reason"] == "completed"


async def test_those_who_stay_away_have_left_and_no_call_is_stuck(world: World, server: ServerProcess) -> None:
    left_alone, (ada, ben), (at_ada, _) = await world.call_of("Ada", "Ben")
    abandoned, (cleo, _), _ = await world.call_of("Cleo", "Dora")
    group, (eve, finn, gus), (at_eve, at_finn, _) = await world.call_of("Eve", "Finn", "Gus")
    hal, ida = await world.people("Hal", "Ida")
    unattended = await hal.initiate(await hal.converse(ida), ida, ring_timeout=180)
    await kill_and_start(server)

    at_ada = await come_back(ada, left_alone, at_ada)
    at_eve, at_finn = await come_back(eve, group, at_eve), await come_back(finn, group, at_finn)
    over = [ended(ada, left_alone), ended(cleo, abandoned), ended(ida, unattended)]
    alone, gone, never_there = await asyncio.gather(*over)
    assert (alone["status"], alone["end_reason"]) == (gone["status"], gone["end_reason"]) == ("ended", "completed")
    assert (never_there["status"], never_there["end_reason"]) == ("missed", "cancelled")
    assert await at_ada.closed() == 1000
    assert at_ada.heard("leave", sender_id=ben.user_id, reason="timeout")

    assert (await at_eve.expect("leave", reason="timeout"))["sender_id"] == gus.user_id
    await at_eve.say("reaction", emoji="two of three")
    await at_finn.expect("reaction", emoji="two of three")
    with pytest.raises(Refused) as late:
        await gus.signaling(group)
    assert late.value.code == "not_joined"
    assert (await eve.look(group))["status"] == "active"


async def test_what_rang_rings_on_or_has_been_missed(world: World, server: ServerProcess) -> None:
    ada, ben, cleo, dora = await world.people("Ada", "Ben", "Cleo", "Dora")
    long = await ada.initiate(await ada.converse(ben), ben, ring_timeout=180)
    short = await cleo.initiate(await cleo.converse(dora), dora, ring_timeout=SHORTEST_RING)
    at_ada, at_cleo = await ada.signaling(long), await cleo.signaling(short)
    await kill_and_start(server)

    at_ada, inbox = await come_back(ada, long, at_ada), await ben.events()
    assert (await inbox.expect("call.incoming"))["call"]["call_id"] == long["call_id"]
    assert (await ben.join(long))["status"] == "active"
    await at_ada.expect("call")
    missed = await ended(dora, short)
    assert (missed["status"], missed["end_reason"], person_in(missed, dora)["state"]) == ("missed", "timeout", "missed")
    with pytest.raises(Refused) as late:
        await cleo.resume(short, at_cleo)
    assert late.value.code == "call_ended"


class Writer:
    """Writes conversations, messages and calls as fast as they are answered, until nobody answers any more."""

    def __init__(self, ada: Person, ben: Person) -> None:
        self.ada = ada
        self._ben = ben
        self.conversations: list[str] = []
        self.messages: list[Json] = []
        self.calls: list[Json] = []
        self.last_words: tuple[str, Json, str] | None = None

    async def write(self, answers: "asyncio.Queue[None]") -> None:
        try:
            while True:
                conversation_id = await self.ada.converse(self._ben)
                self.conversations.append(conversation_id)
                answers.put_nowait(None)
                self.messages.append(await self._say(conversation_id, f"message {len(self.messages)}"))
                answers.put_nowait(None)
                self.calls.append(await self.ada.initiate(conversation_id, self._ben))
                answers.put_nowait(None)
                self.calls[-1] = await self.ada.end(self.calls[-1])
                answers.put_nowait(None)
        except httpx2.TransportError:
            return

    async def _say(self, conversation_id: str, content: str) -> Json:
        self.last_words = ("/v1/messages", {"conversation_id": conversation_id, "content": content}, uuid4().hex)
        said: Json = await self.repeat()
        return said

    async def repeat(self) -> Any:
        """Send the last message, again or for the first time: nobody knows which, and its key makes it one."""
        assert self.last_words is not None
        path, body, key = self.last_words
        return await self.ada.ask("POST", path, body, **{"idempotency-key": key})


async def test_nothing_that_was_answered_is_lost(world: World, server: ServerProcess) -> None:
    writers = [Writer(*await world.people(f"Ada {number}", f"Ben {number}")) for number in range(WRITERS)]
    answers: asyncio.Queue[None] = asyncio.Queue()
    writing = asyncio.gather(*(writer.write(answers) for writer in writers))
    for _ in range(ANSWERS):
        await answers.get()
    await server.kill()
    await writing
    await server.start()
    for writer in writers:
        said = await writer.repeat()
        last = await writer.ada.timeline(said["conversation_id"])
        texts = [message for message in last if message["kind"] == "text"]
        assert [message["message_id"] for message in texts] == [said["message_id"]], "repeated, and there once"
        mine = {one["conversation_id"] for one in await writer.ada.all("/v1/conversations?limit=100")}
        assert mine >= set(writer.conversations)
        for message in writer.messages:
            assert message in await writer.ada.timeline(message["conversation_id"])
        known = {call["call_id"]: call for call in await writer.ada.history()}
        assert known.keys() >= {call["call_id"] for call in writer.calls}
        for call in writer.calls[:-1]:
            assert known[call["call_id"]] == call
        assert known[writer.calls[-1]["call_id"]]["version"] >= writer.calls[-1]["version"]
