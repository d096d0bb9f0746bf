"""Conversations and their members: who may do what, who hears of it, and that strangers see nothing at all."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import anyio
import pytest
from msgspec import Struct

from secureconnect.chat.conversation import Conversation
from secureconnect.chat.membership import MAX_MEMBERS
from secureconnect.errors import Forbidden, IdempotencyKeyReused, NotFound, UnknownUser, Unprocessable
from secureconnect.ids import ConversationId, MessageId, UserId
from secureconnect.store.idempotency import Idempotency
from secureconnect.text import TITLE_CHARS
from tests.unit.chat.conftest import Office

pytestmark = pytest.mark.anyio


class Body(Struct):
    """Stands for a request's body."""

    words: str = "the same"


def roles(conversation: Conversation) -> list[tuple[str, str]]:
    return [(member.display_name, member.role) for member in conversation.participants]


ACTIONS: dict[str, Callable[[Office, ConversationId], Awaitable[object]]] = {
    "get": lambda office, conversation: office.chat.get(office.hedy, conversation),
    "rename": lambda office, conversation: office.chat.rename(office.hedy, conversation, "mine"),
    "delete": lambda office, conversation: office.chat.delete(office.hedy, conversation),
    "add": lambda office, conversation: office.chat.add(office.hedy, conversation, [office.hedy]),
    "remove": lambda office, conversation: office.chat.remove(office.hedy, conversation, office.ada),
    "leave": lambda office, conversation: office.chat.remove(office.hedy, conversation, office.hedy),
    "read": lambda office, conversation: office.chat.mark_read(office.hedy, conversation, MessageId(conversation)),
    "send": lambda office, conversation: office.chat.send(office.hedy, conversation, "hello"),
    "timeline": lambda office, conversation: office.chat.timeline(office.hedy, conversation, limit=1, after=None),
}


class TestCreate:
    async def test_the_creator_owns_it_and_the_others_are_in(self, office: Office) -> None:
        made = await office.chat.create(office.ada, [office.hedy, office.grace], "Engines")
        assert roles(made)[0] == ("Ada", "owner")
        assert sorted(roles(made)[1:]) == [("Grace", "member"), ("Hedy", "member")]
        assert (made.title, made.last_message, made.unread_count, made.live_call) == ("Engines", None, 0, None)
        assert made.created_at == office.clock.now()
        for user_id in (office.ada, office.grace, office.hedy):
            assert await office.chat.get(user_id, made.conversation_id) == made

    async def test_every_member_hears_of_it_and_nobody_else(self, office: Office) -> None:
        made = await office.chat.create(office.ada, [office.grace])
        for user_id in (office.ada, office.grace):
            [event] = office.heard(user_id)
            assert event["type"] == "conversation.updated"
            assert event["conversation_id"] == event["conversation"]["conversation_id"] == str(made.conversation_id)
            assert event["timestamp"] == office.clock.now().isoformat().replace("+00:00", "Z")
        assert office.heard(office.hedy) == []

    async def test_without_a_title_there_is_none_and_a_second_one_is_another(self, office: Office) -> None:
        first = await office.chat.create(office.ada, [office.grace])
        second = await office.chat.create(office.ada, [office.grace], "   ")
        assert first.title is second.title is None
        assert first.conversation_id != second.conversation_id

    async def test_naming_oneself_or_somebody_twice_changes_nothing(self, office: Office) -> None:
        made = await office.chat.create(office.ada, [office.ada, office.grace, office.grace])
        assert roles(made) == [("Ada", "owner"), ("Grace", "member")]

    async def test_somebody_unknown_is_refused_and_nothing_is_made(self, office: Office) -> None:
        unknown = UserId(uuid4())
        with pytest.raises(UnknownUser, match=str(unknown)):
            await office.chat.create(office.ada, [office.grace, unknown])
        assert await office.chat.conversations(office.ada, limit=10, after=None) == ([], None)

    async def test_what_cannot_be_is_refused(self, office: Office) -> None:
        crowd = [UserId(uuid4()) for _ in range(MAX_MEMBERS)]
        for people, title in [([], None), ([office.ada], None), (crowd, None), ([office.grace], "x" * (TITLE_CHARS + 1))]:
            with pytest.raises(Unprocessable):
                await office.chat.create(office.ada, people, title)
        with pytest.raises(Unprocessable, match="title"):
            await office.chat.create(office.ada, [office.grace], "a\0b")

    async def test_many_at_once_with_one_key_make_one(self, office: Office) -> None:
        promise = Idempotency.of(office.ada, "conversation", "k-1", Body())
        made: list[ConversationId] = []

        async def create() -> None:
            made.append((await office.chat.create(office.ada, [office.grace], None, promise)).conversation_id)

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(create)
        assert len(made) == 8
        assert len(set(made)) == 1
        assert len((await office.chat.conversations(office.ada, limit=10, after=None))[0]) == 1
        assert len(office.heard(office.grace)) == 1, "what was made once is told once"

    async def test_a_key_belongs_to_its_request_and_its_user(self, office: Office) -> None:
        first = await office.chat.create(office.ada, [office.grace], None, Idempotency.of(office.ada, "conversation", "k", Body()))
        with pytest.raises(IdempotencyKeyReused):
            await office.chat.create(
                office.ada, [office.hedy], None, Idempotency.of(office.ada, "conversation", "k", Body("other"))
            )
        of_another = await office.chat.create(
            office.hedy, [office.grace], None, Idempotency.of(office.hedy, "conversation", "k", Body())
        )
        assert of_another.conversation_id != first.conversation_id


