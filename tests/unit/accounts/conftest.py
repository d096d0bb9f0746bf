"""An account service on a fresh SQLite file, with cheap hashes and a clock that the test moves."""

import os
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import argon2
import httpx2
import pytest

from secureconnect.accounts.credentials import PasswordHasher, TokenIssuer
from secureconnect.accounts.registration import Registration
from secureconnect.accounts.revocations import Revocations
from secureconnect.accounts.service import AccountService
from secureconnect.accounts.verification import TokenVerifier
from secureconnect.bus.memory import MemoryBus
from secureconnect.ids import IdFactory
from secureconnect.store import Database, open_database
from secureconnect.store.schema import migrate
from tests.fakes.clock import ManualClock

SECRET = "a secret of the tests, longer than thirty-two characters"
ISSUER = "secureconnect"
AUDIENCE = "secureconnect-tests"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def ids(clock: ManualClock) -> IdFactory:
    return IdFactory(clock.now_ms, os.urandom)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = open_database(f"sqlite+aiosqlite:///{tmp_path / 'accounts.sqlite3'}")
    await migrate(database)
    yield database
    await database.close()


@pytest.fixture
def passwords() -> PasswordHasher:
    return PasswordHasher(argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    """A client whose every request fails: nothing here may ask the network."""

    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise AssertionError(f"nobody should ask {request.url}")

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(refuse)) as client:
        yield client


@pytest.fixture
def issuer() -> TokenIssuer:
    return TokenIssuer(secret=SECRET, issuer=ISSUER, audience=AUDIENCE, lifetime=timedelta(minutes=15))


MakeService = Callable[[Database], AccountService]


@pytest.fixture
def make_service(
    ids: IdFactory, clock: ManualClock, passwords: PasswordHasher, issuer: TokenIssuer, http: httpx2.AsyncClient
) -> MakeService:
    """Makes one more node's service on a database: what it remembers starts empty."""

    def make(database: Database) -> AccountService:
        return AccountService(
            database=database,
            ids=ids,
            clock=clock,
            passwords=passwords,
            issuer=issuer,
            verifier=TokenVerifier(secret=SECRET, issuer=ISSUER, audience=AUDIENCE, outside={}, http=http, clock=clock),
            refresh_lifetime=timedelta(days=30),
            revocations=Revocations(database=database, bus=MemoryBus(clock), clock=clock, lifetime=timedelta(minutes=15)),
            registration=Registration(database, clock, "open", "application", demo=False),
        )

    return make


@pytest.fixture
def accounts(make_service: MakeService, database: Database) -> AccountService:
    return make_service(database)
