"""What SQLite and PostgreSQL write differently, and what both limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, func, select
from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")

_SCHEMA_LOCK = 0x6D65646961  # "media": any number that no other user of the database takes
_MAX_IN_VALUES = 500


def _insert(connection: Connection, table: Table) -> Any:
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


def insert_if_absent(connection: Connection, table: Table, key: str, rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Insert the rows whose primary key ``key`` is not in the table yet; the keys that were inserted.

    A row that another transaction inserts at the same moment is waited for and then left as it is.
    """
    statement = _insert(connection, table).on_conflict_do_nothing().returning(table.c[key])
    return set(connection.execute(statement, list(rows)).scalars())


def split_values(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Values in chunks that one ``IN (...)`` may hold, whatever the database's limit of bound values."""
    for start in range(0, len(values), _MAX_IN_VALUES):
        yield values[start : start + _MAX_IN_VALUES]


def lock_schema(connection: Connection) -> None:
    """Keep others from creating or checking the tables until this transaction ends. SQLite has one writer anyway."""
    if connection.dialect.name != "sqlite":
        connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))


def upsert(connection: Connection, table: Table, columns: Sequence[str]) -> Any:
    """A statement that inserts rows; where the primary key exists already, it replaces ``columns``."""
    statement = _insert(connection, table)
    replaced = {name: statement.excluded[name] for name in columns}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=replaced)
