"""Plain rows to Arrow, by a declared schema: decimals exact, times from microseconds, text always valid UTF-8."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

Convert = Callable[[Any], Any]


def to_batch(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """A record batch; columns a row lacks are null, values of a foreign type are cast or become null.

    Args:
        rows: JSON-like: decimals as text or Decimal, moments as microseconds since the epoch.
        schema: what the batch has.
    """
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
    if isinstance(value, str):
        value = value.encode("utf-8", "replace").decode()
    for attempt in (lambda: pa.scalar(value, kind), lambda: pa.scalar(str(value)).cast(kind)):
        try:
            return attempt().as_py()
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
