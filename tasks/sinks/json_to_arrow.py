"""Rows as JSON to Arrow, by a declared schema: decimals exact, times from microseconds, text always valid UTF-8."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal, InvalidOperation
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.json as pj

from mediamill.tasks.sinks.vectors import decode_vectors, is_vector

_MAX_BLOCK_BYTES = 64 * 2**20
_WIDE_CONTEXT = Context(prec=76)


def to_table(rows: Sequence[bytes], schema: pa.Schema) -> pa.Table:
    """A table; columns a row lacks are null, values of a foreign type are cast or become null.

    Args:
        rows: JSON objects: decimals as text, moments as microseconds since the epoch.
        schema: what the table has.
    """
    json_schema = pa.schema([field.with_type(pa.string()) if is_vector(field) else field for field in schema])
    try:
        table = _parse_rows(rows, json_schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        table = pa.Table.from_batches([_convert_rows([orjson.loads(row) for row in rows], json_schema)])
    for index, field in enumerate(schema):
        if is_vector(field):
            table = table.set_column(index, field, decode_vectors(table[index], field.type))
    return table


def _parse_rows(rows: Sequence[bytes], schema: pa.Schema) -> pa.Table:
    """By Arrow's own JSON reader, which leaves the interpreter to others; moments are read as integers."""
    parse_schema = pa.schema([(f.name, pa.int64() if pa.types.is_timestamp(f.type) else f.type) for f in schema])
    text = b"\n".join(rows)
    table = pj.read_json(
        io.BytesIO(text),
        read_options=pj.ReadOptions(use_threads=False, block_size=min(max(len(text) + 1, 2**16), _MAX_BLOCK_BYTES)),
        parse_options=pj.ParseOptions(explicit_schema=parse_schema, unexpected_field_behavior="ignore"),
    )
    return table.select(schema.names).cast(schema)


def _convert_rows(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Value by value, for rows that need casts."""
    columns = [_to_array([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _to_array(values: list[Any], kind: pa.DataType) -> pa.Array:
    fitted = [_fit_decimals(value, kind) for value in values] if _needs_fitting(kind) else values
    try:
        return pa.array(fitted, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError):
        return pa.array([_cast_value(value, kind) for value in values], kind)


def _cast_value(value: Any, kind: pa.DataType) -> Any:
    """The value if it fits the type, by a cast from text if need be; what does not fit at all becomes null.

    Of a list or a struct only the parts that do not fit are lost.
    """
    if value is None:
        return None
    if pa.types.is_list(kind):
        return [_cast_value(v, kind.value_type) for v in value] if isinstance(value, list) else None
    if pa.types.is_struct(kind):
        return {f.name: _cast_value(value.get(f.name), f.type) for f in kind} if isinstance(value, dict) else None
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return value if isinstance(value, str) else orjson.dumps(value).decode()
    for candidate, cast in ((_fit_decimals(value, kind), False), (str(value), True)):
        try:
            scalar = pa.scalar(candidate).cast(kind) if cast else pa.scalar(candidate, kind)
            return scalar.as_py()
        except (pa.ArrowException, OverflowError, ValueError, TypeError):
            continue
    return None


def _needs_fitting(kind: pa.DataType) -> bool:
    """Whether JSON's values for ``kind`` may not be what Arrow takes them for: it makes a list of any text."""
    return bool(pa.types.is_decimal(kind) or pa.types.is_nested(kind))


def _fit_decimals(value: Any, kind: pa.DataType) -> Any:
    """A value with its decimals made from text and rounded to the places the type has."""
    if pa.types.is_list(kind):
        return [_fit_decimals(v, kind.value_type) for v in value] if isinstance(value, list) else None
    if pa.types.is_struct(kind):
        return {f.name: _fit_decimals(value.get(f.name), f.type) for f in kind} if isinstance(value, dict) else None
    if not pa.types.is_decimal(kind) or value is None or isinstance(value, (bool, list, dict)):
        return value
    try:
        places = Decimal((0, (1,), -kind.scale))
        return Decimal(str(value)).quantize(places, context=_WIDE_CONTEXT)
    except InvalidOperation:  # no number, or more digits than there are
        return None
