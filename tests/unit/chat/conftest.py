"""A chat service on a fresh SQLite file, with four users, a clock that the test moves, and an ear at everybody's topic."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.bus import Deliver, Entry, user_topic
from secureconnect.bus.memory import MemoryBus
from secureconnect.chat.service import ChatService
from secureconnect.ids import ConversationId, IdFactory, UserId
from secureconnect.store import Database, open_database
from secureconnect.store.accounts import User, insert_user
from secureconnect.store.schema import migrate
from tests.fakes.clock import START, ManualClock


class Office:
    """The service under test, the people who use it, and what came of it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = ManualClock()
        self.ids = IdFactory(self.clock.now_ms, os.urandom)
        self.bus = MemoryBus(self.clock)
        self.chat = ChatService(
            database=database, bus=self.bus, ids=self.ids, clock=self.clock, on_member_removed=self._on_member_removed
        )
        self.ada, self.grace, self.hedy, self.katherine = (self.ids.user() for _ in range(4))
        self.removed: list[tuple[ConversationId, UserId]] = []
        self._heard: dict[UserId, list[dict[str, Any]]] = {user_id: [] for user_id in self.people}

    async def open(self) -> None:
        """Register the people and listen to what their devices are told."""

        async def register(connection: AsyncConnection) -> None:
            for user_id, name in self.people.items():
                await insert_user(connection, User(user_id, None, name), START)

        await self.database.transact(register)
        for user_id in self.people:
            await self.bus.subscribe(user_topic(user_id), self._ear(user_id))
        self.clock.advance(1)

    @property
    def people(self) -> dict[UserId, str]:
        return {self.ada: "Ada", self.grace: "Grace", self.hedy: "Hedy", self.katherine: "Katherine"}

    def heard(self, user_id: UserId) -> list[dict[str, Any]]:
        """What this user's devices were told since the last time somebody asked."""
        events = list(self._heard[user_id])
        self._heard[user_id].clear()
        return events

    async def say(self, user_id: UserId, conversation_id: ConversationId, *contents: str) -> None:
        """Write some messages, each a second after the one before."""
        for content in contents:
            self.clock.advance(1)
            await self.chat.send(user_id, conversation_id, content)

    async def contents(self, user_id: UserId, conversation_id: ConversationId) -> list[str]:
        messages, _ = await self.chat.timeline(user_id, conversation_id, limit=100, after=None)
        return [message.content for message in messages]

    def _ear(self, user_id: UserId) -> Deliver:
        def deliver(entry: Entry) -> None:
            self._heard[user_id].append(json.loads(entry.body))

        return deliver

    async def _on_member_removed(self, conversation_id: ConversationId, user_id: UserId) -> None:
        self.removed.append((conversation_id, user_id))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = open_database(f"sqlite+aiosqlite:///{tmp_path / 'chat.sqlite3'}")
    await migrate(database)
    yield database
    await database.close()


@pytest.fixture
async def office(database: Database) -> Office:
    office = Office(database)
    await office.open()
    return office
