"""Who adds people, what they see of the past, who returns, and what blocking means for conversations."""

from collections.abc import Awaitable, Callable

import pytest

from secureconnect.access_errors import TooManyBlocks
from secureconnect.accounts.blocks import MAX_BLOCKS, Blocks
from secureconnect.chat.service import Rules
from secureconnect.errors import Forbidden, NotFound, Unprocessable
from secureconnect.ids import ConversationId, UserId
from secureconnect.store import blocks as block_store
from tests.unit.chat.conftest import Office

pytestmark = pytest.mark.anyio


@pytest.fixture
async def room(office: Office) -> ConversationId:
    """Ada's, with Grace."""
    made = await office.chat.create(office.ada, [office.grace])
    for user_id in office.people:
        office.heard(user_id)
    return made.conversation_id


@pytest.fixture
def blocks(office: Office) -> Blocks:
    return Blocks(database=office.database, clock=office.clock)


def names(office: Office, members: list[UserId]) -> list[str]:
    return [office.people[user_id] for user_id in members]


async def members(office: Office, room: ConversationId) -> list[str]:
    view = await office.chat.get(office.ada, room)
    return sorted(member.display_name for member in view.participants)


class TestAdding:
    async def test_a_member_adds_no_one_unless_the_conversation_allows_it(self, office: Office, room: ConversationId) -> None:
        with pytest.raises(Forbidden):
            await office.chat.add(office.grace, room, [office.hedy])
        with pytest.raises(Forbidden):
            await office.chat.change(office.grace, room, rules=Rules(members_may_add=True))
        assert (await office.chat.change(office.ada, room, rules=Rules(members_may_add=True))).members_may_add
        await office.chat.add(office.grace, room, [office.hedy])
        assert await members(office, room) == ["Ada", "Grace", "Hedy"]
        await office.chat.change(office.ada, room, rules=Rules(members_may_add=False))
        with pytest.raises(Forbidden):
            await office.chat.add(office.grace, room, [office.katherine])

    async def test_a_stranger_adds_no_one(self, office: Office, room: ConversationId) -> None:
        with pytest.raises(NotFound):
            await office.chat.add(office.hedy, room, [office.hedy])

    async def test_a_removal_by_an_owner_is_undone_by_an_owner_only(self, office: Office, room: ConversationId) -> None:
        await office.chat.change(office.ada, room, rules=Rules(members_may_add=True))
        await office.chat.add(office.grace, room, [office.hedy])
        await office.chat.remove(office.ada, room, office.hedy)
        with pytest.raises(Forbidden):
            await office.chat.add(office.grace, room, [office.hedy])
        await office.chat.add(office.ada, room, [office.hedy])
        assert await members(office, room) == ["Ada", "Grace", "Hedy"]
        # She is a member as before: a removal that was undone is forgotten.
        await office.chat.remove(office.hedy, room, office.hedy)
        await office.chat.add(office.grace, room, [office.hedy])
        assert [person.display_name for person in (await office.chat.get(office.ada, room)).invited] == ["Hedy"]


class TestReturning:
    @pytest.fixture
    async def left(self, office: Office, room: ConversationId) -> ConversationId:
        await office.chat.remove(office.grace, room, office.grace)
        office.heard(office.grace)
        office.heard(office.ada)
        return room

    async def test_who_left_is_asked_and_sees_nothing_before_accepting(self, office: Office, left: ConversationId) -> None:
        view = await office.chat.add(office.ada, left, [office.grace])
        assert [member.display_name for member in view.participants] == ["Ada"]
        assert [person.display_name for person in view.invited] == ["Grace"]
        [event] = office.heard(office.grace)
        assert event["type"] == "conversation.invited"
        assert event["invitation"]["invited_by"] == {"user_id": str(office.ada), "display_name": "Ada"}
        await office.say(office.ada, left, "come back")
        assert office.heard(office.grace) == []
        with pytest.raises(NotFound):
            await office.chat.timeline(office.grace, left, limit=10, after=None)
        found, after = await office.chat.invitations.list(office.grace, limit=10, after=None)
        assert ([invitation.conversation_id for invitation in found], after) == ([left], None)
        await office.chat.invitations.accept(office.grace, left)
        assert await members(office, left) == ["Ada", "Grace"]
        assert await office.chat.invitations.list(office.grace, limit=10, after=None) == ([], None)
        assert (await office.chat.get(office.ada, left)).invited == []

    async def test_asking_again_asks_once(self, office: Office, left: ConversationId) -> None:
        for _ in range(3):
            await office.chat.add(office.ada, left, [office.grace])
        assert len([event for event in office.heard(office.grace) if event["type"] == "conversation.invited"]) == 1

    async def test_who_declines_stays_away(self, office: Office, left: ConversationId) -> None:
        await office.chat.add(office.ada, left, [office.grace])
        await office.chat.invitations.decline(office.grace, left)
        await office.chat.invitations.decline(office.grace, left)
        assert (await office.chat.get(office.ada, left)).invited == []
        with pytest.raises(NotFound):
            await office.chat.invitations.accept(office.grace, left)

    async def test_an_owner_withdraws_an_invitation(self, office: Office, left: ConversationId) -> None:
        await office.chat.add(office.ada, left, [office.grace, office.hedy])
        with pytest.raises(Forbidden):
            await office.chat.remove(office.hedy, left, office.grace)
        await office.chat.remove(office.ada, left, office.grace)
        with pytest.raises(NotFound):
            await office.chat.invitations.accept(office.grace, left)

    async def test_no_one_returns_to_a_deleted_conversation(self, office: Office, left: ConversationId) -> None:
        await office.chat.add(office.ada, left, [office.grace])
        await office.chat.delete(office.ada, left)
        assert await office.chat.invitations.list(office.grace, limit=10, after=None) == ([], None)
        with pytest.raises(NotFound):
            await office.chat.invitations.accept(office.grace, left)

    async def test_no_one_accepts_for_another(self, office: Office, left: ConversationId) -> None:
        await office.chat.add(office.ada, left, [office.grace])
        for user_id in (office.ada, office.hedy):
            with pytest.raises(NotFound):
                await office.chat.invitations.accept(user_id, left)


