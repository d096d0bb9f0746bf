"""Messages: their order under any clock, their text, reading, and the calls among them."""

from datetime import timedelta
from uuid import UUID, uuid4

import anyio
import pytest
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.calls.call import Call, CallType, EndReason, Participant, State, Status
from secureconnect.chat.service import CONTENT_CHARS
from secureconnect.errors import IdempotencyKeyReused, NotFound, Unprocessable
from secureconnect.ids import ConversationId, MessageId, UserId
from secureconnect.store import calls as call_store
from secureconnect.store import chat as store
from secureconnect.store.chat import Message
from secureconnect.store.idempotency import Idempotency
from tests.unit.chat.conftest import Office

pytestmark = pytest.mark.anyio


class Body(Struct):
    """Stands for a request's body."""

    words: str = "the same"


@pytest.fixture
async def room(office: Office) -> ConversationId:
    """A conversation of Ada, Grace and Hedy, with nothing heard yet."""
    made = await office.chat.create(office.ada, [office.grace, office.hedy])
    for user_id in office.people:
        office.heard(user_id)
    return made.conversation_id


class TestSend:
    async def test_it_comes_back_and_every_member_hears_the_same(self, office: Office, room: ConversationId) -> None:
        sent = await office.chat.send(office.ada, room, "hello")
        assert (sent.conversation_id, sent.sender_id, sent.kind, sent.content) == (room, office.ada, "text", "hello")
        assert (sent.created_at, sent.call) == (office.clock.now(), None)
        heard = [office.heard(user_id) for user_id in (office.ada, office.grace, office.hedy)]
        assert heard[0] == heard[1] == heard[2]
        [[event], *_] = heard
        assert event.keys() == {"type", "message", "timestamp"}
        assert event["type"] == "message.created"
        assert event["message"] == {
            "message_id": str(sent.message_id),
            "conversation_id": str(room),
            "sender_id": str(office.ada),
            "kind": "text",
            "content": "hello",
            "created_at": office.clock.now().isoformat().replace("+00:00", "Z"),
            "call": None,
        }
        assert office.heard(office.katherine) == []

    @pytest.mark.parametrize(
        "content",
        [
            "  indented\n\n\tand broken \r\n",
            "👩‍👩‍👧‍👦 🏳️‍🌈 é e\u0301 ﬁ",
            "שלום مرحبا \u202bto\u202c \u2067the right\u2069 \u200f",
            "\U0001d4b3" * CONTENT_CHARS,
            "'; DROP TABLE messages; --",
            "one\u2028two",
        ],
        ids=["space", "emoji", "directions", "longest", "quotes", "line separator"],
    )
    async def test_text_is_kept_as_it_is(self, office: Office, room: ConversationId, content: str) -> None:
        sent = await office.chat.send(office.ada, room, content)
        assert sent.content == content
        assert await office.contents(office.grace, room) == [content]

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "  \n\t\u2003",
            "a\0b",
            "\ud800",
            "x" * (CONTENT_CHARS + 1),
            "\u200b\u2060",
            "\x1b[31mred",
            "a\x85b",
            "\u202eover\u202c",
            "\u2066a\nb\u2069",
        ],
        ids=ascii,
    )
    async def test_what_says_nothing_or_cannot_be_kept_is_refused(self, office: Office, room: ConversationId, content: str) -> None:
        with pytest.raises(Unprocessable, match="content"):
            await office.chat.send(office.ada, room, content)
        assert await office.contents(office.ada, room) == []
        assert office.heard(office.grace) == []

    async def test_many_at_once_with_one_key_write_one(self, office: Office, room: ConversationId) -> None:
        promise = Idempotency.of(office.ada, "message", "k-1", Body())
        sent: list[Message] = []

        async def send() -> None:
            sent.append(await office.chat.send(office.ada, room, "once", promise))

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(send)
        assert len(sent) == 8
        assert all(message == sent[0] for message in sent)
        assert await office.contents(office.ada, room) == ["once"]
        assert len(office.heard(office.grace)) == 1
        with pytest.raises(IdempotencyKeyReused):
            await office.chat.send(office.ada, room, "other", Idempotency.of(office.ada, "message", "k-1", Body("other")))

    async def test_a_repeat_finds_its_message_even_when_its_id_had_to_be_moved(self, office: Office, room: ConversationId) -> None:
        office.clock.advance(60)
        await office.chat.send(office.ada, room, "ahead of its time")
        office.clock.advance(-60)
        promise = Idempotency.of(office.ada, "message", "k-1", Body())
        first = await office.chat.send(office.ada, room, "again", promise)
        assert await office.chat.send(office.ada, room, "again", promise) == first


class TestTimeline:
    async def test_newest_first_in_pages(self, office: Office, room: ConversationId) -> None:
        await office.say(office.ada, room, *(str(number) for number in range(7)))
        found, after = await office.chat.timeline(office.grace, room, limit=3, after=None)
        assert [message.content for message in found] == ["6", "5", "4"]
        await office.say(office.ada, room, "meanwhile")
        while after is not None:
            more, after = await office.chat.timeline(office.grace, room, limit=3, after=after)
            found += more
        assert [message.content for message in found] == ["6", "5", "4", "3", "2", "1", "0"]

    async def test_an_exact_last_page_leads_nowhere(self, office: Office, room: ConversationId) -> None:
        await office.say(office.ada, room, "a", "b")
        assert (await office.chat.timeline(office.ada, room, limit=2, after=None))[1] is None
        assert (await office.chat.timeline(office.ada, room, limit=1, after=None))[1] is not None

    async def test_the_order_is_that_of_writing_whatever_the_clocks_say(self, office: Office, room: ConversationId) -> None:
        """Within one millisecond ids are random, and another node's clock may be behind: neither may shuffle a conversation."""
        for number in range(20):
            if number == 10:
                office.clock.advance(-3600)
            await office.chat.send(office.ada, room, str(number))
        assert await office.contents(office.ada, room) == [str(number) for number in reversed(range(20))]
        listed, _ = await office.chat.conversations(office.grace, limit=1, after=None)
        assert listed[0].last_message is not None
        assert listed[0].last_message.content == "19"
        assert listed[0].unread_count == 20


