"""What a ring costs and how long it takes, on SQLite and on PostgreSQL, beside a bare transaction of the same rows.

    uv run python bench/rings.py

Needs Debian's postgresql-15 (`tests/engines` installs it). A fresh server for each line, on a core of its own; driver, push service
and PostgreSQL share the other. Writes bench/results/<date>-rings.md and .json.
"""

import asyncio
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

import asyncpg  # type: ignore[import-untyped]
import msgspec
import uvloop
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.fakes.browser import Browser
from tests.fakes.postgres import running_postgres
from tests.fakes.provider import Answer, Provider, Request, listening
from tests.fakes.server import SECRET, ServerProcess

from alone import write
from secureconnect.load import InitiatesOptions, Report, run_initiates
from secureconnect.load.initiates import WARM_UP_CALLS
from secureconnect.load.one_call import Pair
from secureconnect.load.proc import cores, running_on
from secureconnect.load.report import quantile
from secureconnect.load.rest import Rest
from secureconnect.push.vapid import new_private_key
from secureconnect.store import open_database
from secureconnect.store.schema import migrate

DATABASES = ("sqlite", "postgresql")
RATE = 200.0
SECONDS = 10.0
PAIRS = 50
TABLES = ("calls", "call_participants", "messages")
"""What a call is written into, in the order in which the rows refer to each other; beside them its conversation's newest entry."""
OWN_IDS = {"calls": ("call_id",), "call_participants": ("call_id",), "messages": ("message_id", "call_id")}


class Tabs:
    """A closed tab for each callee: what was sent to it, and when it was there."""

    def __init__(self) -> None:
        self.provider = Provider(self._note)
        self.url = ""
        self._began: dict[UUID, float] = {}
        self._browsers: dict[str, Browser] = {}
        self._arrivals: list[tuple[float, Request]] = []

    async def prepare(self, rest: Rest, pairs: Sequence[Pair]) -> None:
        for number, pair in enumerate(pairs):
            browser = self._browsers[f"/{number}"] = Browser(f"{self.url}/{number}")
            body = {"platform": "web", "provider": "webpush", "subscription": browser.subscription()}
            await rest.call("PUT", f"/v1/devices/{pair.callee.device_id}", dict, token=pair.callee.token, body=body)

    def began(self, call_id: UUID, moment: float) -> None:
        self._began[call_id] = moment

    async def settle(self) -> None:
        """Until everything is there: every call began with a push, those of the warm-up too."""
        await self.provider.heard(len(self._began) + WARM_UP_CALLS * len(self._browsers))

    def latencies(self) -> dict[str, float]:
        """From initiate to the push at the provider. Read after the run: to open what was encrypted takes a millisecond."""
        first: dict[UUID, float] = {}
        for moment, request in self._arrivals:
            push = self._browsers[request.path].read(request.body)
            if push["type"] == "call.incoming":
                first.setdefault(UUID(push["call_id"]), moment)
        took = sorted(first[call_id] - began for call_id, began in self._began.items() if call_id in first)
        missing = len(self._began) - len(took)
        assert missing == 0, f"{missing} rings were not pushed"
        return {f"push_p{percent}_ms": quantile(took, percent / 100) * 1e3 for percent in (50, 99)}

    def _note(self, request: Request) -> Answer:
        self._arrivals.append((time.perf_counter(), request))
        return Answer(201)


@asynccontextmanager
async def server(database: str, folder: Path, stack: ExitStack) -> AsyncIterator[tuple[ServerProcess, str]]:
    """A fresh one on the first core, and where its database is."""
    settings = {"RATE_LIMITS": "off", "WEBPUSH_HOSTS": '["127.0.0.1"]', "VAPID_PRIVATE_KEY": new_private_key()}
    url = f"sqlite:///{folder / 'secureconnect.sqlite3'}"
    apart = cores()
    if database == "postgresql":
        with running_on(apart[1] if apart else None):
            settings["DATABASE_URL"] = url = stack.enter_context(running_postgres())
        schema = open_database(url)
        await migrate(schema)
        await schema.close()
    process = ServerProcess(folder, **settings)
    with running_on(apart[0] if apart else None):
        await process.start()
    try:
        with running_on(apart[1] if apart else None):
            yield process, url
    finally:
        await process.stop()


