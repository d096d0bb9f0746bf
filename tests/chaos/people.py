"""Those who talk while the ground shakes: `Talker`s in calls that last, `Caller`s who begin and end calls all the time.

They are clients like any other, by `secureconnect.robot`: it comes back, resumes and says again by the rules of docs/protocol.md,
and what the rules do not mend is what the chaos looks for.
"""

import asyncio
import time
from collections.abc import Callable

from secureconnect.clock import SystemClock
from secureconnect.ids import CallId, ConversationId, UserId
from secureconnect.robot.client import Client
from secureconnect.robot.problems import ClientError, ProblemError
from secureconnect.robot.sockets import EventsSocket, SignalingSocket
from secureconnect.robot.wire import (
    Ack,
    Call,
    CallEvent,
    Description,
    EventsWelcome,
    Leave,
    MessageCreated,
    Refused,
    Relayed,
    Welcome,
)
from tests.chaos.ledger import Ledger
from tests.chaos.results import Round

CLOCK = SystemClock()
PADDING = "x" * 250
"""So that a frame is as long as a candidate."""
WRITE_EVERY = 30
"""Numbers between two messages that a speaker writes in the conversation."""
TRUST_SECONDS = 60.0
"""How long a caller waits for each step of a call before it gives the call up."""


class OverError(ClientError):
    """The call ended of itself."""


class Inbox:
    """A person's events socket, and the messages and rings that came by it."""

    def __init__(self, client: Client, random: Callable[[], float]) -> None:
        self._client = client
        self._socket = EventsSocket(client, clock=CLOCK, random=random)
        self._greeted = False
        self.conversation_id: ConversationId | None = None
        self.round = Round("")
        self.messages: set[str] = set()
        self.rings: asyncio.Queue[Call] = asyncio.Queue()
        self.ready = asyncio.Event()

    async def listen(self) -> None:
        async for notice in self._socket:
            match notice:
                case EventsWelcome(resumed=resumed):
                    self.round.broken += self._greeted
                    self.round.resumed += self._greeted and resumed
                    if self._greeted and not resumed:
                        await self._load()
                    self._greeted = True
                    self.ready.set()
                case MessageCreated(message=message):
                    self.messages.add(message.content)
                case CallEvent(type="call.incoming", call=call):
                    self.rings.put_nowait(call)

    async def close(self) -> None:
        await self._socket.close()

    async def _load(self) -> None:
        """A fresh start, as after Redis was emptied: what may have been missed is asked for (docs/protocol.md)."""
        assert self.conversation_id is not None
        while True:
            try:
                self.messages |= {one.content for one in await self._client.messages(self.conversation_id)}
                live = (await self._client.conversation(self.conversation_id)).live_call
            except ClientError:
                await asyncio.sleep(0.5)
            else:
                if live is not None and live.status == "ringing":
                    self.rings.put_nowait(live)
                return


class Talker:
    """One side of a call that lasts: says a number every `pause` seconds, and hears those of the other side."""

    def __init__(self, client: Client, user_id: UserId, name: str, random: Callable[[], float], pause: float) -> None:
        self.client = client
        self.user_id = user_id
        self.name = name
        self.says = Ledger()
        self.other = self
        self.round = Round("")
        self.inbox = Inbox(client, random)
        self.last_heard = time.monotonic()
        self.longest_silence = 0.0
        self.written: set[str] = set()
        self._random = random
        self._pause = pause
        self._numbers: dict[str, int] = {}
        self._last_seq = 0
        self._socket: SignalingSocket | None = None
        self.call_id: CallId | None = None

    @property
    def hears(self) -> Ledger:
        return self.other.says

    def enter(self, call: Call) -> None:
        """The call to talk in."""
        self.call_id, self.inbox.conversation_id = call.call_id, call.conversation_id
        self._socket = SignalingSocket(self.client, call.call_id, clock=CLOCK, random=self._random)

    def begin_round(self, round_: Round) -> None:
        self.round = self.inbox.round = round_
        self.longest_silence = 0.0

    async def talk(self) -> None:
        """Until cancelled. A refusal that waiting does not cure is a fault: nobody has left."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._speak())
                group.create_task(self._listen())
                group.create_task(self.inbox.listen())
        except* ProblemError as refusals:
            self.round.faults += [f"{self.name} is refused: {one}" for one in refusals.exceptions]

    async def _speak(self) -> None:
        assert self._socket is not None
        await asyncio.sleep(self._random() * self._pause)
        while True:
            number = self.says.say()
            ref = await self._socket.send("offer", sdp=f"{number} {PADDING}", target_id=self.other.user_id)
            self._numbers[ref] = number
            if number % WRITE_EVERY == 0:
                await self._write(f"{self.name} {number}")
            await asyncio.sleep(self._pause)

    async def _write(self, content: str) -> None:
        """Write in the conversation. Only what was answered counts."""
        assert self.inbox.conversation_id is not None
        try:
            await self.client.write(self.inbox.conversation_id, content)
        except ClientError:
            return
        self.written.add(content)

    async def _listen(self) -> None:
        assert self._socket is not None
        greeted = False
        async for signal in self._socket:
            match signal:
                case Welcome(resumed=resumed):
                    if greeted:
                        self.round.broken += 1
                        self.round.resumed += resumed
                        (self.says.say_again if resumed else self.says.begin_anew)()
                    greeted = True
                case Ack(ref=ref):
                    self.says.acknowledge(self._number(ref))
                case Refused(ref=str(ref)):
                    self.says.refuse(self._number(ref))
                case Description(sdp=sdp, seq=seq):
                    self._check(seq)
                    self._hear(int(sdp.partition(" ")[0]))
                case Leave(seq=seq):
                    self._check(seq)
                    self.round.leaves += 1
                case Relayed(seq=seq):
                    self._check(seq)
        self.round.faults.append(f"{self.name} was shown out of the call")

    def _number(self, ref: str) -> int:
        # An answer may be here before `send` has returned: what is not noted yet is the last.
        return self._numbers.get(ref, self.says.count)

    def _hear(self, number: int) -> None:
        now = time.monotonic()
        self.longest_silence = max(self.longest_silence, now - self.last_heard)
        self.last_heard = now
        self.hears.hear(number)

    def _check(self, seq: int) -> None:
        if seq <= self._last_seq:
            self.round.faults.append(f"{self.name}: seq {seq} after {self._last_seq}")
        self._last_seq = seq

    def sees(self) -> Call | None:
        """The call as this side's socket has told it."""
        snapshot = self._socket.snapshot if self._socket is not None else None
        return snapshot.call if snapshot is not None else None

    def silence(self) -> float:
        """The longest time in this round without a word from the other, until now."""
        return max(self.longest_silence, time.monotonic() - self.last_heard)


