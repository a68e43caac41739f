"""What the schemas of results, failures and calls share. Every column may be null."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pyarrow as pa

from mediamill.tasks.domain import Item

T = TypeVar("T")

MONEY = pa.decimal128(24, 12)
COST_AS_FLOAT = "cost_usd_float"
"""The column that is made from ``cost_usd`` when a part is written, so rows that were stored before have it, too."""
COST_AS_FLOAT_MEANING = "`cost_usd` as a float, for sums and means; exact is `cost_usd` alone"
TIMESTAMP = pa.timestamp("us", tz="UTC")
DESCRIPTION = b"description"
"""Key of a field's metadata under which its meaning stands, in Arrow and in Parquet files."""

_READING = b"mediamill_reading"


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column: its name, type and description, and a function that gets its value; None where others set it."""

    name: str
    type: pa.DataType
    description: str
    value: Callable[[T], Any] | None = None


def to_schema(columns: Iterable[Column[T]]) -> pa.Schema:
    """The columns' schema."""
    return pa.schema([make_field(column.name, column.type, column.description) for column in columns])


def make_field(name: str, kind: pa.DataType, description: str) -> pa.Field:
    """A column, or a field of a struct, that carries its description; the reference of columns is made from it."""
    return pa.field(name, kind, metadata={DESCRIPTION: description})


def to_row(columns: Iterable[Column[T]], source: T) -> dict[str, Any]:
    """The values, by name, of all columns that have a ``value`` function."""
    return {column.name: column.value(source) for column in columns if column.value is not None}


def to_carried_fields(row_schema: pa.Schema) -> list[pa.Field]:
    """The manifest's columns with the names and types that they have in results and failures."""
    return [pa.field(f"in_{field.name}", _to_carried_type(field.type)) for field in row_schema]


def to_carried_values(item: Item) -> dict[str, Any]:
    """An item's values of the manifest's columns, by those names."""
    return {f"in_{name}": value for name, value in item.row.items()}


def _to_carried_type(kind: pa.DataType) -> pa.DataType:
    """The type of a manifest's column in results: moments are exact; types that JSON cannot hold become text."""
    if pa.types.is_timestamp(kind):
        return pa.timestamp("ns" if kind.unit == "ns" else "us", tz=kind.tz)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(_to_carried_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _to_carried_type(field.type)) for field in kind])
    is_kept = (
        pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_date(kind)
        or pa.types.is_time(kind)
        or pa.types.is_duration(kind)
        or pa.types.is_large_string(kind)
    )
    return kind if is_kept else pa.string()


def serialize_schema(schema: pa.Schema, reading: int = 0) -> bytes:
    """A schema as bytes (Arrow IPC); ``reading`` says by which way of reading replies its rows were made."""
    named = schema.with_metadata({_READING: str(reading)}) if reading else schema
    return named.serialize().to_pybytes()  # type: ignore[no-any-return]


def deserialize_schema(serialized: bytes) -> pa.Schema:
    """The schema that :func:`serialize_schema` made bytes of."""
    return pa.ipc.read_schema(pa.py_buffer(serialized)).remove_metadata()


def read_reading(serialized: bytes) -> int:
    """The way of reading that :func:`serialize_schema` got; 0 of a program that knew only one."""
    metadata = pa.ipc.read_schema(pa.py_buffer(serialized)).metadata or {}
    return int(metadata.get(_READING, b"0"))
