"""One robot as a user in a conversation's call: a file or a test pattern in, statistics out.

Called by `commands`. It joins the call that is on, or rings everybody in the conversation.
"""

import asyncio
import contextlib
import random
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from secureconnect.clock import Clock
from secureconnect.ids import CallId, ConversationId, SessionId, UserId
from secureconnect.robot import sources
from secureconnect.robot.call import CallSession
from secureconnect.robot.client import Client
from secureconnect.robot.problems import ClientError, ProblemError
from secureconnect.robot.report import Line, Reporter, table
from secureconnect.robot.wire import Call, User

LOOK_SECONDS = 0.5
PATTERN_HERTZ = 550.0
CLOSE_SECONDS = 5.0
"""How long a session may take to end after it has left."""


class Visit:
    """A stay in the call of one conversation. Made for one `run`."""

    def __init__(self, client: Client, conversation_id: ConversationId, clock: Clock) -> None:
        self._client = client
        self._conversation_id = conversation_id
        self._clock = clock
        self._reporter = Reporter(clock)
        self._lines: dict[SessionId, Line] = {}
        self._title = "Calling"

    async def run(self, *, file: Path | None, seconds: float | None, console: Console) -> bool:
        """Stay until the call, the file, or the time is over. Whether anybody was heard or seen.

        Raises ProblemError, UnreachableError, and av.FFmpegError when the file cannot be played.
        """
        playing = None if file is None else sources.File(file)
        me = await self._client.me()
        call = await self._enter(me.user_id)
        session = CallSession(self._client, call.call_id, self._source(me, call, playing), clock=self._clock, random=random.random)
        taking_part = asyncio.create_task(session.run())
        try:
            await self._watch(session, taking_part, playing, seconds, console)
        finally:
            await _leave(session, taking_part)
            if playing is not None:
                await playing.close()
        if not taking_part.cancelled():
            taking_part.result()
        console.print(table("What was received", list(self._lines.values())))
        return any(line.frames or line.audible_seconds for line in self._lines.values())

    def _source(self, me: User, call: Call, playing: sources.File | None) -> sources.Source:
        video = call.call_type == "video"
        if playing is not None:
            return playing.source(video=video)
        return sources.pattern(me.display_name, PATTERN_HERTZ, self._clock, video=video)

    async def _enter(self, me: UserId) -> Call:
        conversation = await self._client.conversation(self._conversation_id)
        live = conversation.live_call
        if live is None:
            others = [member.user_id for member in conversation.participants if member.user_id != me]
            return await self._client.initiate(self._conversation_id, others)
        return await self._join(live.call_id)

    async def _join(self, call_id: CallId) -> Call:
        try:
            return await self._client.join(call_id)
        except ProblemError as refusal:
            if refusal.code != "answered_elsewhere":
                raise
            return await self._client.join(call_id, "add")

    async def _watch(
        self,
        session: CallSession,
        taking_part: asyncio.Task[None],
        playing: sources.File | None,
        seconds: float | None,
        console: Console,
    ) -> None:
        ends_at = None if seconds is None else self._clock.monotonic() + seconds
        with Live(console=console, refresh_per_second=2, get_renderable=self._show, transient=True):
            while not taking_part.done():
                await self._look(session)
                if playing is not None and any(line.state == "connected" for line in self._lines.values()):
                    await playing.start()
                if playing is not None and playing.ended.is_set():
                    return
                if ends_at is not None and self._clock.monotonic() >= ends_at:
                    return
                await self._clock.sleep(LOOK_SECONDS)

    async def _look(self, session: CallSession) -> None:
        if session.snapshot is None:
            return
        call = session.snapshot.call
        names = {session.session_id: person.display_name for person in call.participants for session in person.sessions}

        def name(other: SessionId) -> str:
            return names.get(other, "somebody")

        self._title = f"The call is {call.status}"
        for line in await self._reporter.lines("you", session, name):
            self._lines[line.remote] = line

    def _show(self) -> Table:
        return table(self._title, list(self._lines.values()))


async def _leave(session: CallSession, taking_part: asyncio.Task[None]) -> None:
    """Say goodbye if the call still goes on, and let the session close what it opened before the event loop may end."""
    if not taking_part.done():
        with contextlib.suppress(ClientError):
            await session.leave()
        _, pending = await asyncio.wait([taking_part], timeout=CLOSE_SECONDS)
        if pending:
            taking_part.cancel()
            await asyncio.wait([taking_part])
