"""Results in one file: CSV, JSON lines or Parquet; a row an item, or a row for each member of a list."""

from __future__ import annotations

import csv
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mediamill.tasks.errors import NoSuchOption, StorageError, UsageError

_ROWS = 1024
_PREFERRED = ("ranking", "segments")
SUFFIXES = (".csv", ".jsonl", ".parquet")


def export(out: Path, to: Path, *, columns: Sequence[str] = (), long: str | None = None) -> int:
    """Write every result of OUT to one file, whole or not at all.

    Args:
        out: a folder of results.
        to: the file; its suffix says the format.
        columns: which, in this order; all of them where none is named. With ``long`` after the list is taken apart.
        long: a column of lists; each member gets a row, beside the item's other columns. ``""`` takes the list that
            is meant: ``ranking``, ``segments``, or the only one there is.

    Returns:
        How many rows were written.

    Raises:
        UsageError: when OUT has no results, the format is not known, or a column is not there.
        StorageError: when the file cannot be written.
    """
    if to.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{to}: the format is not known", hint=f"end the name in {', '.join(SUFFIXES)}")
    parts = sorted((out / "results").glob("part-*.parquet"))
    if not parts:
        raise UsageError(f"{out} has no results", hint="name the folder of a run that has finished something")
    schema = pa.unify_schemas([pq.read_schema(part) for part in parts])
    listed = None if long is None else _list_column(schema, long)
    shape = schema if listed is None else _long_schema(schema, listed)
    for name in columns:
        if name not in shape.names:
            raise NoSuchOption("column", name, shape.names, where=str(out))
    chosen = pa.schema([shape.field(name) for name in columns]) if columns else shape
    tables = _tables(parts, schema, listed, chosen)
    aside = to.with_name(f".{to.name}.{uuid.uuid4().hex[:8]}")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        count = _write(aside, to.suffix.lower(), tables, chosen)
        aside.replace(to)
    except OSError as error:
        raise StorageError(f"{to}: {error.strerror or error}", hint="choose another --to") from None
    finally:
        aside.unlink(missing_ok=True)
    return count


def _tables(parts: Sequence[Path], schema: pa.Schema, listed: str | None, chosen: pa.Schema) -> Iterator[pa.Table]:
    """Results a few at a time, in the order of the source within each part."""
    for part in parts:
        for batch in pq.ParquetFile(part).iter_batches(_ROWS):
            table = pa.Table.from_batches([batch])
            missing = [name for name in schema.names if name not in table.column_names]
            for name in missing:
                table = table.append_column(schema.field(name), pa.nulls(len(table), schema.field(name).type))
            table = table.select(schema.names)
            yield (table if listed is None else _long(table, listed)).select(chosen.names)


def _list_column(schema: pa.Schema, asked: str) -> str:
    lists = [field.name for field in schema if pa.types.is_list(field.type)]
    if asked:
        if asked not in lists:
            raise NoSuchOption("column of lists", asked, lists)
        return asked
    structs = [name for name in lists if pa.types.is_struct(schema.field(name).type.value_type)]
    meant = next((name for name in _PREFERRED if name in structs), structs[0] if len(structs) == 1 else None)
    if meant is None:
        raise UsageError(
            "which list is to be taken apart?", hint=f"say --long with one of: {', '.join(lists) or 'none'}"
        )
    return meant


def _long_schema(schema: pa.Schema, listed: str) -> pa.Schema:
    rest = [field for field in schema if field.name != listed]
    return pa.schema([*rest, *_members(schema, listed)])


def _members(schema: pa.Schema, listed: str) -> list[pa.Field]:
    """Columns of a list's members; one whose name is taken is called after the list."""
    kind = schema.field(listed).type.value_type
    if not pa.types.is_struct(kind):
        return [pa.field(listed, kind)]
    taken = set(schema.names) - {listed}
    return [field.with_name(f"{listed}_{field.name}") if field.name in taken else field for field in kind]


def _long(table: pa.Table, listed: str) -> pa.Table:
    """A row for each member; items whose list is empty or missing have none."""
    lists = table[listed].combine_chunks()
    parents, members = pc.list_parent_indices(lists), pc.list_flatten(lists)
    rest = table.drop_columns([listed]).take(parents)
    fields = _members(table.schema, listed)
    made = members.flatten() if pa.types.is_struct(members.type) else [members]
    for field, column in zip(fields, made, strict=True):
        rest = rest.append_column(field, column)
    return rest


def _write(path: Path, suffix: str, tables: Iterator[pa.Table], schema: pa.Schema) -> int:
    count = 0
    if suffix == ".parquet":
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for table in tables:
                writer.write_table(table.cast(schema))
                count += len(table)
        return count
    with path.open("w", encoding="utf-8", newline="") as file:
        write = _csv(file, schema.names) if suffix == ".csv" else _jsonl(file)
        for table in tables:
            for row in table.to_pylist():
                write(row)
            count += len(table)
    return count


def _csv(file: IO[str], names: Sequence[str]) -> Any:
    writer = csv.writer(file)
    writer.writerow(names)

    def write(row: dict[str, Any]) -> None:
        writer.writerow([_cell(row[name]) for name in names])

    return write


def _jsonl(file: IO[str]) -> Any:
    def write(row: dict[str, Any]) -> None:
        file.write(orjson.dumps(row, default=_plain).decode() + "\n")

    return write


def _cell(value: Any) -> Any:
    """A value in a cell: lists and objects as JSON, moments as ISO 8601."""
    if isinstance(value, list | dict):
        return orjson.dumps(value, default=_plain).decode()
    return value.isoformat() if isinstance(value, datetime) else _plain(value) if isinstance(value, Decimal) else value


def _plain(value: Any) -> str:
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)