class Caller:
    """Rings somebody, is answered, exchanges a word, hangs up; and again."""

    def __init__(
        self, mine: Client, theirs: Client, callee: UserId, conversation_id: ConversationId, random: Callable[[], float]
    ) -> None:
        self._mine, self._theirs, self._callee = mine, theirs, callee
        self.conversation_id = conversation_id
        self._random = random
        self.inbox = Inbox(theirs, random)
        self.inbox.conversation_id = conversation_id
        self.round = Round("")
        self.may_call = asyncio.Event()
        self.may_call.set()
        self.resting = asyncio.Event()

    def begin_round(self, round_: Round) -> None:
        self.round = self.inbox.round = round_

    async def call_again_and_again(self) -> None:
        """Until cancelled; between two calls it rests when it is told to."""
        listening = asyncio.create_task(self.inbox.listen())
        try:
            while True:
                self.resting.set()
                await self.may_call.wait()
                self.resting.clear()
                await self._call_once()
                await asyncio.sleep(0.5 + 2 * self._random())
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _call_once(self) -> None:
        try:
            call = await self._mine.initiate(self.conversation_id, [self._callee], ring_timeout=60)
        except ClientError:
            self.round.calls_refused += 1
            await self._end_all()
            return
        self.round.events += 1
        try:
            async with asyncio.timeout(1.5 * TRUST_SECONDS), asyncio.TaskGroup() as group:
                group.create_task(self._be_there(self._mine, call))
                group.create_task(self._answer(call))
            await self._mine.end(call.call_id)
            self.round.calls += 1
        except (ClientError, TimeoutError, ExceptionGroup):
            self.round.calls_refused += 1
        await self._end_all()

    async def _answer(self, call: Call) -> None:
        """The callee's side: hears it ring, answers, and is there."""
        try:
            async with asyncio.timeout(TRUST_SECONDS):
                while (await self.inbox.rings.get()).call_id != call.call_id:
                    pass
        except TimeoutError:
            self.round.events_lost += 1
            self.round.faults.append(f"call {call.call_id} did not ring")
            raise
        await self._theirs.join(call.call_id)
        await self._be_there(self._theirs, call)

    async def _be_there(self, client: Client, call: Call) -> None:
        """In the call until a word went there and one came back: who begins anew offers, who is offered answers."""
        socket = SignalingSocket(client, call.call_id, clock=CLOCK, random=self._random)
        answers: set[str] = set()
        try:
            async for signal in socket:
                match signal:
                    case Welcome(resumed=False):
                        await socket.send("offer", sdp="?")
                    case Description(type="offer", session_id=session_id):
                        answers.add(await socket.send("answer", sdp="yes", target_id=session_id))
                    case Description(type="answer"):
                        return
                    case Ack(ref=ref) if ref in answers:
                        return
        finally:
            await socket.close()
        raise OverError("the call ended before a word was said")

    async def _end_all(self) -> None:
        """Hang up whatever is still there, however long that takes: what is left over afterwards is stuck."""
        while True:
            try:
                live = (await self._mine.conversation(self.conversation_id)).live_call
                if live is None:
                    return
                await self._mine.end(live.call_id)
            except ClientError:
                await asyncio.sleep(0.5)

    async def left_over(self) -> bool:
        """Whether there is a call although everybody hung up."""
        return (await self._mine.conversation(self.conversation_id)).live_call is not None
