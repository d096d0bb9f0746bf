"""Many push services, one of them silent: each has its own places, and what one was given does not hold up the others."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from secureconnect.clock import SystemClock
from secureconnect.ids import DeviceId, UserId
from secureconnect.push import Provider as By
from secureconnect.push.outbox import CONCURRENCY
from secureconnect.push.vapid import VapidKey, new_private_key
from secureconnect.push.webpush import WebPushSender
from secureconnect.store import Database, open_database
from secureconnect.store.devices import Device, put_device
from secureconnect.store.schema import migrate
from tests.contract.test_store import empty_postgres_database, postgres  # noqa: F401  (a fixture)
from tests.fakes.browser import Browser
from tests.fakes.provider import Answer, Provider, listening
from tests.unit.push.conftest import Switchboard

pytestmark = pytest.mark.anyio
WAITING = 16
"""Pushes for the silent service beyond those that it may have."""


@pytest.fixture(params=["sqlite", "postgresql"])
async def board(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Switchboard]:
    if request.param == "sqlite":
        database = open_database(f"sqlite+aiosqlite:///{tmp_path / 'one'}")
        await migrate(database)
        yield Switchboard(database, SystemClock())
        await database.close()
        return
    async with empty_postgres_database(request.getfixturevalue("postgres")) as url:
        database = open_database(url)
        await migrate(database)
        yield Switchboard(database, SystemClock())
        await database.close()


async def tab(database: Database, user_id: UserId, url: str) -> None:
    """A browser of this person with a subscription there."""
    now = SystemClock().now()
    device = Device(user_id, DeviceId(uuid4()), By.WEBPUSH, "web", json.dumps(Browser(url).subscription()), now, now)
    await database.transact(lambda connection: put_device(connection, device))


async def test_a_silent_push_service_delays_no_other(board: Switchboard) -> None:
    may_answer = asyncio.Event()
    silent, awake = Provider(lambda _: Answer(201, after=may_answer)), Provider(lambda _: Answer(201))
    ada, ben, cleo = await board.person("Ada"), await board.person("Ben"), await board.person("Cleo")
    sender = WebPushSender(VapidKey(new_private_key(), "mailto:ops@example.com"), board.clock)
    async with listening(silent) as silent_url, listening(awake) as awake_url, board.sending({By.WEBPUSH: sender}):
        for number in range(CONCURRENCY + WAITING):
            await tab(board.database, ben, f"{silent_url}/{number}")
        await tab(board.database, cleo, f"{awake_url}/cleo")
        await board.ring(ada, ben)
        await silent.heard(CONCURRENCY)
        await board.ring(ada, cleo)
        await awake.heard(1)
        assert await board.outcomes(1) == ["delivered"]
        attempts = sorted(row.attempts for row in await board.rows() if row.user_id == ben)
        # None was given up to make room, and none was taken that there was no room for.
        assert attempts == [0] * WAITING + [1] * CONCURRENCY
        assert len(silent.requests) == CONCURRENCY
        may_answer.set()
        await silent.heard(CONCURRENCY + WAITING)
        assert set(await board.outcomes(CONCURRENCY + WAITING + 1)) == {"delivered"}
    assert len({request.path for request in silent.requests}) == len(silent.requests) == CONCURRENCY + WAITING
