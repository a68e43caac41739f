"""Database errors as messages that say what is wrong and what to do."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from mediamill.tasks.errors import StorageError
from mediamill.tasks.system.os_errors import build_storage_error, find_open_files_error

_SQLITE_MESSAGES = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space, then run again: nothing is lost"),
    sqlite3.SQLITE_READONLY: ("the journal cannot be written", "check the folder's permissions and the mount"),
    sqlite3.SQLITE_CANTOPEN: ("the journal cannot be opened", "check the folder's permissions"),
    sqlite3.SQLITE_IOERR: ("the disk reports an error", "check the disk, then run again"),
    sqlite3.SQLITE_CORRUPT: ("the journal is damaged", "restore it from a copy; results already written are safe"),
    sqlite3.SQLITE_NOTADB: (
        "this is not a journal, or it is damaged",
        "restore it from a copy; results already written are safe",
    ),
    sqlite3.SQLITE_BUSY: ("another process keeps the journal locked", "end it, or run again later"),
}
_FORBIDDEN_SQLSTATES = ("42501", "25006")
"""PostgreSQL: insufficient privilege, read-only transaction."""


def to_storage_error(error: BaseException, where: str) -> StorageError | None:
    """A StorageError for an error of the disk or the database server; None for any other error."""
    if isinstance(error, StorageError):
        return error
    if isinstance(error, OSError):
        return build_storage_error(error, where)
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, sqlite3.Error):
        code = getattr(original, "sqlite_errorcode", -1) & 0xFF
        if code == sqlite3.SQLITE_CANTOPEN and (open_files_error := find_open_files_error()):
            return build_storage_error(open_files_error, where)
        return _build_error(where, *_SQLITE_MESSAGES[code]) if code in _SQLITE_MESSAGES else None
    if isinstance(error, DBAPIError) and getattr(original, "sqlstate", None) in _FORBIDDEN_SQLSTATES:
        return _build_error(
            where, f"the journal cannot be written: {_first_line(original)}", "grant the user its tables"
        )
    if isinstance(error, (OperationalError, InterfaceError)) and not is_retryable(error):
        hint = "check it, then run again: nothing is lost"
        if "password" in str(original):
            hint = "set PGPASSWORD or use a .pgpass file: no password is kept with OUT"
        return _build_error(where, f"the journal's server: {_first_line(original)}", hint)
    return None


def is_locked(error: BaseException) -> bool:
    """True when another process kept SQLite's write lock for as long as was waited for it."""
    original = error.orig if isinstance(error, DBAPIError) else None
    return getattr(original, "sqlite_errorcode", -1) & 0xFF == sqlite3.SQLITE_BUSY


def is_retryable(error: BaseException) -> bool:
    """True when the same transaction may succeed if tried again, as after a deadlock (PostgreSQL's error class 40)."""
    original = error.orig if isinstance(error, DBAPIError) else None
    return str(getattr(original, "sqlstate", None) or "").startswith("40")


def _first_line(error: BaseException | None) -> str:
    return next(iter(str(error).strip().splitlines()), "gave no reason")


def _build_error(where: str, what: str, hint: str) -> StorageError:
    return StorageError(f"{where}: {what}", hint=hint)
