"""The schema's version: bringing a database up to date, and asking whether it is.

Called by `secureconnect migrate`, by `serve` for its own SQLite file, and by health.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from secureconnect.store import Database


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


async def migrate(database: Database, *, to: str = "head") -> str:
    """Create or upgrade the schema; doing it twice changes nothing. Returns the revision that this program needs."""

    def upgrade(connection: Connection) -> None:
        config = _config()
        config.attributes["connection"] = connection
        config.attributes["revision_before"] = MigrationContext.configure(connection).get_current_revision()
        command.upgrade(config, to)

    await database.run_sync(upgrade)
    return wanted_revision()


async def current_revision(database: Database) -> str | None:
    """The revision the database is at, or None before the first migration."""
    return await database.run_sync(lambda connection: MigrationContext.configure(connection).get_current_revision())


def wanted_revision() -> str:
    """The revision this program needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head
