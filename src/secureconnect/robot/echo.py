"""Echo: a user who answers every call, lets callers hear themselves, and repeats what is written to it.

Started by `commands` for the demo; it stays until it is cancelled, through restarts of the server.
"""

import asyncio
from collections.abc import Callable, Coroutine

import structlog

from secureconnect.clock import Clock
from secureconnect.ids import CallId, UserId, short
from secureconnect.robot import sources
from secureconnect.robot.call import CallSession
from secureconnect.robot.client import Client
from secureconnect.robot.problems import ClientError
from secureconnect.robot.sockets import EventsSocket
from secureconnect.robot.wire import Call, CallEvent, EventsWelcome, Message, MessageCreated

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 1.5
"""Echo lets it ring this long, so that the one who calls sees it ring."""
REPLY = "You said: "
LONGEST_MESSAGE = 8000
"""What the server takes, characters (docs/api.md)."""


class Echo:
    """The robot, signed in as `client` and called `name`. `random` gives floats in [0, 1)."""

    def __init__(
        self,
        client: Client,
        name: str,
        *,
        clock: Clock,
        random: Callable[[], float],
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._client = client
        self._name = name
        self._clock = clock
        self._random = random
        self._answer_seconds = answer_seconds
        self._user_id: UserId | None = None
        self._calls: dict[CallId, asyncio.Task[None]] = {}
        self._chores: set[asyncio.Task[None]] = set()

    @property
    def calls(self) -> list[CallId]:
        """The calls Echo answers or is in."""
        return list(self._calls)

    async def run(self) -> None:
        """Answer until cancelled. Raises ProblemError when the server does not know this user any more."""
        events = EventsSocket(self._client, clock=self._clock, random=self._random)
        try:
            async for notice in events:
                match notice:
                    case EventsWelcome(user_id=user_id, resumed=resumed):
                        self._user_id = user_id
                        if not resumed:
                            self._do(self._return_to_calls())
                    case CallEvent(type="call.incoming", call=call):
                        self._take(call, self._answer_seconds)
                    case MessageCreated(message=message) if self._is_for_us(message):
                        self._do(self._reply(message))
        finally:
            for task in (*self._calls.values(), *self._chores):
                task.cancel()
            await asyncio.gather(*self._calls.values(), *self._chores, return_exceptions=True)
            await events.close()

    def _take(self, call: Call, after_seconds: float) -> None:
        if call.call_id in self._calls:
            return
        task = asyncio.create_task(self._guarded(self._take_part(call, after_seconds)))
        self._calls[call.call_id] = task
        task.add_done_callback(lambda _: self._calls.pop(call.call_id, None))

    async def _take_part(self, call: Call, after_seconds: float) -> None:
        await self._clock.sleep(after_seconds)
        await self._client.join(call.call_id)
        log.info("echo answers", call=short(call.call_id))
        source = sources.echo(self._name, self._clock, video=call.call_type == "video")
        await CallSession(self._client, call.call_id, source, clock=self._clock, random=self._random, leave_when_alone=True).run()
        log.info("echo hung up", call=short(call.call_id))

    async def _return_to_calls(self) -> None:
        """Go back into the calls that a crash of ours, or of the server, took us out of."""
        for conversation in await self._client.conversations():
            call = conversation.live_call
            if call is not None and any(
                person.user_id == self._user_id and person.state in {"joined", "reconnecting"} for person in call.participants
            ):
                self._take(call, 0.0)

    def _is_for_us(self, message: Message) -> bool:
        # Two robots in one conversation would talk for ever: what looks like an echo is not echoed.
        return message.kind == "text" and message.sender_id != self._user_id and not message.content.startswith(REPLY)

    async def _reply(self, message: Message) -> None:
        await self._client.write(message.conversation_id, f"{REPLY}{message.content}"[:LONGEST_MESSAGE])

    def _do(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        """A call that ended while it rang, or a server that is away just now, is no reason to stop answering others."""
        try:
            await work
        except ClientError as failure:
            log.info("echo could not", reason=str(failure))
