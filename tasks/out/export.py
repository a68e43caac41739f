"""Export results to one file: CSV, JSON lines or Parquet; a row for each item, or for each member of a list."""

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

from mediamill.tasks.domain import format_decimal
from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.sinks.parts import build_damage_error
from mediamill.tasks.sources.parquet_values import read_rows
from mediamill.tasks.system.os_errors import build_storage_error
from mediamill.tasks.untrusted_text import neutralize_formula

_BATCH_ROWS = 1024
_PREFERRED_LISTS = ("ranking", "segments")
SUFFIXES = (".csv", ".jsonl", ".parquet")


def export(out: Path, to: Path, *, columns: Sequence[str] = (), long: str | None = None) -> int:
    """Write every result of OUT to one file, whole or not at all.

    JSON lines and Parquet hold each text as it is. In a CSV, which spreadsheets open, a text that one would run as a
    formula has an apostrophe in front.

    Args:
        out: a folder of results.
        to: the file; its suffix says the format.
        columns: the columns to write, in this order; all of them where none is named. With ``long`` these are the
            columns after the list is expanded.
        long: a column of lists to expand: each member gets a row, beside the item's other columns. ``""`` chooses the
            list: ``ranking``, ``segments``, or the only list of objects there is.

    Returns:
        The number of rows written.

    Raises:
        UsageError: when OUT has no results, the format is not known, or a column is not there.
        StorageError: when the file cannot be written.
    """
    if to.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{to}: the format is not known", hint=f"end the name in {', '.join(SUFFIXES)}")
    parts = sorted((out / "results").glob("part-*.parquet"))
    if not parts:
        raise UsageError(f"{out} has no results", hint="name the folder of a run that has finished items")
    schema = pa.unify_schemas([_read_schema(part) for part in parts])
    list_column = None if long is None else _choose_list_column(schema, long)
    full_schema = schema if list_column is None else _expand_schema(schema, list_column)
    for name in columns:
        if name not in full_schema.names:
            raise NoSuchOption("column", name, full_schema.names, where=str(out))
    selected_schema = pa.schema([full_schema.field(name) for name in columns]) if columns else full_schema
    tables = _read_tables(parts, schema, list_column, selected_schema)
    temporary = to.with_name(f".{to.name}.{uuid.uuid4().hex[:8]}")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        count = _write_tables(temporary, to.suffix.lower(), tables, selected_schema)
        temporary.replace(to)
    except OSError as error:
        raise build_storage_error(error, to) from None
    finally:
        temporary.unlink(missing_ok=True)
    return count


def _read_schema(part: Path) -> pa.Schema:
    try:
        return pq.read_schema(part)
    except (pa.ArrowException, OSError) as error:
        raise build_damage_error(part, error) from None


def _read_batches(part: Path) -> Iterator[pa.RecordBatch]:
    try:
        yield from pq.ParquetFile(part).iter_batches(_BATCH_ROWS)
    except (pa.ArrowException, OSError) as error:
        raise build_damage_error(part, error) from None


def _read_tables(
    parts: Sequence[Path], schema: pa.Schema, list_column: str | None, selected_schema: pa.Schema
) -> Iterator[pa.Table]:
    """The results as small tables, in the order of the source within each part."""
    for part in parts:
        for batch in _read_batches(part):
            table = pa.Table.from_batches([batch])
            missing = [name for name in schema.names if name not in table.column_names]
            for name in missing:
                table = table.append_column(schema.field(name), pa.nulls(len(table), schema.field(name).type))
            table = table.select(schema.names)
            yield (table if list_column is None else _expand_list(table, list_column)).select(selected_schema.names)


def _choose_list_column(schema: pa.Schema, requested: str) -> str:
    lists = [field.name for field in schema if pa.types.is_list(field.type)]
    if requested:
        if requested not in lists:
            raise NoSuchOption("column of lists", requested, lists)
        return requested
    structs = [name for name in lists if pa.types.is_struct(schema.field(name).type.value_type)]
    choice = next((name for name in _PREFERRED_LISTS if name in structs), structs[0] if len(structs) == 1 else None)
    if choice is None:
        raise UsageError(
            "which list is to be expanded into rows?", hint=f"give --long one of: {', '.join(lists) or 'none'}"
        )
    return choice


def _expand_schema(schema: pa.Schema, list_column: str) -> pa.Schema:
    other_fields = [field for field in schema if field.name != list_column]
    return pa.schema([*other_fields, *_member_fields(schema, list_column)])


def _member_fields(schema: pa.Schema, list_column: str) -> list[pa.Field]:
    """The columns of a list's members; a name that is taken gets the list's name in front."""
    member_type = schema.field(list_column).type.value_type
    if not pa.types.is_struct(member_type):
        return [pa.field(list_column, member_type)]
    taken = set(schema.names) - {list_column}
    return [field.with_name(f"{list_column}_{field.name}") if field.name in taken else field for field in member_type]


def _expand_list(table: pa.Table, list_column: str) -> pa.Table:
    """A row for each member of the list; items whose list is empty or missing have none."""
    lists = table[list_column].combine_chunks()
    parents, members = pc.list_parent_indices(lists), pc.list_flatten(lists)
    expanded = table.drop_columns([list_column]).take(parents)
    fields = _member_fields(table.schema, list_column)
    columns = members.flatten() if pa.types.is_struct(members.type) else [members]
    for field, column in zip(fields, columns, strict=True):
        expanded = expanded.append_column(field, column)
    return expanded


def _write_tables(path: Path, suffix: str, tables: Iterator[pa.Table], schema: pa.Schema) -> int:
    count = 0
    if suffix == ".parquet":
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for table in tables:
                writer.write_table(table.cast(schema))
                count += len(table)
        return count
    with path.open("w", encoding="utf-8", newline="") as file:
        write = _make_csv_writer(file, schema.names) if suffix == ".csv" else _make_jsonl_writer(file)
        for table in tables:
            for batch in table.to_batches():
                for row in read_rows(batch):
                    assert isinstance(row, dict), row  # every value of a result was read from its source
                    write(row)
            count += len(table)
    return count


def _make_csv_writer(file: IO[str], names: Sequence[str]) -> Any:
    writer = csv.writer(file)
    writer.writerow(map(neutralize_formula, names))

    def write(row: dict[str, Any]) -> None:
        writer.writerow([_format_cell(row[name]) for name in names])

    return write


def _make_jsonl_writer(file: IO[str]) -> Any:
    def write(row: dict[str, Any]) -> None:
        file.write(orjson.dumps(row, default=_to_json_text).decode() + "\n")

    return write


def _format_cell(value: Any) -> Any:
    """A value as a CSV cell: lists and objects as JSON, dates as ISO 8601, text that no spreadsheet runs."""
    if isinstance(value, str):
        return neutralize_formula(value)
    if isinstance(value, list | dict):
        return orjson.dumps(value, default=_to_json_text).decode()
    if isinstance(value, datetime):
        return value.isoformat()
    return format_decimal(value) if isinstance(value, Decimal) else value


def _to_json_text(value: Any) -> str:
    return format_decimal(value) if isinstance(value, Decimal) else str(value)