class TestList:
    async def test_the_latest_activity_comes_first(self, office: Office) -> None:
        made = []
        for _ in range(3):
            office.clock.advance(1)
            made.append((await office.chat.create(office.ada, [office.grace])).conversation_id)
        await office.say(office.grace, made[0], "hello")
        listed, _ = await office.chat.conversations(office.ada, limit=10, after=None)
        assert [one.conversation_id for one in listed] == [made[0], made[2], made[1]]
        assert listed[0].last_message is not None
        assert listed[0].last_message.content == "hello"
        assert [one.unread_count for one in listed] == [1, 0, 0]
        assert [one == await office.chat.get(office.ada, one.conversation_id) for one in listed] == [True] * 3

    async def test_pages_follow_each_other_without_gap_or_repeat(self, office: Office) -> None:
        made = [(await office.chat.create(office.ada, [office.grace])).conversation_id for _ in range(5)]
        found, after = await office.chat.conversations(office.ada, limit=2, after=None)
        while after is not None:
            more, after = await office.chat.conversations(office.ada, limit=2, after=after)
            found += more
        assert sorted(one.conversation_id for one in found) == sorted(made)
        assert len(found) == 5

    async def test_only_ones_own_that_live(self, office: Office) -> None:
        await office.chat.create(office.grace, [office.hedy])
        gone = await office.chat.create(office.ada, [office.hedy])
        await office.chat.delete(office.ada, gone.conversation_id)
        left = await office.chat.create(office.hedy, [office.ada])
        await office.chat.remove(office.ada, left.conversation_id, office.ada)
        assert await office.chat.conversations(office.ada, limit=10, after=None) == ([], None)


class TestStrangers:
    """Not a member, taken out, deleted and never there: all the same answer, so that nothing can be probed."""

    @pytest.mark.parametrize("action", ACTIONS)
    async def test_nothing_tells_what_exists(self, office: Office, action: str) -> None:
        foreign = await office.chat.create(office.ada, [office.grace])
        left = await office.chat.create(office.ada, [office.hedy])
        await office.chat.remove(office.ada, left.conversation_id, office.hedy)
        deleted = await office.chat.create(office.hedy, [office.grace])
        await office.chat.delete(office.hedy, deleted.conversation_id)
        answers = set()
        for conversation_id in (
            foreign.conversation_id,
            left.conversation_id,
            deleted.conversation_id,
            ConversationId(uuid4()),
        ):
            with pytest.raises(NotFound) as refused:
                await ACTIONS[action](office, conversation_id)
            answers.add((refused.value.code, refused.value.detail))
        assert len(answers) == 1


