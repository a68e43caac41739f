"""Converts rows in JSON to Arrow tables of a given schema: exact decimals, times from microseconds, valid UTF-8."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal, InvalidOperation
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.json as pj

from mediamill.tasks.sinks.exact_times import is_exact_time, to_arrow_number
from mediamill.tasks.sinks.schema import COST_AS_FLOAT
from mediamill.tasks.sinks.vectors import decode_vectors, is_vector

_MAX_BLOCK_BYTES = 64 * 2**20
_WIDE_CONTEXT = Context(prec=76)


def to_table(rows: Sequence[bytes], schema: pa.Schema) -> pa.Table:
    """A table of the rows. Missing columns are null; values of another type are cast, or null where they cannot be.

    Args:
        rows: JSON objects: decimals as text, times as microseconds since the epoch.
        schema: the table's schema.
    """
    json_schema = pa.schema([field.with_type(pa.string()) if is_vector(field) else field for field in schema])
    try:
        table = _parse_rows(rows, json_schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        table = pa.Table.from_batches([_convert_rows([orjson.loads(row) for row in rows], json_schema)])
    for index, field in enumerate(schema):
        if is_vector(field):
            table = table.set_column(index, field, decode_vectors(table[index], field.type))
    if COST_AS_FLOAT in schema.names:
        index = schema.names.index(COST_AS_FLOAT)
        costs = [None if cost is None else float(cost) for cost in table["cost_usd"].to_pylist()]  # Arrow's cast is off
        table = table.set_column(index, schema[index], pa.array(costs, pa.float64()))
    return table


def _parse_rows(rows: Sequence[bytes], schema: pa.Schema) -> pa.Table:
    """Convert by Arrow's own JSON reader, which does not hold the GIL. Times are read as integers, then cast."""
    if any(pa.types.is_time(field.type) or pa.types.is_duration(field.type) for field in schema):
        raise pa.ArrowNotImplementedError("its JSON reader has no times of a day and no lengths of time")
    parse_schema = pa.schema([(f.name, pa.int64() if pa.types.is_timestamp(f.type) else f.type) for f in schema])
    moment_schema = pa.schema([(f.name, _to_microsecond_type(f.type)) for f in schema])
    text = b"\n".join(rows)
    table = pj.read_json(
        io.BytesIO(text),
        read_options=pj.ReadOptions(use_threads=False, block_size=min(max(len(text) + 1, 2**16), _MAX_BLOCK_BYTES)),
        parse_options=pj.ParseOptions(explicit_schema=parse_schema, unexpected_field_behavior="ignore"),
    )
    return table.select(schema.names).cast(moment_schema).cast(schema)


def _to_microsecond_type(kind: pa.DataType) -> pa.DataType:
    return pa.timestamp("us", tz=kind.tz) if pa.types.is_timestamp(kind) else kind


def _convert_rows(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Convert value by value, for rows that need casts."""
    columns = [_to_array([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _to_array(values: list[Any], kind: pa.DataType) -> pa.Array:
    fitted = [_fit_value(value, kind) for value in values] if _needs_fitting(kind) else values
    try:
        return pa.array(fitted, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError):
        return pa.array([_cast_value(value, kind) for value in values], kind)


def _cast_value(value: Any, kind: pa.DataType) -> Any:
    """The value if it fits the type, else a cast of its text, else null.

    In a list or a struct only the elements that do not fit become null.
    """
    if value is None:
        return None
    if pa.types.is_list(kind):
        return [_cast_value(v, kind.value_type) for v in value] if isinstance(value, list) else None
    if pa.types.is_struct(kind):
        return {f.name: _cast_value(value.get(f.name), f.type) for f in kind} if isinstance(value, dict) else None
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return value if isinstance(value, str) else orjson.dumps(value).decode()
    for candidate, cast in ((_fit_value(value, kind), False), (str(value), True)):
        try:
            scalar = pa.scalar(candidate).cast(kind) if cast else pa.scalar(candidate, kind)
            return scalar.as_py()
        except (pa.ArrowException, OverflowError, ValueError, TypeError):
            continue
    return None


def _needs_fitting(kind: pa.DataType) -> bool:
    """True for types whose values in JSON Arrow would misread: decimals and times are text, and lists of text."""
    return bool(pa.types.is_decimal(kind) or pa.types.is_nested(kind) or is_exact_time(kind))


def _fit_value(value: Any, kind: pa.DataType) -> Any:
    """The value with its times as numbers, and its decimals converted from text and rounded to the type's scale."""
    if pa.types.is_list(kind):
        return [_fit_value(v, kind.value_type) for v in value] if isinstance(value, list) else None
    if pa.types.is_struct(kind):
        return {f.name: _fit_value(value.get(f.name), f.type) for f in kind} if isinstance(value, dict) else None
    if is_exact_time(kind):
        return to_arrow_number(value, kind)
    if not pa.types.is_decimal(kind) or value is None or isinstance(value, (bool, list, dict)):
        return value
    try:
        places = Decimal((0, (1,), -kind.scale))
        return Decimal(str(value)).quantize(places, context=_WIDE_CONTEXT)
    except InvalidOperation:  # not a number, or too many digits
        return None
