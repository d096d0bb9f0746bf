"""Hypothesis walks the machine: any commands, by anybody, from any device and node, in any order, while time goes on.

What must hold wherever it gets: a call is either over or has somebody in it and a time at which it goes on by itself; every change
is told, once; nothing that is refused leaves a trace; and whoever abandons a call, it ends.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from secureconnect.calls import machine
from secureconnect.calls.call import LIFE, Call, EndReason, Participant, Session, State, Status, Topology, due_at
from secureconnect.calls.commands import (
    AnsweredByDevice,
    Cancelled,
    CloseSession,
    Command,
    Decline,
    DeclinedByDevice,
    End,
    Event,
    Initiate,
    Invite,
    Join,
    Leave,
    MediaLost,
    Missed,
    NodeLost,
    OpenSession,
    Outcome,
    Rang,
    RecordingStarted,
    RecordingStopped,
    SessionJoined,
    SessionLeft,
    StartRecording,
    StopRecording,
    Tick,
)
from secureconnect.errors import Conflict, Forbidden
from secureconnect.ids import DeviceId, NodeId, RecordingId, SessionId, UserId
from tests.unit.calls.story import ANN, BOB, CYN, DAN, EAST, EVE, GRACE, LAPTOP, PHONE, RING, START, WEST, initiation, person

Rule = Callable[[Any], Any]
EVERYBODY = (ANN, BOB, CYN, DAN, EVE)
user_ids = st.sampled_from(EVERYBODY)
device_ids = st.sampled_from((None, PHONE, LAPTOP))
node_ids = st.sampled_from((EAST, WEST))

VERDICTS: dict[Status, set[EndReason | None]] = {
    Status.RINGING: {None},
    Status.ACTIVE: {None},
    Status.ENDED: {EndReason.COMPLETED},
    Status.DECLINED: {EndReason.DECLINED},
    Status.MISSED: {EndReason.CANCELLED, EndReason.TIMEOUT, EndReason.BUSY},
}
NEXT = {
    Status.RINGING: set(Status),
    Status.ACTIVE: {Status.ACTIVE, Status.ENDED},
    Status.ENDED: {Status.ENDED},
    Status.MISSED: {Status.MISSED},
    Status.DECLINED: {Status.DECLINED},
}
OUTCOMES_OF_A_RING: dict[State, list[type[Event]]] = {
    State.RINGING: [],
    State.JOINED: [AnsweredByDevice],
    State.DECLINED: [DeclinedByDevice],
    State.MISSED: [Missed],
    State.CANCELLED: [Cancelled, Missed],
}
ABOUT_RINGS = (Rang, AnsweredByDevice, DeclinedByDevice, Missed, Cancelled)
EVERY_COMMAND_BUT_OPEN = (
    *(Join, Decline, Leave, End, Invite, StartRecording, StopRecording),
    *(CloseSession, NodeLost, MediaLost, Tick),
)


@st.composite
def initiations(draw: st.DrawFn) -> Initiate:
    callees = draw(st.lists(user_ids.filter(lambda one: one != ANN), min_size=1, max_size=3, unique=True))
    busy = draw(st.sets(user_ids, max_size=2))
    people = [person(one, busy=one in busy) for one in callees]
    return initiation(ANN, *people, device=draw(device_ids), reject_busy=draw(st.booleans()))


calls = initiations()


def while_it_lives(rule: Rule) -> Rule:
    return precondition(lambda self: not self.call.over)(rule)


def while_there_are_sockets(rule: Rule) -> Rule:
    return precondition(lambda self: self.sockets and not self.call.over)(rule)


class CallWalk(RuleBasedStateMachine):
    call: Call

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.sockets: list[tuple[UserId, Session]] = []  # all there ever were, so that late and repeated closes are tried
        self.generations: Counter[SessionId] = Counter()
        self.place: str | None = "sfu-1"  # the SFU at hand: it comes and goes

    @property
    def inside(self) -> list[UserId]:
        return [one.user_id for one in self.call.participants if one.is_in]

    @initialize(call=calls)
    def begin(self, call: Initiate) -> None:
        outcome = machine.initiate(call, self.now)
        rung = [one.user_id for one in outcome.call.participants if one.state is State.RINGING]
        assert [event.user_id for event in outcome.events if isinstance(event, Rang)] == rung
        self.call = outcome.call
        self.sockets.clear()

    @precondition(lambda self: self.call.over)
    @rule(call=calls)
    def call_again(self, call: Initiate) -> None:
        self.begin(call)

    @while_it_lives
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """What mostly happens: somebody who rings answers, and a socket opens."""
        ringing = [one.user_id for one in self.call.participants if one.state is State.RINGING]
        user = data.draw(st.sampled_from(ringing or self.inside))
        self.command(Join(person(user), GRACE, PHONE))
        self.open(user, PHONE, EAST, None)

    @while_it_lives
    @rule(user=user_ids, device=device_ids, mode=st.sampled_from((None, "add", "move")))
    def join(self, user: UserId, device: DeviceId | None, mode: str | None) -> None:
        self.command(Join(person(user), GRACE, device, mode))

    @while_it_lives
    @rule(user=user_ids, device=device_ids)
    def decline(self, user: UserId, device: DeviceId | None) -> None:
        self.command(Decline(user, device))

    @while_it_lives
    @rule(user=user_ids, really=st.integers(0, 3))
    def leave(self, user: UserId, really: int) -> None:
        if really == 0 or len(self.inside) > 2:  # a walk is not to be over all the time
            self.command(Leave(user))

    @while_there_are_sockets
    @rule(data=st.data())
    def leave_with_one_device(self, data: st.DataObject) -> None:
        user, socket = data.draw(st.sampled_from(self.sockets))
        self.command(Leave(user, socket.session_id))

    @while_it_lives
    @rule(device=device_ids, data=st.data())
    def add_a_device(self, device: DeviceId | None, data: st.DataObject) -> None:
        self.command(Join(person(data.draw(st.sampled_from(self.inside))), GRACE, device, "add"))

    @while_it_lives
    @rule(user=user_ids, really=st.integers(0, 3))
    def end(self, user: UserId, really: int) -> None:
        if really == 0:  # a walk is not to be over all the time
            self.command(End(user))

    @while_it_lives
    @rule(inviter=user_ids, invited=st.lists(user_ids, min_size=1, max_size=3, unique=True))
    def invite(self, inviter: UserId, invited: list[UserId]) -> None:
        self.command(Invite(inviter, tuple(person(one) for one in invited), RING))

    @while_it_lives
    @rule(user=user_ids, number=st.integers(1, 1_000_000))
    def start_recording(self, user: UserId, number: int) -> None:
        self.command(StartRecording(user, RecordingId(UUID(int=number))))

    @while_it_lives
    @rule(user=user_ids)
    def stop_recording(self, user: UserId) -> None:
        self.command(StopRecording(user))

    @while_it_lives
    @rule(user=user_ids, device=device_ids, node=node_ids)
    def open_by_anybody(self, user: UserId, device: DeviceId | None, node: NodeId) -> None:
        self.open(user, device, node, None)

    @while_it_lives
    @rule(node=node_ids, data=st.data())
    def open_by_a_device_that_joined(self, node: NodeId, data: st.DataObject) -> None:
        user = data.draw(st.sampled_from(self.inside))
        me = self.call.participant(user)
        assert me is not None
        self.open(user, data.draw(st.sampled_from(me.devices)), node, None)

    @while_there_are_sockets
    @rule(node=node_ids, data=st.data())
    def come_back(self, node: NodeId, data: st.DataObject) -> None:
        user, socket = data.draw(st.sampled_from(self.sockets))
        self.open(user, socket.device_id, node, socket.session_id)

    def open(self, user: UserId, device: DeviceId | None, node: NodeId, resume: SessionId | None) -> None:
        fresh = SessionId(UUID(int=0x5E00 + sum(self.generations.values())))
        if not self.command(OpenSession(user, fresh, node, device, resume)):
            return
        me = self.call.participant(user)
        assert me is not None
        socket = next(one for one in me.sessions if one.session_id in (fresh, resume) and one.node_id == node)
        assert socket.generation > self.generations[socket.session_id], "each socket of a session needs a number of its own"
        self.generations[socket.session_id] = socket.generation
        self.sockets.append((user, socket))

    @while_there_are_sockets
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        user, socket = data.draw(st.sampled_from(self.sockets))
        before = self.call
        self.command(CloseSession(user, socket.session_id, socket.generation, GRACE))
        if socket.generation < self.generations[socket.session_id]:
            assert self.call == before, "a late close of an earlier socket means nothing"

    @while_it_lives
    @rule(node=node_ids)
    def lose_node(self, node: NodeId) -> None:
        self.command(NodeLost(node, GRACE))

    @rule(place=st.sampled_from((None, "sfu-1", "sfu-2")))
    def sfus_come_and_go(self, place: str | None) -> None:
        self.place = place

    @while_it_lives
    @rule(is_late=st.booleans())
    def lose_the_sfu(self, is_late: bool) -> None:
        if self.call.sfu is not None:
            self.command(MediaLost(self.call.sfu, self.call.epoch - is_late))

    @while_it_lives
    @rule(seconds=st.sampled_from((1, 10, 25)))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @while_it_lives
    @rule()
    def tick(self) -> None:
        self.command(Tick())

    @while_it_lives
    @rule()
    def tick_when_due(self) -> None:
        self.now = max(self.now, due_at(self.call) or self.now)
        self.command(Tick())

    def command(self, command: Command) -> bool:
        """Decide, and hold the outcome to what every outcome must be. Returns whether it was allowed."""
        before = self.call
        try:
            outcome = machine.decide(before, command, self.now, self.place)
        except (Conflict, Forbidden):
            return False
        self.check_outcome(outcome)
        self.call = outcome.call
        if isinstance(command, EVERY_COMMAND_BUT_OPEN):  # opening twice is two sockets
            self.check_again(command)
        if self.call.over:
            self.check_that_nothing_revives_it()
        return True

    def check_outcome(self, outcome: Outcome) -> None:
        before, after = self.call, outcome.call
        assert outcome.changed == (after != before)
        assert outcome.changed or not outcome.events
        assert after.status in NEXT[before.status]
        assert not (before.over and outcome.changed)
        assert [one.user_id for one in after.participants][: len(before.participants)] == [
            one.user_id for one in before.participants
        ]
        for one in after.participants:
            self.check_ring(before.participant(one.user_id), one, outcome.events)
        check_sessions(before, after, outcome.events)
        check_recording(before, after, outcome.events)
        waits = after.topology is Topology.SFU and after.sfu is None
        has_moved = (before.topology, before.sfu) != (after.topology, after.sfu)
        assert after.epoch in (before.epoch, before.epoch + 1)
        if after.epoch == before.epoch:
            assert not has_moved or waits, "a way that changed has a number of its own"

    def check_ring(self, before: Participant | None, after: Participant, events: tuple[Event, ...]) -> None:
        """A ring has exactly one outcome, and each is told exactly once."""
        told = [type(event) for event in events if isinstance(event, ABOUT_RINGS) and event.user_id == after.user_id]
        if before is not None and before.state is State.RINGING:
            assert told == OUTCOMES_OF_A_RING[after.state]
        else:
            assert told == ([Rang] if after.state is State.RINGING else [])

    def check_again(self, command: Command) -> None:
        """The same command twice changes nothing more, or is refused."""
        with suppress(Conflict, Forbidden):
            assert not machine.decide(self.call, command, self.now, self.place).changed

    def check_that_nothing_revives_it(self) -> None:
        anybody, phone = person(BOB), SessionId(PHONE)
        commands: list[Command] = [
            *(Join(anybody, GRACE, PHONE), Decline(BOB), Leave(ANN), End(ANN), Invite(ANN, (anybody,), RING), Tick()),
            *(OpenSession(ANN, phone, EAST), NodeLost(EAST, GRACE)),
            *(CloseSession(user, socket.session_id, socket.generation, GRACE) for user, socket in self.sockets),
        ]
        for command in commands:
            self.check_again(command)

    @invariant()
    def status_and_reason_fit(self) -> None:
        assert self.call.end_reason in VERDICTS[self.call.status]
        assert self.call.over == (self.call.ended_at is not None)
        if self.call.status is Status.ACTIVE:
            assert self.call.answered_at is not None

    @invariant()
    def over_is_over(self) -> None:
        if self.call.over:
            assert due_at(self.call) is None
            assert not any(one.is_in or one.state is State.RINGING or one.sessions for one in self.call.participants)

    @invariant()
    def alive_has_a_reason_to_live(self) -> None:
        inside = [one for one in self.call.participants if one.is_in]
        assert len(inside) <= self.call.capacity
        self.check_the_way(sum(max(1, len(one.sessions)) for one in inside))
        if not self.call.over:
            assert due_at(self.call) is not None
            assert inside
            assert len(inside) >= 2 or any(one.state is State.RINGING for one in self.call.participants)

    def check_the_way(self, sessions: int) -> None:
        call = self.call
        is_large = sessions > 2 or call.recording is not None
        assert call.recording is None or (call.topology is Topology.SFU and call.answered_at is not None)
        if call.over:
            assert call.topology_due is None
        elif call.topology is Topology.P2P:
            assert (call.sfu, call.topology_due) == (None, None)
            assert sessions <= 2
        elif call.topology is Topology.MESH:
            assert (call.sfu, call.topology_due) == (None, None)
            assert sessions > 2
        else:
            # At an SFU with more than two, or to be recorded; or about to leave it, or waiting for another.
            assert (call.topology_due is not None) == (not is_large or call.sfu is None)

    @invariant()
    def participants_are_consistent(self) -> None:
        for one in self.call.participants:
            assert bool(one.devices) == one.is_in
            assert one.is_in or not one.sessions
            assert not one.waiting or one.state is State.RINGING
            if one.is_in:
                assert one.connected == (one.grace_deadline is None)
                assert one.connected <= (one.state is State.JOINED)
            for session in one.sessions:
                assert session.connected == (session.expires_at is None)

    @invariant()
    def sessions_are_unique(self) -> None:
        sessions = [session for one in self.call.participants for session in one.sessions]
        assert len({session.session_id for session in sessions}) == len(sessions)
        for session in sessions:
            assert session.generation == self.generations[session.session_id]

    @invariant()
    def a_tick_before_its_time_does_nothing(self) -> None:
        due = due_at(self.call)
        if due is not None and due > self.now:
            after = machine.decide(self.call, Tick(), self.now, self.place).call
            # Only an SFU that came changes something by itself.
            assert after == self.call or (after.sfu == self.place is not None and after.epoch == self.call.epoch + 1)

    @invariant()
    def an_abandoned_call_ends_by_ticking_alone(self) -> None:
        call, now = self.call, self.now
        for node in (EAST, WEST):
            call = machine.decide(call, NodeLost(node, GRACE), now).call
        while (due := due_at(call)) is not None:
            now = max(now, due)
            outcome = machine.decide(call, Tick(), now)
            assert outcome.changed, "a tick at due_at must get on"
            call = outcome.call
        assert now <= self.now + max(RING, GRACE) or now == call.created_at + LIFE


def check_recording(before: Call, after: Call, events: tuple[Event, ...]) -> None:
    """A recording has one start and one end, and never becomes another."""
    told = [event for event in events if isinstance(event, RecordingStarted | RecordingStopped)]
    if before.recording is None:
        assert [type(event) for event in told] == ([RecordingStarted] if after.recording else [])
    else:
        assert after.recording in (before.recording, None)
        assert [type(event) for event in told] == ([] if after.recording else [RecordingStopped])
    assert all(event.recording == (after.recording or before.recording) for event in told)


def check_sessions(before: Call, after: Call, events: tuple[Event, ...]) -> None:
    """Every session that comes or goes is told exactly once."""
    were = {session.session_id for one in before.participants for session in one.sessions}
    are = {session.session_id for one in after.participants for session in one.sessions}
    joined = [event.session.session_id for event in events if isinstance(event, SessionJoined)]
    left = [event.session_id for event in events if isinstance(event, SessionLeft)]
    assert sorted(joined) == sorted(are - were)
    assert sorted(left) == sorted(were - are)


TestCallWalk = CallWalk.TestCase
TestCallWalk.settings = settings(max_examples=250, stateful_step_count=60, deadline=None, derandomize=True)