class TestMembers:
    async def test_any_member_renames_it_and_all_hear(self, office: Office) -> None:
        made = await office.chat.create(office.ada, [office.grace], "Engines")
        office.heard(office.ada)
        assert (await office.chat.rename(office.grace, made.conversation_id, " Difference Engines ")).title == "Difference Engines"
        assert [event["conversation"]["title"] for event in office.heard(office.ada)] == ["Difference Engines"]
        assert (await office.chat.rename(office.ada, made.conversation_id, None)).title is None

    async def test_more_people_come_and_see_what_was_said_as_read(self, office: Office) -> None:
        made = await office.chat.create(office.ada, [office.grace])
        await office.say(office.ada, made.conversation_id, "one", "two")
        office.heard(office.hedy)
        changed = await office.chat.add(office.ada, made.conversation_id, [office.hedy, office.ada, office.hedy])
        assert roles(changed) == [("Ada", "owner"), ("Grace", "member"), ("Hedy", "member")]
        [event] = office.heard(office.hedy)
        assert event["conversation"]["unread_count"] == 0
        assert event["conversation"]["last_message"] is None
        assert await office.contents(office.hedy, made.conversation_id) == []

    async def test_adding_somebody_unknown_or_too_many_changes_nothing(self, office: Office) -> None:
        made = await office.chat.create(office.ada, [office.grace])
        with pytest.raises(UnknownUser):
            await office.chat.add(office.ada, made.conversation_id, [office.hedy, UserId(uuid4())])
        with pytest.raises(Unprocessable):
            await office.chat.add(office.ada, made.conversation_id, [UserId(uuid4()) for _ in range(MAX_MEMBERS)])
        assert len((await office.chat.get(office.ada, made.conversation_id)).participants) == 2

    async def test_an_owner_takes_somebody_out_and_they_leave_the_call(self, office: Office) -> None:
        made = await office.chat.create(office.ada, [office.grace, office.hedy])
        for user_id in office.people:
            office.heard(user_id)
        await office.chat.remove(office.ada, made.conversation_id, office.grace)
        [event] = office.heard(office.grace)
        assert (event["conversation_id"], event["conversation"]) == (str(made.conversation_id), None)
        for user_id in (office.ada, office.hedy):
            [event] = office.heard(user_id)
            assert len(event["conversation"]["participants"]) == 2
        assert office.removed == [(made.conversation_id, office.grace)]

    async def test_only_an_owner_takes_somebody_else_out_or_deletes(self, office: Office) -> None:
        made = await office.chat.create(office.ada, [office.grace, office.hedy])
        with pytest.raises(Forbidden):
            await office.chat.remove(office.grace, made.conversation_id, office.hedy)
        with pytest.raises(Forbidden):
            await office.chat.remove(office.grace, made.conversation_id, UserId(uuid4()))
        with pytest.raises(Forbidden):
            await office.chat.delete(office.grace, made.conversation_id)
        with pytest.raises(NotFound):
            await office.chat.remove(office.ada, made.conversation_id, office.katherine)
        assert office.removed == []

    async def test_the_longest_standing_member_inherits(self, office: Office) -> None:
        made = await office.chat.create(office.ada, [office.grace])
        office.clock.advance(1)
        await office.chat.add(office.ada, made.conversation_id, [office.hedy])
        office.clock.advance(1)
        await office.chat.add(office.ada, made.conversation_id, [office.katherine])
        await office.chat.remove(office.ada, made.conversation_id, office.ada)
        assert roles(await office.chat.get(office.hedy, made.conversation_id)) == [
            ("Grace", "owner"),
            ("Hedy", "member"),
            ("Katherine", "member"),
        ]
        await office.chat.remove(office.hedy, made.conversation_id, office.hedy)
        assert ("Grace", "owner") in roles(await office.chat.get(office.grace, made.conversation_id))

    async def test_the_last_one_turns_off_the_light(self, office: Office) -> None:
        made = await office.chat.create(office.ada, [office.grace])
        await office.chat.remove(office.ada, made.conversation_id, office.ada)
        await office.chat.remove(office.grace, made.conversation_id, office.grace)
        with pytest.raises(NotFound):
            await office.chat.get(office.grace, made.conversation_id)

    async def test_somebody_who_left_can_come_back(self, office: Office) -> None:
        made = await office.chat.create(office.ada, [office.grace])
        await office.chat.remove(office.grace, made.conversation_id, office.grace)
        await office.chat.add(office.ada, made.conversation_id, [office.grace])
        back = await office.chat.invitations.accept(office.grace, made.conversation_id)
        assert back == await office.chat.get(office.grace, made.conversation_id)
        assert back.unread_count == 0

    async def test_deleting_is_for_everybody_and_ends_their_calls(self, office: Office) -> None:
        made = await office.chat.create(office.ada, [office.grace])
        for user_id in office.people:
            office.heard(user_id)
        await office.chat.delete(office.ada, made.conversation_id)
        for user_id in (office.ada, office.grace):
            assert [event["conversation"] for event in office.heard(user_id)] == [None]
        assert sorted(office.removed) == sorted((made.conversation_id, user_id) for user_id in (office.ada, office.grace))
