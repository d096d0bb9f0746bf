"""What commands share: common options, settings, the console, and the database they work on. Used by cli and its groups."""

from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import uvloop
from cyclopts import Parameter
from rich.console import Console

from secureconnect.config import ConfigurationError, Settings, load_settings
from secureconnect.ops.logging import set_up_logging
from secureconnect.store import Database, open_database
from secureconnect.store.probes import sqlite_file

T = TypeVar("T")
console = Console()

ConfigFile = Annotated[Path | None, Parameter(name="--config", help="A TOML file with settings.")]
DataDir = Annotated[Path | None, Parameter(help="Where the database and generated secrets live.")]
Json = Annotated[bool, Parameter(name="--json", help="The result as JSON on standard output.")]


def read_settings(config: Path | None, **overrides: Any) -> Settings:
    """Read the settings and set logging up by them. Raises ConfigurationError."""
    settings = load_settings(config, **overrides)
    set_up_logging(settings.log_level, settings.log_format)
    return settings


def ask_database(settings: Settings, ask: Callable[[Database], Awaitable[T]], *, may_begin: bool = False) -> T:
    """Run `ask` with the configured database, and close it.

    `may_begin`: also when the SQLite file is not there. Raises ConfigurationError when it is not and must be.
    """
    file = None if settings.is_database_shared else sqlite_file(settings.database)
    if file is not None and not file.exists() and not may_begin:
        raise ConfigurationError(f"there is no database at {file}: name the data_dir, or the database_url, that the server has")

    async def work() -> T:
        database = open_database(settings.database)
        try:
            return await ask(database)
        finally:
            await database.close()

    return run(work())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end."""
    return uvloop.run(work)
