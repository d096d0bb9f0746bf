"""Statements of the hot path: written in SQLAlchemy like all others, compiled once, run on the driver as they are.

Called by the other modules of this room. To build a statement anew and let SQLAlchemy run it costs ten times what the driver takes
(docs/decisions.md, "Prepared statements"); what a call's commands need is prepared, what people ask now and then is not.
"""

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

import aiosqlite
from sqlalchemy import BindParameter, Delete, Dialect, Insert, Select, Update, bindparam
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.visitors import iterate, replacement_traverse

Statement = Select[Any] | Insert | Update | Delete
Processor = Callable[[Any], Any] | None


class SqliteConnection(aiosqlite.Connection):
    """One that can also be used from the event loop: rows of a call are in memory, and a change of threads costs more than they do.

    What waits (for the write lock, for the disk) still runs in the connection's own thread.
    """

    def __init__(self, path: str) -> None:
        super().__init__(self._open, iter_chunk_size=64)
        self._path = path
        self._thread.daemon = True
        self.here: sqlite3.Connection

    def _open(self) -> sqlite3.Connection:
        self.here = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        return self.here


class ServerConnection(Protocol):
    """What is asked of asyncpg's connection, which prepares a text once and keeps it."""

    async def fetch(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]: ...

    async def execute(self, query: str, *arguments: Any) -> str: ...

    async def executemany(self, command: str, arguments: list[list[Any]]) -> None: ...


Driver = ServerConnection | SqliteConnection


def driver_of(connection: AsyncConnection) -> Driver:
    """What the transaction runs on, below SQLAlchemy."""
    proxied = connection.sync_connection
    assert proxied is not None
    return cast(Driver, proxied.connection.driver_connection)


def given(name: str, *, many: bool = False) -> BindParameter[Any]:
    """A value that comes with each run, of the type of what it is compared with; with `many`, a list for `in_`."""
    return bindparam(name, required=False, expanding=many)


class Prepared:
    """One statement. A run gives its `given` values, and for an insert its columns, by name."""

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self._lists = [one.key for one in iterate(statement) if isinstance(one, BindParameter) and _is_list(one)]
        self._compiled: dict[tuple[str, tuple[int, ...]], _Compiled] = {}

    async def all(self, connection: AsyncConnection, **values: Any) -> list[Any]:
        """The rows, with their columns as attributes."""
        compiled, values = self._for(connection, values)
        driver, arguments = driver_of(connection), compiled.arguments(values)
        if isinstance(driver, SqliteConnection):
            return [compiled.row(row) for row in driver.here.execute(compiled.sql, arguments)]
        return [compiled.row(row) for row in await driver.fetch(compiled.sql, *arguments)]

    async def run(self, connection: AsyncConnection, **values: Any) -> int:
        """How many rows were written."""
        compiled, values = self._for(connection, values)
        driver, arguments = driver_of(connection), compiled.arguments(values)
        if isinstance(driver, SqliteConnection):
            return driver.here.execute(compiled.sql, arguments).rowcount
        # The command tag: INSERT 0 1, UPDATE 1, DELETE 1 (PostgreSQL's protocol, CommandComplete).
        return int((await driver.execute(compiled.sql, *arguments)).rpartition(" ")[2])

    async def run_each(self, connection: AsyncConnection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Once for each of `rows`, in one round trip."""
        compiled, _ = self._for(connection, {})
        driver, arguments = driver_of(connection), [compiled.arguments(row) for row in rows]
        if isinstance(driver, SqliteConnection):
            driver.here.executemany(compiled.sql, arguments)
        else:
            await driver.executemany(compiled.sql, arguments)

    def compile(self, dialect: Dialect, lengths: Sequence[int] = ()) -> "_Compiled":
        """For this dialect, with lists of so many values; of one each when nothing is said."""
        return _Compiled(self.statement, dialect, dict(zip(self._lists, lengths or [1] * len(self._lists), strict=True)))

    def _for(self, connection: AsyncConnection, values: dict[str, Any]) -> tuple["_Compiled", dict[str, Any]]:
        lists = {name: _padded(list(values[name])) for name in self._lists}
        lengths = tuple(map(len, lists.values()))
        key = connection.dialect.name, lengths
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = self._compiled[key] = self.compile(connection.dialect, lengths)
        for name, value in lists.items():
            values |= {f"{name}_{place}": one for place, one in enumerate(value, 1)}
        return compiled, values


def _is_list(value: BindParameter[Any]) -> bool:
    return value.expanding and value.value is None


def _padded(values: list[Any]) -> list[Any]:
    """To the next power of two, by repeating the last: a few shapes of a statement instead of one for every length."""
    assert values, "an empty list finds nothing; do not ask"
    return values + values[-1:] * ((1 << (len(values) - 1).bit_length()) - len(values))


class _Compiled:
    """For one dialect: the text, and what turns values into the driver's and rows into ours."""

    def __init__(self, statement: Statement, dialect: Dialect, lengths: Mapping[str, int]) -> None:

        def long_enough(element: Any, **_: Any) -> Any:
            if isinstance(element, BindParameter) and _is_list(element):
                return bindparam(element.key, [None] * lengths[element.key], type_=element.type, expanding=True)
            return None

        whole = cast(Statement, replacement_traverse(statement, {}, long_enough))
        compiled = whole.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        of_list = {f"{name}_{place}": name for name, length in lengths.items() for place in range(1, length + 1)}
        self.sql = str(compiled)
        self._constants: dict[str, Any] = dict(compiled.params)
        self._arguments: list[tuple[str, Processor]] = []
        for name in cast("list[str]", compiled.positiontup):
            bound = compiled.binds.get(of_list.get(name, name))
            self._arguments.append((name, bound.type.dialect_impl(dialect).bind_processor(dialect) if bound is not None else None))
        columns = statement.exported_columns
        self._results: list[Processor] = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        self._make: Callable[[Iterable[Any]], Any] = namedtuple("Row", [one.key for one in columns])._make  # type: ignore[misc,attr-defined]
        self._is_plain = not any(self._results)

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """In the order of the text's places."""
        constants = self._constants
        return [
            (value if process is None else process(value))
            for name, process in self._arguments
            for value in (values[name] if name in values else constants[name],)
        ]

    def row(self, row: Iterable[Any]) -> Any:
        if self._is_plain:
            return self._make(row)
        return self._make(value if process is None else process(value) for value, process in zip(row, self._results, strict=True))
