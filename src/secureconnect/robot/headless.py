"""A call between two robots, from the ring to the hang-up, with real media, judged: the proof that an installation works.

Called by `commands`. It is a client like any other and looks at nothing inside the server.
"""

import asyncio
import random

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from secureconnect.clock import Clock
from secureconnect.robot import sources
from secureconnect.robot.call import CallSession
from secureconnect.robot.demo import Demo, Guest
from secureconnect.robot.judge import DEADLINE_SECONDS, GOOD_SECONDS, Judge, Reading
from secureconnect.robot.problems import ClientError
from secureconnect.robot.report import Line, Reporter, table
from secureconnect.robot.sockets import EventsSocket
from secureconnect.robot.wire import Call, CallEvent

LOOK_SECONDS = 0.1
CALLER_HERTZ, CALLEE_HERTZ = 440.0, 660.0
"""A fifth apart: two beeps that an ear tells apart."""
SETTLE_SECONDS = 10.0
"""How long ringing, answering and hanging up may take in all."""


class Rehearsal:
    """Ada rings Linus, Linus answers, both listen and look. Made for one `run`."""

    def __init__(self, demo: Demo, clock: Clock) -> None:
        self._ada, self._linus = demo.ada, demo.linus
        self._conversation_id = demo.ada_and_linus
        self._clock = clock
        self._began = clock.monotonic()
        self._judge = Judge(sides=2)
        self._reporter = Reporter(clock)
        self._steps: dict[str, float] = {}
        self._lines: list[Line] = []

    async def run(self, console: Console) -> bool:
        """Whether both heard and saw each other for long enough. Shows what happens while it does."""
        good = False
        with Live(console=console, refresh_per_second=4, get_renderable=self._show):
            try:
                async with asyncio.timeout(DEADLINE_SECONDS + SETTLE_SECONDS):
                    good = await self._call()
            except* ClientError as failures:
                for failure in failures.exceptions:
                    self._step(f"[red]{failure}[/]")
            except* TimeoutError:
                self._step("[red]it took too long[/]")
        return good

    async def _call(self) -> bool:
        events = EventsSocket(self._linus.client, clock=self._clock, random=random.random)
        try:
            await anext(events)
            self._began = self._clock.monotonic()
            async with asyncio.TaskGroup() as sessions:
                call = await self._ada.client.initiate(self._conversation_id, [self._linus.user.user_id])
                self._step("Ada rings")
                try:
                    return await self._talk(call, events, sessions)
                finally:
                    call = await self._ada.client.end(call.call_id)
                    self._step(f"Ada hangs up: {call.status}, {call.end_reason}")
        finally:
            await events.close()

    async def _talk(self, call: Call, events: EventsSocket, sessions: asyncio.TaskGroup) -> bool:
        caller = self._session(self._ada, call, CALLER_HERTZ)
        sessions.create_task(caller.run())
        async for notice in events:
            if isinstance(notice, CallEvent) and notice.type == "call.incoming" and notice.call.call_id == call.call_id:
                break
        self._step("Linus's phone rings")
        await self._linus.client.join(call.call_id)
        self._step("Linus answers")
        callee = self._session(self._linus, call, CALLEE_HERTZ)
        sessions.create_task(callee.run())
        while True:
            verdict = await self._look(caller, callee)
            if verdict is not None:
                return verdict
            await self._clock.sleep(LOOK_SECONDS)

    async def _look(self, caller: CallSession, callee: CallSession) -> bool | None:
        seen = await self._reporter.lines("Ada", caller, lambda _: "Linus")
        self._lines = seen + await self._reporter.lines("Linus", callee, lambda _: "Ada")
        for line in self._lines:
            if line.state == "connected":
                self._step(f"{line.listener} is connected")
            if line.frames:
                self._step(f"{line.listener} sees {line.speaker}")
            if line.audible_seconds:
                self._step(f"{line.listener} hears {line.speaker}")
        return self._judge.observe([_reading(caller), _reading(callee)], self._clock.monotonic())

    def _session(self, guest: Guest, call: Call, hertz: float) -> CallSession:
        source = sources.pattern(guest.person.display_name, hertz, self._clock)
        return CallSession(guest.client, call.call_id, source, clock=self._clock, random=random.random)

    def _step(self, what: str) -> None:
        """Note when something happened first, in seconds from the call's beginning."""
        self._steps.setdefault(what, self._clock.monotonic() - self._began)

    def _show(self) -> Group:
        steps = tuple(self._steps.items())  # A copy in one go: Live draws in a thread of its own.
        told = "\n".join(f"[dim]{1000 * seconds:8.0f} ms[/]  {what}" for what, seconds in steps)
        since = self._judge.good_since
        good = 0.0 if since is None else min(GOOD_SECONDS, self._clock.monotonic() - since)
        progress = f"\nBoth hear and see each other: {good:.0f} of {GOOD_SECONDS:.0f} s\n"
        return Group(table("Two robots in a call", self._lines), Text.from_markup(told), Text(progress))


def _reading(session: CallSession) -> Reading:
    others = session.others
    return Reading(sum(one.video.frames for one in others), sum(one.audio.audible_seconds for one in others))
