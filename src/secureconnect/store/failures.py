"""What a failure of the database means: a lost race, a state that passes, or a fault of our own statement.

Judges by class of SQLSTATE (PostgreSQL, appendix A) and by result code of SQLite, not by single errors: a failover shows in many.
"""

import sqlite3
from collections.abc import Iterator

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy.exc import InterfaceError, OperationalError

RETRYABLE = frozenset({"40001", "40P01", "23505"})
"""SQLSTATEs after which the whole transaction is run again: serialization_failure (normal on CockroachDB), deadlock_detected, and
unique_violation: our transactions look before they insert, so the second run finds what the first ran into and says so in words."""
OURS = ("20", "21", "22", "23", "27", "38", "39", "42", "44", "P0")
"""Classes of SQLSTATEs that speak of a statement or its data. All others speak of the server or of the connection: read-only
(25006), a hot standby (0A000), a server that starts, stops, is full, has other users or lacks the database."""
DENIED = "42501"
"""insufficient_privilege: in the class of wrong statements, and yet the server's state: ours are the same on every server."""
FULL = "53"
CANCELED = "57014"
UNDECIDED = ("08", "57", "58", "XX", "40003")
"""SQLSTATEs with which a COMMIT may fail that was carried out. Any other says that it was not."""
SQLITE_PASSES = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_NOTADB,
    }
)
"""Primary result codes of SQLite that speak of the file, the disk or another process (sqlite.org/rescode.html)."""
SQLITE_UNDONE = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL}
)
"""Those with which a COMMIT fails before its last page is written. After an I/O error it may still be found on the disk."""
SQLITE_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_IOERR})
CONNECTION_FAILURES = (
    OperationalError,
    InterfaceError,
    asyncpg.InterfaceError,
    # Between the server's last word and the end of the connection asyncpg takes statements and finds itself in no state for them.
    asyncpg.InternalClientError,
    sqlite3.OperationalError,
)
"""What SQLAlchemy, and the drivers by themselves, raise for a connection that is no more or a file that cannot be had."""


def sqlstate_of(failure: BaseException) -> str:
    """Return the SQLSTATE of a failed statement or of a refused connection; empty if there is none."""
    return getattr(getattr(failure, "orig", failure), "sqlstate", None) or ""


def lost_a_race(failure: BaseException) -> bool:
    """Tell whether the transaction may succeed if it is run again at once."""
    return sqlstate_of(failure) in RETRYABLE


def is_temporary(failure: BaseException) -> bool:
    """Tell whether time or another connection may heal it. Anything else is a fault of ours, or what the work itself raised."""
    if isinstance(failure, OSError | TimeoutError):
        return True
    state = sqlstate_of(failure)
    if state:
        return state not in RETRYABLE and (not state.startswith(OURS) or state == DENIED)
    if _sqlite_code_of(failure) in SQLITE_PASSES or getattr(failure, "connection_invalidated", False):
        return True
    return any(isinstance(cause, CONNECTION_FAILURES) for cause in _causes_of(failure))


def is_of_the_server(failure: BaseException) -> bool:
    """Tell whether other connections may lead to a server that works again, so that none that is open is kept.

    A server that is full or busy, or that canceled one statement, is the right one.
    """
    state = sqlstate_of(failure)
    return bool(state) and is_temporary(failure) and not state.startswith((FULL, CANCELED))


def is_refusal(failure: BaseException) -> bool:
    """Tell whether the store itself said that it takes no changes now, and not one connection to it that broke."""
    state, code = sqlstate_of(failure), _sqlite_code_of(failure)
    if state:
        return is_temporary(failure) and not state.startswith(("08", CANCELED))
    return code in SQLITE_PASSES and code not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT)


def is_full(failure: BaseException) -> bool:
    """Tell whether the store lacks room, memory or connections: a small change may fit where others do not."""
    return sqlstate_of(failure).startswith(FULL) or _sqlite_code_of(failure) in SQLITE_FULL


def is_undone(failure: BaseException) -> bool:
    """Tell whether a transaction whose COMMIT failed so has certainly changed nothing."""
    state = sqlstate_of(failure)
    if state:
        return not state.startswith(UNDECIDED)
    return _sqlite_code_of(failure) in SQLITE_UNDONE


def _causes_of(failure: BaseException) -> Iterator[BaseException]:
    """Yield the failure, what SQLAlchemy wrapped, and what its adapter wrapped in turn."""
    yield failure
    wrapped = getattr(failure, "orig", None)
    if wrapped is not None:
        yield wrapped
        if wrapped.__cause__ is not None:
            yield wrapped.__cause__


def _sqlite_code_of(failure: BaseException) -> int | None:
    """Return the primary result code, which is the low byte of an extended one."""
    codes = (getattr(cause, "sqlite_errorcode", None) for cause in _causes_of(failure))
    return next((code & 0xFF for code in codes if code is not None), None)
