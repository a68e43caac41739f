"""The few places where SQLite and PostgreSQL say the same thing differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, func, select
from sqlalchemy.dialects import postgresql, sqlite

_SCHEMA_LOCK = 0x6D65646961  # "media": any number that nobody else who uses the database takes


def _insert(connection: Connection, table: Table) -> Any:
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


def insert_if_absent(connection: Connection, table: Table, key: str, rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Insert the rows whose primary key ``key`` is not there yet; the keys that were inserted.

    A row that another transaction inserts at the same moment is waited for, then stays as it is.
    """
    statement = _insert(connection, table).on_conflict_do_nothing().returning(table.c[key])
    return set(connection.execute(statement, list(rows)).scalars())


def lock_schema(connection: Connection) -> None:
    """Let nobody else make or check the tables until this transaction ends. SQLite's writers are alone as it is."""
    if connection.dialect.name != "sqlite":
        connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))


def upsert(connection: Connection, table: Table, columns: Sequence[str]) -> Any:
    """Insert rows; of those whose primary key exists already, replace ``columns``."""
    statement = _insert(connection, table)
    replaced = {name: statement.excluded[name] for name in columns}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=replaced)
