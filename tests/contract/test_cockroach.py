"""What can be said of CockroachDB without one: its dialect takes every migration, and nothing here asks for what it does not have.

That it takes the statements of the services and all prepared ones is in test_store.
"""

import pkgutil
import re
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy_cockroachdb.asyncpg import CockroachDBDialect_asyncpg  # type: ignore[import-untyped]

from secureconnect import store
from secureconnect.store import BEGIN, prepared
from secureconnect.store.migrations import versions
from secureconnect.store.tables import metadata

LACKING = re.compile(
    r"\b(pg_(?:try_)?advisory\w*|LISTEN|NOTIFY|DEFERRABLE|LOCK TABLE|EXCLUDE USING|CREATE EXTENSION|SERIAL|nextval|TABLESAMPLE)\b"
)
"""Features of PostgreSQL that CockroachDB has not, or has as a stub that pretends: sessions' advisory locks are one."""
DIALECT = CockroachDBDialect_asyncpg()


def migrations() -> str:
    """Every statement of every migration, as it would be sent."""
    sent = StringIO()
    context = MigrationContext.configure(dialect=DIALECT, opts={"as_sql": True, "output_buffer": sent})
    with Operations.context(context):
        for name in sorted(one.name for one in pkgutil.iter_modules(versions.__path__)):
            import_module(f"{versions.__name__}.{name}").upgrade()
    return sent.getvalue()


def test_it_takes_every_migration() -> None:
    sql = migrations()
    assert not [table.name for table in metadata.sorted_tables if f"CREATE TABLE {table.name}" not in sql]
    assert not LACKING.findall(sql)


@pytest.mark.parametrize("module", [one.name for one in pkgutil.iter_modules(store.__path__) if not one.ispkg])
def test_no_statement_asks_for_what_it_lacks(module: str) -> None:
    source = Path(next(iter(store.__path__)), f"{module}.py").read_text(encoding="utf-8")
    sent = [
        one.statement.compile(dialect=DIALECT).string
        for one in vars(import_module(f"{store.__name__}.{module}")).values()
        if isinstance(one, prepared.Prepared)
    ]
    assert not [found for text in (source, *sent) for found in LACKING.findall(text)]


def test_every_transaction_there_is_serializable() -> None:
    """Its manual (v26.1) knows two levels, SERIALIZABLE and READ COMMITTED; what it makes of another is its own affair."""
    assert all("SERIALIZABLE" in begin for begin in BEGIN["cockroachdb"].values())