async def one(database: str, rate: float | None, *, with_tabs: bool, console: Console) -> Report:
    """One line of the table."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="secureconnect-bench-")))
        async with server(database, folder, stack) as (process, url):
            options = InitiatesOptions(
                url=process.url.replace("localhost", "127.0.0.1"),
                secret=SECRET,
                server_pid=process.pid,
                pairs=PAIRS,
                seconds=SECONDS,
                rate=rate,
            )
            tabs = Tabs()
            async with listening(tabs.provider) as tabs.url:
                report = await run_initiates(options, console, tabs if with_tabs else None)
            values = report.cases[0].values
            if with_tabs:
                values |= tabs.latencies()
            if rate is not None:
                values |= await bare(url, folder, rate)
            pushes = ", a push each" if with_tabs else ""
            return msgspec.structs.replace(report, what=f"{report.what}{pushes}", url=database)


async def bare(url: str, folder: Path, rate: float) -> dict[str, float]:
    """The same rows in one transaction, by the driver alone, at the same rate, while the server does nothing."""
    took = await (_bare_postgres(url, rate) if url.startswith("postgresql") else asyncio.to_thread(_bare_sqlite, folder, rate))
    took.sort()
    return {f"bare_p{percent}_ms": quantile(took, percent / 100) * 1e3 for percent in (50, 99)}


def _again(table: str, columns: Sequence[str], row: Sequence[Any], fresh: Mapping[str, Any]) -> list[Any]:
    """The row as it would be for another call."""
    return [fresh[name] if name in OWN_IDS[table] else value for name, value in zip(columns, row, strict=True)]


async def _bare_postgres(url: str, rate: float) -> list[float]:
    pool = await asyncpg.create_pool(url.replace("+asyncpg", ""), min_size=10, max_size=10)
    columns: dict[str, list[str]] = {}
    rows: dict[str, list[list[Any]]] = {}
    call_id = await pool.fetchval("SELECT call_id FROM calls LIMIT 1")
    for table in TABLES:
        found = await pool.fetch(f"SELECT * FROM {table} WHERE call_id = $1", call_id)
        columns[table], rows[table] = list(found[0].keys()), [list(row) for row in found]
    texts = {
        table: f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(f'${place}' for place in range(1, len(names) + 1))})"
        for table, names in columns.items()
    }
    conversation_id = rows["calls"][0][columns["calls"].index("conversation_id")]
    took: list[float] = []

    async def transaction(due: float) -> None:
        await asyncio.sleep(due - time.perf_counter())
        fresh = {"call_id": uuid4(), "message_id": uuid4()}
        async with pool.acquire() as connection, connection.transaction(isolation="read_committed"):
            for table in TABLES:
                await connection.executemany(texts[table], [_again(table, columns[table], row, fresh) for row in rows[table]])
            touch = "UPDATE conversations SET last_activity_id = $1 WHERE conversation_id = $2"
            await connection.execute(touch, fresh["message_id"], conversation_id)
        took.append(time.perf_counter() - due)

    began = time.perf_counter() + 0.1
    await asyncio.gather(*(transaction(began + number / rate) for number in range(int(SECONDS / 2 * rate))))
    await pool.close()
    return took


def _bare_sqlite(folder: Path, rate: float) -> list[float]:
    connection = sqlite3.connect(folder / "secureconnect.sqlite3", isolation_level=None)
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}")
    columns: dict[str, list[str]] = {}
    rows: dict[str, list[list[Any]]] = {}
    (call_id,) = connection.execute("SELECT call_id FROM calls LIMIT 1").fetchone()
    for table in TABLES:
        found = connection.execute(f"SELECT * FROM {table} WHERE call_id = ?", (call_id,))
        columns[table], rows[table] = [one[0] for one in found.description], [list(row) for row in found]
    texts = {table: f"INSERT INTO {table} VALUES ({', '.join('?' * len(names))})" for table, names in columns.items()}
    conversation_id = rows["calls"][0][columns["calls"].index("conversation_id")]
    took = []
    began = time.perf_counter() + 0.1
    for number in range(int(SECONDS / 2 * rate)):
        due = began + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        fresh = {"call_id": uuid4().hex, "message_id": uuid4().hex}
        connection.execute("BEGIN IMMEDIATE")
        for table in TABLES:
            connection.executemany(texts[table], [_again(table, columns[table], row, fresh) for row in rows[table]])
        touch = "UPDATE conversations SET last_activity_id = ? WHERE conversation_id = ?"
        connection.execute(touch, (fresh["message_id"], conversation_id))
        connection.execute("COMMIT")
        took.append(time.perf_counter() - due)
    connection.close()
    return took


async def main() -> None:
    console = Console(stderr=True)
    reports = [
        await one(database, rate, with_tabs=with_tabs, console=console)
        for database in DATABASES
        for rate, with_tabs in ((None, False), (RATE, False), (RATE, True), (RATE / 2, True))
    ]
    print(write("rings", reports).read_text(encoding="utf-8"))


if __name__ == "__main__":
    uvloop.run(main())
