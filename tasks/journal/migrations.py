"""The version of a journal's tables, and the migrations that bring an older journal up to it.

A migration only adds, because processes of the version before may have the journal open and must go on working. It is
written out here in full and never changed, because ``tables`` describes the tables only as they are today.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    insert,
    inspect,
    select,
)

from mediamill.tasks.errors import StorageError
from mediamill.tasks.journal.sql_dialect import lock_schema, upsert
from mediamill.tasks.journal.tables import meta, metadata, migrations

_VERSION_ROW = "format"
"""The row of ``meta`` that holds the version; every version of the program reads it."""


@dataclass(frozen=True, slots=True)
class Migration:
    """A step to ``version`` from the version before."""

    version: int
    apply: Callable[[Connection], None]


def _create_migrations_table(connection: Connection) -> None:
    """Add the table of migrations: when the journal came to which version, and by which program."""
    Table(
        "migrations",
        MetaData(),
        Column("version", Integer, primary_key=True, autoincrement=False),
        Column("applied_at", BigInteger, nullable=False),
        Column("program", Text, nullable=False),
    ).create(connection)


def _add_item_origin(connection: Connection) -> None:
    """Add to items the run that first saw each, and what was prepared and requested for it."""
    for column in (Column("first_run", String(48)), Column("preparation", LargeBinary)):
        type_name = column.type.compile(connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE items ADD COLUMN {column.name} {type_name}")


def _add_files_of_out(connection: Connection) -> None:
    """Add where each OUT was, when each part was last modified, and the other files that belong to an OUT."""
    for table, column in (("outs", Column("place", Text)), ("parts", Column("mtime_ns", BigInteger))):
        type_name = column.type.compile(connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column.name} {type_name}")
    Table(
        "documents",
        MetaData(),
        Column("out_id", String(32), primary_key=True),
        Column("path", Text, primary_key=True),
        Column("bytes", BigInteger, nullable=False),
        Column("sha256", String(64), nullable=False),
        Column("mtime_ns", BigInteger, nullable=False),
        Column("content", LargeBinary),
    ).create(connection)


def _add_file_names(connection: Connection) -> None:
    """Add the stem of each item's file names, the formats of an OUT's subtitles, and the files beside the sources."""
    for table, column in (("items", "file_stem"), ("items", "file_key"), ("outs", "formats")):
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column} TEXT")
    connection.exec_driver_sql("CREATE UNIQUE INDEX items_by_file_key ON items (out_id, file_key)")
    Table(
        "sidecars",
        MetaData(),
        Column("out_id", String(32), primary_key=True),
        Column("path", Text, primary_key=True),
        Column("item_id", Text, nullable=False),
        Column("sha256", String(64), nullable=False),
        Column("sha256_before", String(64)),
    ).create(connection)


def _add_worker(connection: Connection) -> None:
    """Add to Asks which worker process of its run claimed each."""
    connection.exec_driver_sql("ALTER TABLE asks ADD COLUMN worker INTEGER")


MIGRATIONS: tuple[Migration, ...] = (
    Migration(2, _create_migrations_table),
    Migration(3, _add_item_origin),
    Migration(4, _add_files_of_out),
    Migration(5, _add_file_names),
    Migration(6, _add_worker),
)
"""In order, without gaps."""
LATEST_VERSION = MIGRATIONS[-1].version
"""The version of the tables as they are today."""


def create_or_migrate(engine: Engine, where: str) -> None:
    """Create the tables of a new journal, or migrate an older one, in one transaction.

    Other processes that open the journal at the same time wait until this is done.

    Args:
        engine: of the writer.
        where: the journal's path or address, for messages.

    Raises:
        StorageError: when a newer program has written it.
    """
    with engine.begin() as connection:
        lock_schema(connection)
        stored = read_version(connection)
        check_version(stored, where)
        if stored is None:
            metadata.create_all(connection)
            _record_version(connection, _latest_version())
            return
        meta.create(connection, checkfirst=True)
        for migration in MIGRATIONS:
            if migration.version > stored:
                migration.apply(connection)
                _record_version(connection, migration.version)
        metadata.create_all(connection)  # tables added to version 1 without a version of their own


def read_version(connection: Connection) -> int | None:
    """The journal's version; None where there is no journal yet. A journal without a stored version has version 1."""
    tables = inspect(connection).get_table_names()
    if meta.name in tables:
        value = connection.execute(select(meta.c.value).where(meta.c.name == _VERSION_ROW)).scalar()
        if value is not None:
            return int(value)
    return 1 if "asks" in tables else None


def check_version(stored: int | None, where: str) -> None:
    """Refuse a journal that is newer than this program.

    Raises:
        StorageError: when ``stored`` is a later version than this program knows.
    """
    if stored is not None and stored > _latest_version():
        raise StorageError(
            f"{where}: was written by a newer mediamill (journal version {stored}; this one knows {_latest_version()})",
            hint="upgrade mediamill",
        )


def _latest_version() -> int:
    return MIGRATIONS[-1].version


def _record_version(connection: Connection, number: int) -> None:
    row = {"version": number, "applied_at": time.time_ns() // 1000, "program": version("mediamill")}
    connection.execute(insert(migrations), row)
    connection.execute(upsert(connection, meta, ("value",)), {"name": _VERSION_ROW, "value": str(number)})
