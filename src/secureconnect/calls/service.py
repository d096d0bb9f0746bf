"""Calls: load, decide, save, publish. Called by api.calls, by signaling when sockets open and close, and by calls.timers.

Every rule is in `calls.machine`, every statement in `store.calls`. Two who command one call at the same instant are put in order
by the version that a save names; in this process they take turns, so that they rarely meet there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID
from weakref import WeakValueDictionary

import structlog
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.bus import Bus
from secureconnect.bus.announcement import Announcement, all_told
from secureconnect.calls import machine
from secureconnect.calls.announce import Announcer
from secureconnect.calls.call import Call, CallType, Session, Status
from secureconnect.calls.commands import (
    CloseSession,
    Command,
    Decline,
    End,
    Initiate,
    Invite,
    Join,
    Leave,
    MediaLost,
    NodeLost,
    OpenSession,
    Outcome,
    Person,
    Tick,
)
from secureconnect.calls.members import (
    Members,
    members_of,
    people_named,
    require,
    require_access,
    shown_in_timeline,
    visible_call,
)
from secureconnect.calls.receipt_book import ReceiptBook
from secureconnect.calls.topology import MESH_CAPACITY
from secureconnect.chat.events import Announcer as TimelineAnnouncer
from secureconnect.clock import Clock
from secureconnect.errors import Conflict, NotFound, NotJoined, TooManyCalls, Unavailable, Unprocessable
from secureconnect.ids import CallId, ConversationId, DeviceId, IdFactory, NodeId, SessionId, UserId, short
from secureconnect.media import Sfu
from secureconnect.push.queue import PushQueue
from secureconnect.recording.book import RecordingBook
from secureconnect.store import Database, people
from secureconnect.store import calls as store
from secureconnect.store import chat as chat_store
from secureconnect.store.idempotency import Idempotency, find_or_claim
from secureconnect.webhooks.delivery import Webhooks

log = structlog.get_logger(__name__)

SAVE_ATTEMPTS = 10
"""Times to decide again after somebody else changed the call in between. Only other nodes can be faster, and rarely."""

OnChange = Callable[[Call | None, Call], None]
MakeCommand = Callable[[AsyncConnection, Members], Awaitable[Command]]


class InitiateRequest(Struct, frozen=True):
    """What a caller asks for; `ring` is how long phones ring."""

    conversation_id: ConversationId
    call_type: CallType
    callee_ids: tuple[UserId, ...]
    ring: timedelta
    reject_busy: bool = False
    device_id: DeviceId | None = None


class _Decision(Struct, frozen=True):
    before: Call | None
    outcome: Outcome
    members: list[UserId]
    entry: chat_store.Message | None = None
    has_pushes: bool = False


class CallService:
    """What people, sockets and time can do to calls. Whoever is not a member of the conversation gets NotFound."""

    def __init__(
        self,
        *,
        database: Database,
        bus: Bus,
        ids: IdFactory,
        clock: Clock,
        node_id: NodeId,
        grace: timedelta,
        pushes: PushQueue,
        receipts: ReceiptBook,
        sfu: Sfu,
        sfu_capacity: int,
        calls_per_user: int = 8,
        webhooks: Webhooks | None = None,
        recordings: RecordingBook | None = None,
        on_change: OnChange = lambda before, after: None,
    ) -> None:
        """`on_change` hears of every change that was written here: the call before (None: there was none) and after."""
        self._database = database
        self._announcer = Announcer(bus)
        self._ids = ids
        self._clock = clock
        self._node_id = node_id
        self._grace = grace
        self._pushes = pushes
        self._receipts = receipts
        self._webhooks = webhooks
        self._recordings = recordings
        self._sfu = sfu
        self._sfu_capacity = sfu_capacity
        self._calls_per_user = calls_per_user
        self._on_change = on_change
        self._timeline = TimelineAnnouncer(bus, clock)
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    # Commands of people

    async def initiate(self, caller_id: UserId, request: InitiateRequest, promise: Idempotency | None = None) -> Call:
        """Ring `callee_ids`. With a promise, a repeat gives the call that the first request made.

        Raises NotFound, Unprocessable or one of its kinds; then nothing was written.
        """
        if not request.callee_ids:
            raise Unprocessable("callee_ids: name at least one person to ring.")
        call_id = self._ids.call()

        async def work(connection: AsyncConnection) -> _Decision:
            now = self._clock.now()
            conversation = await chat_store.hold_conversation(connection, request.conversation_id, caller_id)
            members = await members_of(connection, request.conversation_id)
            if caller_id not in members.reached:  # removed while this waited
                raise NotFound(chat_store.NOT_YOURS)
            earlier = await find_or_claim(connection, promise, call_id, now)
            if earlier is not None:
                call = await require(connection, CallId(earlier))
                return _Decision(call, Outcome(call, changed=False), members.reached)
            await people.hold_people(connection, [caller_id, *request.callee_ids])
            callees = await people_named(connection, request.callee_ids, members, caller_id, self._calls_per_user)
            outcome = machine.initiate(
                Initiate(
                    call_id=call_id,
                    conversation_id=request.conversation_id,
                    call_type=request.call_type,
                    caller=Person(caller_id, members.names[caller_id]),
                    callees=callees,
                    capacity=self.capacity(),
                    ring=request.ring,
                    grace=self._grace,
                    device_id=request.device_id,
                    reject_busy=request.reject_busy,
                ),
                now,
            )
            entry_id = chat_store.next_message_id(conversation, self._ids.message())
            call = await store.insert_call(connection, outcome.call, entry_id)
            entry = await chat_store.note_call(connection, conversation, entry_id, call, call.hidden_from)
            has_pushes = await self._pushes.enqueue(connection, call, outcome.events, now)
            if self._webhooks is not None:
                await self._webhooks.enqueue(connection, None, call, outcome.events, now)
            return _Decision(None, Outcome(call, outcome.events), members.reached, entry, has_pushes)

        async with self._turn(request.conversation_id):
            # What it decides by is held: the conversation, with its members and the end of its timeline; then who is in a call.
            decision = await self._database.transact(work, isolation="committed")
        await all_told(self._publish(decision))
        return decision.outcome.call

    async def join(self, user_id: UserId, call_id: CallId, device_id: DeviceId | None = None, mode: str | None = None) -> Call:
        """Answer, or join a running call. Raises NotFound, CallEnded, CallFull, AnsweredElsewhere, TooManyCalls, TooManyDevices."""

        async def make(connection: AsyncConnection, members: Members) -> Command:
            if await people.count_other_calls(connection, user_id, call_id) >= self._calls_per_user:
                raise TooManyCalls
            return Join(Person(user_id, members.names[user_id]), self._grace, device_id, mode)

        try:
            return await self._command(call_id, make, user_id)
        except Conflict as refusal:
            self._receipts.refused(user_id, call_id, device_id, refusal.code)
            raise

    async def decline(self, user_id: UserId, call_id: CallId, device_id: DeviceId | None = None) -> Call:
        """Do not answer. Raises NotFound, AlreadyJoined, CallEnded."""
        return await self._command(call_id, Decline(user_id, device_id), user_id)

    async def leave(self, user_id: UserId, call_id: CallId, session_id: SessionId | None = None) -> Call:
        """Leave with all devices, or with the one of `session_id`. Raises NotFound."""
        return await self._command(call_id, Leave(user_id, session_id, self._grace), user_id)

    async def end(self, user_id: UserId, call_id: CallId) -> Call:
        """End the call for everybody. Raises NotFound, NotHost."""
        return await self._command(call_id, End(user_id), user_id)

    async def invite(self, user_id: UserId, call_id: CallId, user_ids: Sequence[UserId], ring: timedelta) -> Call:
        """Ring more members. Raises NotFound, NotAMember, NotJoined, CallEnded, CallFull."""
        if not user_ids:
            raise Unprocessable("user_ids: name at least one person to ring.")

        async def make(connection: AsyncConnection, members: Members) -> Command:
            return Invite(user_id, await people_named(connection, list(dict.fromkeys(user_ids)), members, user_id), ring)

        return await self._command(call_id, make, user_id)

    async def command(self, user_id: UserId, call_id: CallId, command: Command | MakeCommand) -> Call:
        """What a member asks for that a service beside this one has made a command of. Raises NotFound, and what the rules name."""
        return await self._command(call_id, command, user_id)

    async def command_by_server(self, call_id: CallId, command: Command) -> Call:
        """What no member asks for. Raises NotFound."""
        return await self._command(call_id, command)

    async def member_removed(self, conversation_id: ConversationId, user_id: UserId) -> None:
        """Somebody is no longer a member: they are no longer in the conversation's call either."""
        live = await self._database.read(lambda connection: store.all_live_calls_in(connection, [conversation_id]))
        for call in live:
            await self._command(call.call_id, Leave(user_id))

    async def device_revoked(self, user_id: UserId, device_id: DeviceId) -> None:
        """A device was signed out: it leaves its calls, and its person with it unless another device is in."""
        sessions = await self._database.read(lambda connection: store.sessions_of_device(connection, user_id, device_id))
        for call_id, session_id in sessions:
            await self._command(call_id, Leave(user_id, session_id, self._grace))

    # Questions

    def capacity(self) -> int:
        """Return how many people a call holds here."""
        return self._sfu_capacity if self._sfu.size else MESH_CAPACITY

    async def get(self, user_id: UserId, call_id: CallId) -> Call:
        """The call as this user may see it. Raises NotFound."""
        return await self._database.read(lambda connection: visible_call(connection, call_id, user_id))

    async def history(
        self,
        user_id: UserId,
        *,
        conversation_id: ConversationId | None = None,
        status: Status | None = None,
        before: UUID | None = None,
        limit: int = 50,
    ) -> list[Call]:
        """The calls one was in or rung for, newest first, at most `limit` of those before the id `before`."""
        return await self._database.read(
            lambda connection: store.history(
                connection, user_id, conversation_id=conversation_id, status=status, before=before, limit=limit
            )
        )

    async def ringing_for(self, user_id: UserId) -> list[Call]:
        """The calls that ring at this user now."""
        return await self._database.read(lambda connection: store.ringing_for(connection, user_id))

    # Sockets

    async def open_session(
        self,
        user_id: UserId,
        call_id: CallId,
        device_id: DeviceId | None,
        resume: SessionId | None,
        attempt: int | None = None,
    ) -> tuple[Call, Session]:
        """A socket opens here, to continue `resume` or begin.

        Raises NotFound, CallEnded, NotJoined, AnsweredElsewhere, Superseded.
        """
        fresh = self._ids.session()
        command = OpenSession(user_id, fresh, self._node_id, device_id, resume, attempt=attempt)
        call = await self._command(call_id, command, user_id)
        me = call.participant(user_id)
        found = {session.session_id: session for session in me.sessions} if me else {}
        session = found.get(fresh) or (found.get(resume) if resume else None)
        if session is None:
            raise NotJoined
        return call, session

    async def keep_session(self, user_id: UserId, call_id: CallId, session: Session) -> Session:
        """A socket is still open here although this node may have been taken for lost; its session as it is from now on.

        Raises NotJoined, CallEnded or NotFound when the session has gone, or goes on at another socket.
        """
        me = (await self.get(user_id, call_id)).participant(user_id)
        if me is not None and session in me.sessions:
            return session  # nobody thought so
        resume, generation = session.session_id, session.generation
        command = OpenSession(user_id, resume, self._node_id, session.device_id, resume, generation)
        me = (await self._command(call_id, command, user_id)).participant(user_id)
        kept = next((one for one in me.sessions if one.session_id == resume), None) if me is not None else None
        if kept is None:
            raise NotJoined
        return kept

    async def close_session(self, user_id: UserId, call_id: CallId, session: Session) -> None:
        """A socket has closed without a leave: its participant has the grace to come back."""
        await self._command(call_id, CloseSession(user_id, session.session_id, session.generation, self._grace))

    # Time and nodes

    async def tick(self, call_id: CallId) -> None:
        """Do what is due. May come twice, late, or from two nodes at once."""
        await self._command(call_id, Tick())

    async def node_lost(self, call_id: CallId, node_id: NodeId) -> None:
        """A node is gone: those it served have the grace to come back elsewhere. Nothing, when it is there again."""

        async def make(connection: AsyncConnection, _members: Members) -> Command:
            is_lost = await store.is_lost(connection, node_id, self._clock.now())
            return NodeLost(node_id, self._grace) if is_lost else Tick()

        await self._command(call_id, make)

    # Media

    async def look(self, call_id: CallId) -> Call:
        """The call, for whoever serves it and not for a person. Raises NotFound."""
        return await self._database.read(lambda connection: require(connection, call_id))

    async def media_lost(self, call_id: CallId, sfu: str, epoch: int) -> None:
        """The SFU of this epoch is gone: the call goes on by another. May come from several nodes."""
        await self._command(call_id, MediaLost(sfu, epoch))

    async def _command(self, call_id: CallId, command: Command | MakeCommand, user_id: UserId | None = None) -> Call:
        """Load, decide, save, publish; again when another node was faster. With `user_id`, only for who sees the call."""

        async def work(connection: AsyncConnection) -> _Decision | None:
            before = await require(connection, call_id)
            # Who comes in is a member when this is written: whoever takes them out waits, and then takes them out here.
            members = await members_of(connection, before.conversation_id, held=callable(command))
            if user_id is not None:
                await require_access(connection, before, members, user_id)
            ready = await command(connection, members) if callable(command) else command
            now, has_pushes = self._clock.now(), False
            outcome = machine.decide(before, ready, now, self._sfu.place())
            if outcome.changed:
                saved = await store.save(connection, before, outcome.call)
                if saved is None:
                    return None
                has_pushes = await self._pushes.enqueue(connection, saved, outcome.events, now)
                if self._recordings is not None:
                    await self._recordings.note(connection, saved, outcome.events, now)
                if self._webhooks is not None:
                    await self._webhooks.enqueue(connection, before, saved, outcome.events, now)
                outcome = Outcome(saved, outcome.events)
            return _Decision(before, outcome, members.reached, has_pushes=has_pushes)

        async with self._turn(call_id):
            for _ in range(SAVE_ATTEMPTS):
                # The call has a version, and what else decides is held: nothing here needs more.
                decision = await self._database.transact(work, isolation="snapshot")
                if decision is not None:
                    words = self._publish(decision)
                    break
            else:
                raise Unavailable("This call changes faster than this node can follow; try again.")
        if user_id is not None:  # somebody waits for the answer
            await all_told(words)
        return decision.outcome.call

    def _turn(self, about: UUID) -> asyncio.Lock:
        """Held while something is written about a call, or a call is added to a conversation: here they need not race."""
        return self._turns.setdefault(about, asyncio.Lock())

    def _publish(self, decision: _Decision) -> list[Announcement]:
        outcome = decision.outcome
        if not outcome.changed:
            return []
        call = outcome.call
        log.info(
            "call changed",
            call=short(call.call_id),
            version=call.version,
            status=call.status,
            reason=call.end_reason,
            events=[type(event).__name__ for event in outcome.events],
        )
        if call.sfu is not None and (decision.before is None or decision.before.epoch != call.epoch):
            self._sfu.placed(call.sfu)
        self._on_change(decision.before, call)
        words = [self._announcer.announce(decision.before, call, outcome.events, decision.members, self._clock.now())]
        if decision.entry is not None:
            words.append(self._timeline.message_created(decision.entry, shown_in_timeline(call, decision.members)))
        if decision.has_pushes:
            self._pushes.wake()
        if self._webhooks is not None:
            self._webhooks.wake()
        return words
