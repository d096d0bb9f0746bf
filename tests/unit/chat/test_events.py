"""What members are told of a large conversation: little, and within a frame."""

import json

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.bus import user_topic
from secureconnect.chat.conversation import EVENT_MEMBERS, PREVIEW_CHARS
from secureconnect.chat.membership import MAX_MEMBERS
from secureconnect.chat.service import CONTENT_CHARS
from secureconnect.ids import UserId
from secureconnect.signaling.protocol import MAX_FRAME_BYTES
from secureconnect.store.accounts import User, insert_user
from secureconnect.text import TITLE_CHARS
from tests.unit.chat.conftest import Office

pytestmark = pytest.mark.anyio


async def crowd(office: Office, size: int) -> list[UserId]:
    people = [office.ids.user() for _ in range(size)]

    async def register(connection: AsyncConnection) -> None:
        for number, user_id in enumerate(people):
            await insert_user(connection, User(user_id, None, f"{number}".ljust(80, "👍")), office.clock.now())

    await office.database.transact(register)
    return people


async def test_an_event_about_the_largest_conversation_is_small(office: Office) -> None:
    others = await crowd(office, MAX_MEMBERS - 1)
    made = await office.chat.create(office.ada, others, "é" * TITLE_CHARS)
    content = '"' * CONTENT_CHARS
    await office.chat.send(office.ada, made.conversation_id, content)
    office.heard(office.ada)
    whole = await office.chat.rename(office.ada, made.conversation_id, '"' * TITLE_CHARS)
    [event] = office.heard(office.ada)
    assert len(json.dumps(event, ensure_ascii=False).encode()) < MAX_FRAME_BYTES / 3
    told = event["conversation"]
    assert (len(told["participants"]), told["member_count"], told["members_truncated"]) == (EVENT_MEMBERS, MAX_MEMBERS, True)
    assert told["last_message"]["content"] == '"' * PREVIEW_CHARS + "…"
    assert (len(whole.participants), whole.member_count, whole.members_truncated) == (MAX_MEMBERS, MAX_MEMBERS, False)
    assert whole.last_message is not None
    assert whole.last_message.content == content
    backlog = await office.bus.read(user_topic(others[0]), 0)
    assert backlog.head


async def test_a_message_of_the_largest_size_fits_into_a_frame(office: Office) -> None:
    made = await office.chat.create(office.ada, [office.grace])
    office.heard(office.grace)
    await office.chat.send(office.ada, made.conversation_id, '"' * (CONTENT_CHARS - 1) + "x")
    backlog = await office.bus.read(user_topic(office.grace))
    assert backlog.head
    [event] = office.heard(office.grace)
    assert len(json.dumps(event)) < MAX_FRAME_BYTES


async def test_a_conversation_of_few_is_told_whole(office: Office) -> None:
    others = await crowd(office, EVENT_MEMBERS - 1)
    made = await office.chat.create(office.ada, others)
    [event] = office.heard(office.ada)
    told = event["conversation"]
    assert [member["user_id"] for member in told["participants"]] == [str(member.user_id) for member in made.participants]
    assert (told["member_count"], told["members_truncated"]) == (EVENT_MEMBERS, False)
