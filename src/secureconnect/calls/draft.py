"""A call while a command changes it: what the rows of `calls.machine` write on. Pure."""

from collections.abc import Callable
from datetime import datetime

from msgspec.structs import replace

from secureconnect.calls.call import Call, EndReason, LeaveReason, Participant, Ring, RingEnd, Session, State, Status, Topology
from secureconnect.calls.commands import (
    Cancelled,
    Event,
    Missed,
    Outcome,
    Person,
    Rang,
    RecordingStarted,
    RecordingStopped,
    SessionLeft,
)
from secureconnect.calls.topology import room_in, settled
from secureconnect.errors import CallEnded, CallFull, NotJoined
from secureconnect.ids import UserId


class Draft:
    """A call while it is being changed: participants by id, in the order they came, and the events so far."""

    def __init__(self, call: Call, now: datetime, place: str | None = None) -> None:
        self.before = call
        self.call = call
        self.now = now
        self.place = place
        self.people = {one.user_id: one for one in call.participants}
        self.events: list[Event] = []
        self.closing: EndReason | None = None
        self.is_lost = False
        self.stopped_by: UserId | None = None
        self.stopped_for: str | None = None

    def put(self, one: Participant) -> None:
        self.people[one.user_id] = one

    def need_life(self) -> None:
        if self.call.over:
            raise CallEnded

    def need_presence(self, user_id: UserId) -> None:
        one = self.people.get(user_id)
        if one is None or not one.is_in:
            raise NotJoined

    def need_room(self) -> None:
        """Raise CallFull unless one more person, or one more session of a mesh, fits."""
        if self.occupied >= self.room:
            raise CallFull

    @property
    def is_mesh(self) -> bool:
        """Whether every session sends to every other: there is no SFU, and none at hand."""
        return self.place is None and self.call.topology is not Topology.SFU

    @property
    def occupied(self) -> int:
        """How much of the room is taken: people by an SFU, sessions in a mesh; someone without a socket yet counts as one."""
        return sum(max(1, len(person.sessions)) for person in self.inside()) if self.is_mesh else len(self.inside())

    def inside(self) -> list[Participant]:
        return [one for one in self.people.values() if one.is_in]

    def ringing(self) -> list[Participant]:
        return [one for one in self.people.values() if one.state is State.RINGING]

    def ring(self, person: Person, deadline: datetime) -> None:
        before = self.people.get(person.user_id)
        self.put(
            Participant(
                user_id=person.user_id,
                display_name=person.display_name,
                state=State.RINGING,
                waiting=person.busy,
                ring_deadline=deadline,
                joined_at=before.joined_at if before else None,
                ring=Ring(self.now, person.busy, withheld=person.withheld),
            )
        )
        self.events.append(Rang(person.user_id, person.busy))

    def drop_sessions(
        self, one: Participant, reason: LeaveReason, keep: Callable[[Session], bool] = lambda _: False
    ) -> Participant:
        """`one` without the sessions that are not to keep; everybody hears of each that goes."""
        gone = [session for session in one.sessions if not keep(session)]
        self.events += [SessionLeft(one.user_id, session.session_id, reason) for session in gone]
        return replace(one, sessions=tuple(session for session in one.sessions if keep(session)))

    def leave(self, one: Participant, reason: LeaveReason) -> None:
        self.is_lost = reason is LeaveReason.TIMEOUT
        one = self.drop_sessions(one, reason)
        self.put(replace(one, state=State.LEFT, devices=(), grace_deadline=None, left_at=self.now, waiting=False))

    def cancel(self, one: Participant) -> None:
        end = RingEnd.CALLER_LOST if self.is_lost else RingEnd.CANCELLED
        self.put(replace(one, state=State.CANCELLED, waiting=False, ring=one.ring_ended(end, self.now)))
        self.events += [Cancelled(one.user_id), Missed(one.user_id)]

    def settle(self) -> None:
        """Nobody rings and fewer than two are in: the call is over. And where nobody is in, nobody needs to ring."""
        if self.call.over:
            return
        if not self.inside():
            for one in self.ringing():
                self.cancel(one)
        if self.closing is None and (self.ringing() or len(self.inside()) >= 2):
            return
        status, reason = self.verdict()
        for one in self.inside():
            self.leave(one, LeaveReason.ENDED)
        self.call = replace(self.call, status=status, end_reason=reason, ended_at=self.now)

    def verdict(self) -> tuple[Status, EndReason]:
        """Why the call is over. The order of the questions is the rule."""
        states = {one.state for one in self.people.values()}
        if self.closing is EndReason.COMPLETED or self.call.answered_at is not None:
            return Status.ENDED, EndReason.COMPLETED
        if self.people[self.call.caller_id].state is State.LEFT:
            return Status.MISSED, EndReason.CANCELLED
        if State.DECLINED in states:
            return Status.DECLINED, EndReason.DECLINED
        if State.MISSED in states:
            return Status.MISSED, EndReason.TIMEOUT
        return Status.MISSED, EndReason.BUSY

    @property
    def room(self) -> int:
        """How many fit in: people by an SFU, sessions in a mesh."""
        return room_in(self.call, self.place)

    def outcome(self) -> Outcome:
        """What came of it, with the media on the way that fits: one who is in and has no socket yet counts as a session."""
        call = replace(self.call, participants=tuple(self.people.values()))
        call = settled(call, sum(max(1, len(one.sessions)) for one in self.inside()), self.now, self.place)
        call = self._with_its_recording(call)
        return Outcome(call, tuple(self.events), changed=call != self.before)

    def _with_its_recording(self, call: Call) -> Call:
        """It ends with the call, and where no SFU is left: nobody else writes down what is said."""
        if call.recording and (call.over or call.topology is not Topology.SFU):
            call = replace(call, recording=None)
        before, after = self.before.recording, call.recording
        if after is not None and before is None:
            self.events.append(RecordingStarted(after))
        if before is not None and after is None:
            # Before anybody is told to have left, which is the last that they hear.
            self.events.insert(0, RecordingStopped(before, self.stopped_by, self.stopped_for))
        return call