class TestHistory:
    async def test_a_new_member_sees_what_comes_after_joining(self, office: Office, room: ConversationId) -> None:
        early = await office.chat.send(office.ada, room, "before")
        await office.chat.add(office.ada, room, [office.hedy])
        view = await office.chat.get(office.hedy, room)
        assert (view.last_message, view.unread_count) == (None, 0)
        assert await office.contents(office.hedy, room) == []
        with pytest.raises(NotFound):
            await office.chat.mark_read(office.hedy, room, early.message_id)
        await office.say(office.grace, room, "after")
        assert await office.contents(office.hedy, room) == ["after"]
        listed, _ = await office.chat.conversations(office.hedy, limit=10, after=None)
        assert listed[0].last_message is not None
        assert (listed[0].last_message.content, listed[0].unread_count) == ("after", 1)
        assert await office.contents(office.grace, room) == ["after", "before"]

    async def test_a_conversation_shows_everything_where_it_says_so(self, office: Office) -> None:
        made = await office.chat.create(office.ada, [office.grace], rules=Rules(history="all"))
        await office.say(office.ada, made.conversation_id, "before")
        await office.chat.add(office.ada, made.conversation_id, [office.hedy])
        assert await office.contents(office.hedy, made.conversation_id) == ["before"]
        # Changing the rule is for people who are added from then on.
        await office.chat.change(office.ada, made.conversation_id, rules=Rules(history="since_joining"))
        await office.chat.add(office.ada, made.conversation_id, [office.katherine])
        assert await office.contents(office.hedy, made.conversation_id) == ["before"]
        assert await office.contents(office.katherine, made.conversation_id) == []


