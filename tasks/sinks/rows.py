"""Rows as JSON to Arrow, by a declared schema: decimals exact, times from microseconds, text always valid UTF-8."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.json as pj

Convert = Callable[[Any], Any]

_BLOCK = 64 * 2**20


def to_table(rows: Sequence[bytes], schema: pa.Schema) -> pa.Table:
    """A table; columns a row lacks are null, values of a foreign type are cast or become null.

    Args:
        rows: JSON objects: decimals as text, moments as microseconds since the epoch.
        schema: what the table has.
    """
    try:
        return _parsed(rows, schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.Table.from_batches([_converted([orjson.loads(row) for row in rows], schema)])


def _parsed(rows: Sequence[bytes], schema: pa.Schema) -> pa.Table:
    """By Arrow's own JSON reader, which leaves the interpreter to others; moments are read as integers."""
    plain = pa.schema([(f.name, pa.int64() if pa.types.is_timestamp(f.type) else f.type) for f in schema])
    text = b"\n".join(rows)
    table = pj.read_json(
        io.BytesIO(text),
        read_options=pj.ReadOptions(use_threads=False, block_size=min(max(len(text) + 1, 2**16), _BLOCK)),
        parse_options=pj.ParseOptions(explicit_schema=plain, unexpected_field_behavior="ignore"),
    )
    return table.select(schema.names).cast(schema)


def _converted(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Value by value, for rows that need casts."""
    columns = [_column([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    convert = _converter(kind)
    if convert is not None:
        values = [None if v is None else convert(v) for v in values]
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError):
        return pa.array([_one(v, kind) for v in values], kind)


def _one(value: Any, kind: pa.DataType) -> Any:
    """The value if it fits the type, by a cast from text if need be; null when it does not fit at all."""
    if value is None:
        return None
    for given in (value, str(value)):
        try:
            made = pa.scalar(given, kind) if given is value else pa.scalar(given).cast(kind)
            return made.as_py()
        except (pa.ArrowException, OverflowError, ValueError, TypeError):
            continue
    return None


def _converter(kind: pa.DataType) -> Convert | None:
    """What turns a JSON value into something Arrow takes for ``kind``; None when nothing need be done."""
    if pa.types.is_decimal(kind):
        return Decimal
    if pa.types.is_list(kind):
        inner = _converter(kind.value_type)
        return None if inner is None else lambda values: [None if v is None else inner(v) for v in values]
    if pa.types.is_struct(kind):
        inside = {field.name: _converter(field.type) for field in kind}
        needed = {name: convert for name, convert in inside.items() if convert is not None}
        return (lambda value: _struct(value, needed)) if needed else None
    return None


def _struct(value: Mapping[str, Any], converters: Mapping[str, Convert]) -> dict[str, Any]:
    return {n: converters[n](v) if n in converters and v is not None else v for n, v in value.items()}
