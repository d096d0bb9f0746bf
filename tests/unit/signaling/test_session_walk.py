"""Hypothesis walks a call's sockets: four devices of three people talk while their connections drop, linger, repeat and come back.

What must hold: whoever stays in a session hears everything addressed to it exactly once, in order, however often its connection
was lost; and whatever a client kept up by events is what a newcomer is given as a snapshot. Once with a log that reaches back
far enough, once with one so short that coming back often means a fresh welcome.
"""

from uuid import UUID

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from secureconnect.bus import memory
from secureconnect.errors import AnsweredElsewhere, CallEnded, NotJoined
from secureconnect.ids import DeviceId
from secureconnect.robot.wire import Welcome, decode_signal
from secureconnect.signaling.protocol import with_seq
from tests.unit.signaling.world import ANN, BOB, CYN, Client, Link, World, comparable

KEPT = {"mute_audio": "muted", "mute_video": "muted", "screen_share": "active", "raise_hand": "raised"}
SHORT_LOG = 6

which = st.integers(0, 3)


class SessionWalk(RuleBasedStateMachine):
    log_entries = 10_000

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(memory, "LOG_ENTRIES", self.log_entries)
        self.world = World(ANN, BOB, CYN)
        devices = [DeviceId(UUID(int=0xD0 + number)) for number in range(4)]
        self.clients = [Client(self.world, user, device) for user, device in zip((ANN, BOB, CYN, CYN), devices, strict=True)]
        self.lingering: list[Link] = []
        self.said = 0

    @initialize()
    def everybody_joins(self) -> None:
        ann, *others, second = self.clients
        # The caller's first device was not named at the start: it may open a session all the same.
        for client in others:
            self.world.calls.join(client.user_id, client.device_id)
        self.world.calls.join(second.user_id, second.device_id, "add")
        for client in (ann, *others, second):
            client.connect()

    # Coming and going

    @rule(number=which, chatter=st.lists(which, max_size=3))
    def knock(self, number: int, chatter: list[int]) -> None:
        """A device asks for a socket; others go on talking while the server looks the log up."""
        client = self.clients[number]
        if client.link is not None or client.opening is not None:
            return
        was_in = client.session_id in self.sessions_of(client)
        self.world.bus.before_read = [lambda speaker=speaker: self.talk(speaker) for speaker in chatter]  # type: ignore[misc]
        try:
            client.knock()
        except (NotJoined, CallEnded, AnsweredElsewhere):
            assert not was_in
            client.forget()
        finally:
            self.world.bus.before_read = []

    @rule(number=which)
    def enter(self, number: int) -> None:
        client = self.clients[number]
        if client.opening is None:
            return
        came_back = client.session_id in self.sessions_of(client)
        link = client.enter()
        assert not (came_back and link.closed_with), "who is still in the call is let in again"
        if link.closed_with is None:
            welcome = decode_signal(link.unread[0])
            assert isinstance(welcome, Welcome)
            assert not (came_back and not welcome.resumed and self.log_entries > SHORT_LOG)

    @rule(number=which)
    def give_up_opening(self, number: int) -> None:
        client = self.clients[number]
        if client.opening is not None:
            opening, client.opening = client.opening, None
            self.world.run(opening.closed())

    @rule(number=which)
    def lose_connection(self, number: int) -> None:
        client = self.clients[number]
        if client.link is not None:
            self.lingering.append(client.lose())

    @rule(number=which, noticed=st.booleans(), chatter=st.lists(which, max_size=3), kind=st.sampled_from(sorted(KEPT)))
    def blink(self, number: int, noticed: bool, chatter: list[int], kind: str) -> None:
        """What mostly happens: a connection is lost, others talk, and the device is back and has something to say of itself."""
        self.lose_connection(number)
        if noticed and self.lingering:
            self.notice_a_lost_connection(len(self.lingering) - 1)
        for speaker in chatter:
            self.talk(speaker)
        self.knock(number, chatter)
        for speaker in chatter:
            self.talk(speaker)
        self.enter(number)
        if self.clients[number].link is not None:
            self.clients[number].read()
        self.tell_of_oneself(number, kind, value=True)

    @precondition(lambda self: self.lingering)
    @rule(number=st.integers(0, 20))
    def notice_a_lost_connection(self, number: int) -> None:
        link = self.lingering.pop(number % len(self.lingering))
        self.world.run(link.attachment.closed())

    @rule(number=which)
    def read_some(self, number: int) -> None:
        client = self.clients[number]
        if client.link is not None:
            client.read(2)

    @rule(seconds=st.sampled_from((5, 20)))
    def wait(self, seconds: int) -> None:
        self.world.clock.advance(seconds)

        async def tick() -> None:
            # On the loop: a session that leaves has work of its own to do.
            self.world.calls.tick()

        self.world.run(tick())

    @rule(number=which, really=st.integers(0, 4))
    def leave(self, number: int, really: int) -> None:
        client = self.clients[number]
        if really or not client.talking:  # a walk is not to be over all the time
            return
        client.say(type="leave")
        self.world.run_spawned()
        assert client.link is not None
        assert client.link.closed_with == 1000
        self.finish(client)

    @rule(number=which)
    def come_back_after_leaving(self, number: int) -> None:
        client = self.clients[number]
        if not self.world.calls.call.over and client.session_id is None and client.opening is None:
            self.world.calls.join(client.user_id, client.device_id, "add")

    # Talking

    @rule(speaker=which)
    def talk(self, speaker: int) -> None:
        """To everybody."""
        self.utter(self.clients[speaker], "")

    @rule(speaker=which, listener=which, to_person=st.booleans())
    def talk_to(self, speaker: int, listener: int, to_person: bool) -> None:
        """To one session, or to all of a person's."""
        other = self.clients[listener]
        target = other.user_id if to_person else other.session_id
        self.utter(self.clients[speaker], str(target or ""))

    def utter(self, client: Client, target: str) -> None:
        if not client.talking:
            return
        self.said += 1
        before = len(self.world.bus.published)
        client.say(type="offer", sdp=f"v={self.said}", **({"target_id": target} if target else {}))
        new = self.world.bus.published[before:]
        known = not target or any(target in (str(one.user_id), *map(str, self.sessions_of(one))) for one in self.inside())
        assert [(one.sender, one.target) for one in new] == ([(str(client.session_id), target)] if known else [])
        for one in new:
            assert msgspec.json.decode(one.body)["sdp"] == f"v={self.said}"

    @rule(number=which, kind=st.sampled_from(sorted(KEPT)), value=st.booleans())
    def tell_of_oneself(self, number: int, kind: str, value: bool) -> None:
        client = self.clients[number]
        if client.talking:
            client.say(type=kind, **{KEPT[kind]: value})
            last = self.world.bus.published[-1]
            client.remember(with_seq(last.seq, last.body))

    # What must hold

    @rule(number=which)
    def catch_up(self, number: int) -> None:
        """Who has read everything has heard everything, and knows what a newcomer would be told."""
        client = self.clients[number]
        if client.link is None:
            return
        client.read()
        if client.link.closed_with is not None:
            self.finish(client)
            return
        # A session can be addressed before its log is read: nothing said since its client asked for it may be missing.
        since = client.began_at if self.log_entries == SHORT_LOG else client.knocked_at
        assert client.heard == [
            one.seq
            for one in self.world.bus.published
            if one.seq > since and one.concerns(str(client.session_id), str(client.user_id))
        ]
        assert comparable(client.snapshot) == self.world.fresh_snapshot()

    def teardown(self) -> None:
        """At last everybody who still can comes back, and nobody has missed anything."""
        try:
            for number, client in enumerate(self.clients):
                if client.link is None and client.opening is None:
                    self.knock(number, [])
                if client.opening is not None:
                    self.enter(number)
            for number in range(len(self.clients)):
                self.catch_up(number)
        finally:
            self.world.close()
            self.patch.undo()

    # Where things stand

    def finish(self, client: Client) -> None:
        """The server has said goodbye: what was left is read, the session is no more."""
        client.read()
        link = client.lose()
        assert link.closed_with == 1000
        self.world.run(link.attachment.closed())
        if client.session_id not in self.sessions_of(client):
            client.forget()

    def inside(self) -> list[Client]:
        return [client for client in self.clients if self.sessions_of(client)]

    def sessions_of(self, client: Client) -> list[object]:
        me = self.world.calls.call.participant(client.user_id)
        return [session.session_id for session in me.sessions] if me else []


class SessionWalkWithShortLog(SessionWalk):
    log_entries = SHORT_LOG


TestSessionWalk = SessionWalk.TestCase
TestSessionWalkWithShortLog = SessionWalkWithShortLog.TestCase
TestSessionWalk.settings = settings(max_examples=100, stateful_step_count=60, deadline=None, derandomize=True)
TestSessionWalkWithShortLog.settings = TestSessionWalk.settings