class TestBlocking:
    async def test_a_direct_message_of_a_blocked_person_does_not_arrive(
        self, office: Office, blocks: Blocks, room: ConversationId
    ) -> None:
        await office.say(office.ada, room, "hello")
        await blocks.block(office.grace, office.ada)
        before = await office.chat.get(office.grace, room)
        office.heard(office.grace)
        await office.say(office.ada, room, "are you there?")
        assert office.heard(office.grace) == []
        assert await office.chat.get(office.grace, room) == before
        assert await office.contents(office.grace, room) == ["hello"]
        assert await office.contents(office.ada, room) == ["are you there?", "hello"]
        assert (await office.chat.get(office.ada, room)).last_message is not None
        await blocks.unblock(office.grace, office.ada)
        await office.say(office.ada, room, "now?")
        assert await office.contents(office.grace, room) == ["now?", "hello"]

    async def test_the_blocking_person_may_still_write(self, office: Office, blocks: Blocks, room: ConversationId) -> None:
        await blocks.block(office.grace, office.ada)
        await office.say(office.grace, room, "leave me alone")
        assert await office.contents(office.ada, room) == ["leave me alone"]

    async def test_a_shared_group_is_unaffected(self, office: Office, blocks: Blocks) -> None:
        made = await office.chat.create(office.ada, [office.grace, office.hedy])
        await blocks.block(office.grace, office.ada)
        office.heard(office.grace)
        await office.say(office.ada, made.conversation_id, "to all")
        assert [event["type"] for event in office.heard(office.grace)] == ["message.created"]
        assert await office.contents(office.grace, made.conversation_id) == ["to all"]

    @pytest.mark.parametrize("how", ["create", "add"])
    async def test_a_blocked_person_adds_to_nothing_that_is_shown(self, office: Office, blocks: Blocks, how: str) -> None:
        await blocks.block(office.grace, office.ada)
        if how == "create":
            made = await office.chat.create(office.ada, [office.grace, office.hedy])
        else:
            made = await office.chat.create(office.ada, [office.hedy])
            made = await office.chat.add(office.ada, made.conversation_id, [office.grace])
        room = made.conversation_id
        assert {member.display_name for member in made.participants} == {"Ada", "Grace", "Hedy"}
        await office.say(office.ada, room, "URGENT")
        await office.chat.rename(office.ada, room, "URGENT")
        assert office.heard(office.grace) == []
        assert await office.chat.conversations(office.grace, limit=10, after=None) == ([], None)
        for action in self._actions(office, room):
            with pytest.raises(NotFound):
                await action()
        await blocks.unblock(office.grace, office.ada)
        listed, _ = await office.chat.conversations(office.grace, limit=10, after=None)
        assert [(view.conversation_id, view.last_message, view.unread_count) for view in listed] == [(room, None, 0)]
        await office.say(office.hedy, room, "welcome")
        assert await office.contents(office.grace, room) == ["welcome"]

    def _actions(self, office: Office, room: ConversationId) -> list[Callable[[], Awaitable[object]]]:
        return [
            lambda: office.chat.get(office.grace, room),
            lambda: office.chat.timeline(office.grace, room, limit=10, after=None),
            lambda: office.chat.send(office.grace, room, "?"),
            lambda: office.chat.rename(office.grace, room, "?"),
            lambda: office.chat.remove(office.grace, room, office.grace),
        ]

    async def test_the_answers_of_a_blocked_person_are_those_of_any_other(self, office: Office, blocks: Blocks) -> None:
        await blocks.block(office.grace, office.ada)
        views = [await office.chat.create(office.ada, [other]) for other in (office.grace, office.hedy)]
        for view in views:
            await office.say(office.ada, view.conversation_id, "hello")
        seen = [await office.chat.get(office.ada, view.conversation_id) for view in views]
        blocked, other = [(len(view.participants), view.unread_count, view.invited, view.history) for view in seen]
        assert blocked == other

    async def test_an_invitation_of_a_blocked_person_is_not_shown(
        self, office: Office, blocks: Blocks, room: ConversationId
    ) -> None:
        await office.chat.remove(office.grace, room, office.grace)
        await blocks.block(office.grace, office.ada)
        office.heard(office.grace)
        view = await office.chat.add(office.ada, room, [office.grace])
        assert [person.display_name for person in view.invited] == ["Grace"]
        assert office.heard(office.grace) == []
        assert await office.chat.invitations.list(office.grace, limit=10, after=None) == ([], None)

    async def test_a_conversation_of_no_one_who_sees_it_is_deleted(self, office: Office, blocks: Blocks) -> None:
        await blocks.block(office.grace, office.ada)
        made = await office.chat.create(office.ada, [office.grace])
        await office.chat.remove(office.ada, made.conversation_id, office.ada)
        await blocks.unblock(office.grace, office.ada)
        assert await office.chat.conversations(office.grace, limit=10, after=None) == ([], None)


class TestBlockList:
    async def test_blocks_are_listed_in_pages_and_can_be_repeated(self, office: Office, blocks: Blocks) -> None:
        others = sorted([office.ada, office.hedy, office.katherine])
        for user_id in (*others, *others):
            await blocks.block(office.grace, user_id)
        first, after = await blocks.list(office.grace, limit=2, after=None)
        second, end = await blocks.list(office.grace, limit=2, after=after)
        assert ([person.user_id for person in first + second], end) == (others, None)
        await blocks.unblock(office.grace, office.ada)
        await blocks.unblock(office.grace, office.ada)
        assert office.ada not in [person.user_id for person in (await blocks.list(office.grace, limit=9, after=None))[0]]
        assert await blocks.list(office.ada, limit=9, after=None) == ([], None)

    async def test_oneself_and_strangers_are_not_blocked(self, office: Office, blocks: Blocks) -> None:
        with pytest.raises(Unprocessable):
            await blocks.block(office.ada, office.ada)
        with pytest.raises(NotFound):
            await blocks.block(office.ada, UserId(office.ids.new()))

    async def test_the_number_is_limited(self, office: Office, blocks: Blocks, monkeypatch: pytest.MonkeyPatch) -> None:
        async def full(*_: object) -> int:
            return MAX_BLOCKS

        monkeypatch.setattr(block_store, "count_blocks", full)
        with pytest.raises(TooManyBlocks):
            await blocks.block(office.ada, office.grace)
