"""The few places where SQLite and PostgreSQL say the same thing differently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def _insert(connection: Connection, table: Table) -> Any:
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


def insert_or_ignore(connection: Connection, table: Table) -> Any:
    """Insert rows; those whose primary key exists already stay as they are."""
    return _insert(connection, table).on_conflict_do_nothing()


def upsert(connection: Connection, table: Table, columns: Sequence[str]) -> Any:
    """Insert rows; of those whose primary key exists already, replace ``columns``."""
    statement = _insert(connection, table)
    changed = {name: statement.excluded[name] for name in columns}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changed)