class TestReading:
    async def test_others_messages_count_until_they_are_read(self, office: Office, room: ConversationId) -> None:
        await office.say(office.ada, room, "one", "two", "three")
        newest, second, _ = (await office.chat.timeline(office.grace, room, limit=3, after=None))[0]
        assert (await office.chat.get(office.grace, room)).unread_count == 3
        assert (await office.chat.get(office.ada, room)).unread_count == 0, "one's own are read"
        office.heard(office.grace)
        office.heard(office.hedy)

        await office.chat.mark_read(office.grace, room, second.message_id)
        assert (await office.chat.get(office.grace, room)).unread_count == 1
        assert [event["conversation"]["unread_count"] for event in office.heard(office.grace)] == [1]
        assert office.heard(office.hedy) == [], "what one reads is not the others' business"
        assert (await office.chat.get(office.hedy, room)).unread_count == 3

        await office.chat.mark_read(office.grace, room, newest.message_id)
        await office.chat.mark_read(office.grace, room, second.message_id)
        assert (await office.chat.get(office.grace, room)).unread_count == 0, "a mark only moves forward"
        assert len(office.heard(office.grace)) == 1

    async def test_each_hears_their_own_count(self, office: Office, room: ConversationId) -> None:
        await office.say(office.ada, room, "one", "two")
        for user_id in office.people:
            office.heard(user_id)
        await office.chat.rename(office.ada, room, "Engines")
        assert [office.heard(user_id)[0]["conversation"]["unread_count"] for user_id in (office.ada, office.grace)] == [0, 2]

    async def test_a_message_of_elsewhere_cannot_be_marked(self, office: Office, room: ConversationId) -> None:
        other = await office.chat.create(office.ada, [office.grace])
        elsewhere = await office.chat.send(office.ada, other.conversation_id, "elsewhere")
        for message_id in (elsewhere.message_id, MessageId(uuid4()), MessageId(UUID(int=room.int))):
            with pytest.raises(NotFound):
                await office.chat.mark_read(office.ada, room, message_id)


class TestCalls:
    def a_call(self, office: Office, room: ConversationId) -> Call:
        now = office.clock.now()
        people = (
            Participant(office.ada, "Ada", State.JOINED, joined_at=now),
            Participant(office.grace, "Grace", State.RINGING, ring_deadline=now + timedelta(seconds=45)),
        )
        return Call(office.ids.call(), room, CallType.VIDEO, Status.RINGING, office.ada, 4, now, people)

    async def ring(self, office: Office, call: Call) -> Call:
        async def work(connection: AsyncConnection) -> Call:
            kept = await call_store.insert_call(connection, call)
            conversation = await store.hold_conversation(connection, call.conversation_id, call.caller_id)
            await store.note_call(connection, conversation, office.ids.message(), call)
            return kept

        return await office.database.transact(work)

    async def test_a_call_is_in_the_timeline_as_it_stands_now(self, office: Office, room: ConversationId) -> None:
        await office.say(office.grace, room, "call me")
        call = await self.ring(office, self.a_call(office, room))
        [entry, _] = (await office.chat.timeline(office.grace, room, limit=2, after=None))[0]
        assert (entry.kind, entry.content, entry.sender_id) == ("call", "", office.ada)
        assert entry.call is not None
        assert (entry.call.call_id, entry.call.call_type, entry.call.status) == (call.call_id, "video", "ringing")
        assert (await office.chat.get(office.grace, room)).unread_count == 1

        ended_at = office.clock.now() + timedelta(seconds=45)
        over = replace(call, status=Status.MISSED, end_reason=EndReason.TIMEOUT, ended_at=ended_at)
        await office.database.transact(lambda connection: call_store.save(connection, call, over))
        [entry, _] = (await office.chat.timeline(office.grace, room, limit=2, after=None))[0]
        assert entry.call is not None
        assert (entry.call.status, entry.call.end_reason, entry.call.ended_at) == ("missed", "timeout", ended_at)

    async def test_a_live_call_is_seen_in_its_conversation(self, office: Office, room: ConversationId) -> None:
        call = await self.ring(office, self.a_call(office, room))
        seen = await office.chat.get(office.hedy, room)
        assert seen.live_call is not None
        assert (seen.live_call.call_id, seen.live_call.status) == (call.call_id, Status.RINGING)
        assert seen.last_message is not None
        assert seen.last_message.kind == "call"

    async def test_a_call_needs_a_conversation_that_lives(self, office: Office, room: ConversationId) -> None:
        await office.chat.delete(office.ada, room)
        with pytest.raises(NotFound):
            await self.ring(office, self.a_call(office, room))
        with pytest.raises(NotFound):
            await office.database.read(lambda connection: store.require_member(connection, room, office.ada))
        assert await office.database.read(lambda connection: store.members_of(connection, room)) == []

    async def test_members_are_known_inside_the_calls_own_transaction(self, office: Office, room: ConversationId) -> None:
        async def work(connection: AsyncConnection) -> list[UserId]:
            member = await store.require_member(connection, room, office.grace)
            assert (member.display_name, member.role) == ("Grace", "member")
            return [one.user_id for one in await store.members_of(connection, room)]

        members = await office.database.transact(work)
        assert members[0] == office.ada
        assert sorted(members) == sorted([office.ada, office.grace, office.hedy])
