"""People with devices, calls between them and the outbox, on a fresh SQLite file; senders that a test commands."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from secureconnect.accounts.devices import DeviceService, Platform, Registration
from secureconnect.accounts.revocations import Revocations
from secureconnect.accounts.ring_tokens import RingTokens
from secureconnect.bus.memory import MemoryBus
from secureconnect.calls.call import Call, CallType
from secureconnect.calls.receipt_book import ReceiptBook
from secureconnect.calls.service import CallService, InitiateRequest
from secureconnect.calls.traces import CallTraces
from secureconnect.chat.service import ChatService
from secureconnect.clock import Clock, SystemClock, unix_microseconds
from secureconnect.ids import ConversationId, DeviceId, IdFactory, NodeId, UserId
from secureconnect.keys import InternalKeys
from secureconnect.media.pool import JanusPool
from secureconnect.push import Delivered, Provider, Push, Sender, Verdict
from secureconnect.push.outbox import Outbox
from secureconnect.push.queue import PushQueue
from secureconnect.store import Database, open_database
from secureconnect.store.accounts import User, insert_user
from secureconnect.store.schema import migrate
from secureconnect.store.tables import pushes

SECRET = "a-secret-of-these-tests_" * 2

PATIENCE = 10.0
PROVIDERS = (Provider.LOG, Provider.FCM, Provider.APNS, Provider.APNS_VOIP)


def device_service(database: Database, clock: Clock, providers: Collection[Provider], **options: Any) -> DeviceService:
    """One whose revocations nobody hears of."""

    async def nobody(_user_id: UserId, _device_id: DeviceId) -> None:
        return

    bus = MemoryBus(clock)
    revocations = Revocations(database=database, bus=bus, clock=clock, lifetime=timedelta(minutes=15))
    return DeviceService(database, clock, providers, bus=bus, revocations=revocations, on_revoked=nobody, **options)


class Phone:
    """A sender that notes what it is given. `answer` decides what comes of it."""

    def __init__(self, answer: Callable[[Push], Verdict] = lambda _: Delivered()) -> None:
        self.answer = answer
        self.pushes: list[Push] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._heard = asyncio.Event()

    async def send(self, push: Push) -> Verdict:
        self.pushes.append(push)
        self._heard.set()
        await self.may_answer.wait()
        return self.answer(push)

    async def close(self) -> None:
        return

    @property
    def kinds(self) -> list[str]:
        return [str(push.kind) for push in self.pushes]

    async def heard(self, count: int) -> list[Push]:
        """Wait until so many came."""
        async with asyncio.timeout(PATIENCE):
            while len(self.pushes) < count:
                self._heard.clear()
                await self._heard.wait()
        return self.pushes


class Switchboard:
    """The services of one node."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock
        self.ids = IdFactory(lambda: unix_microseconds(clock.now()) // 1000, os.urandom)
        bus = MemoryBus(clock)
        self.outboxes: list[Outbox] = []
        self.chat = ChatService(database=database, bus=bus, ids=self.ids, clock=clock, on_member_removed=self._on_member_removed)
        self.devices = device_service(database, clock, PROVIDERS)
        self.receipts = ReceiptBook(database=database, bus=bus, clock=clock)
        self.traces = CallTraces(database)
        self.calls = CallService(
            database=database,
            bus=bus,
            ids=self.ids,
            clock=clock,
            node_id=NodeId(uuid4()),
            grace=timedelta(seconds=30),
            pushes=PushQueue(
                ids=self.ids,
                ring_tokens=RingTokens(secret=SECRET, keys=InternalKeys(SECRET), issuer="here", audience="here", clock=clock),
                wake=self._wake,
            ),
            receipts=self.receipts,
            sfu=JanusPool((), clock, key_of=lambda _name: b"", bitrate=0),
            sfu_capacity=32,
        )

    def _wake(self) -> None:
        for outbox in self.outboxes:
            outbox.wake()

    async def _on_member_removed(self, conversation_id: ConversationId, user_id: UserId) -> None:
        return

    async def person(self, name: str) -> UserId:
        user_id = self.ids.user()
        await self.database.transact(lambda connection: insert_user(connection, User(user_id, None, name), self.clock.now()))
        return user_id

    async def device(
        self, user_id: UserId, provider: Provider = Provider.LOG, device_id: UUID | None = None, *, platform: Platform = "ios"
    ) -> DeviceId:
        device = DeviceId(device_id or uuid4())
        await self.devices.put(user_id, device, Registration(platform, provider, token=os.urandom(32).hex()))
        return device

    async def ring(self, caller: UserId, *callees: UserId, seconds: float = 45) -> Call:
        conversation = await self.chat.create(caller, callees)
        return await self.ring_in(conversation.conversation_id, caller, *callees, seconds=seconds)

    async def ring_in(self, conversation_id: ConversationId, caller: UserId, *callees: UserId, seconds: float = 45) -> Call:
        request = InitiateRequest(conversation_id, CallType.VIDEO, callees, timedelta(seconds=seconds))
        return await self.calls.initiate(caller, request)

    async def rows(self) -> list[Row[Any]]:
        """The outbox, in the order it was filled."""

        async def work(connection: AsyncConnection) -> list[Row[Any]]:
            return list(await connection.execute(select(pushes).order_by(pushes.c.push_id)))

        return await self.database.read(work)

    async def outcomes(self, count: int) -> list[str]:
        """Wait until so many pushes are done; their outcomes, in the order they were queued."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = [row.outcome for row in await self.rows() if row.outcome]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def sending(self, senders: dict[Provider, Sender], **options: Any) -> AsyncIterator[Outbox]:
        """An outbox at work; cut off at the end, as when its process dies."""
        outbox = Outbox(
            database=self.database,
            clock=self.clock,
            node_id=NodeId(uuid4()),
            senders=senders,
            on_outcome=lambda _provider, _outcome: None,
            **options,
        )
        self.outboxes.append(outbox)
        running = asyncio.ensure_future(outbox.run())
        try:
            yield outbox
        finally:
            self.outboxes.remove(outbox)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await outbox.close()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = open_database(f"sqlite+aiosqlite:///{tmp_path / 'push.sqlite3'}")
    await migrate(database)
    yield database
    await database.close()


@pytest.fixture
def board(database: Database) -> Switchboard:
    return Switchboard(database, SystemClock())
