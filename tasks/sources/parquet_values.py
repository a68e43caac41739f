"""The values of a Parquet file's rows, exact to the nanosecond, and why one of them cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_UNREADABLE = (OverflowError, ValueError, TypeError, KeyError, OSError, pa.ArrowException)
"""What a value raises that Python cannot hold; a zone that is not known raises KeyError or OSError."""
_SECOND_NS = 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | str]:
    """Each row's values by column; or, for a row with a value that cannot be read, its column and the reason.

    Times that need nanoseconds are ISO 8601 text, since Python's have microseconds. Times of a day that are none and
    decimals with more digits than their type cannot be read either: Python would hold others in their place.
    """
    columns = list(zip(batch.schema.names, batch.columns, strict=True))
    exact = {name for name, column in columns if _needs_text(column)}
    if not exact and all(_find_impossible(column) is None for _, column in columns):
        try:
            yield from batch.to_pylist()
        except _UNREADABLE:
            pass
        else:
            return
    for number in range(batch.num_rows):
        yield _read_row(batch, number, exact)


def _read_row(batch: pa.RecordBatch, number: int, exact: set[str]) -> dict[str, Any] | str:
    values = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        impossible = _find_impossible(column.slice(number, 1))
        if impossible is not None:
            return f"column {name!r} holds {impossible}"
        try:
            values[name] = _read_exactly(column[number]) if name in exact else column[number].as_py()
        except _UNREADABLE as error:
            return f"column {name!r} holds {_explain(error, column.type)}"
    return values


def _find_impossible(column: Any) -> str | None:
    """What a column holds that its type does not allow and Python would take for another value; None without."""
    for leaf in _iter_leaves(column):
        kind = leaf.type
        try:
            if pa.types.is_time(kind) or pa.types.is_decimal(kind):
                leaf.validate(full=True)
        except pa.ArrowInvalid:
            reason = "is not within a day" if pa.types.is_time(kind) else "has more digits than its type"
            return f"a {kind} that {reason}"
    return None


def _iter_leaves(column: Any) -> Iterator[Any]:
    """The arrays of plain values that a column consists of."""
    kind = column.type
    if pa.types.is_struct(kind):
        parts = column.flatten()
    elif pa.types.is_map(kind):
        own = column.take(pa.array(range(len(column)), pa.int64()))  # keys and items are those of the whole column
        parts = [own.keys, own.items]
    elif pa.types.is_nested(kind):
        parts = [column.flatten()]
    else:
        yield column
        return
    for part in parts:
        yield from _iter_leaves(part)


def _needs_text(column: Any) -> bool:
    """True for a column with a time that microseconds cannot hold."""
    kind = column.type
    if pa.types.is_nested(kind):
        return _holds_nanoseconds(kind)
    if not _is_nanoseconds(kind):
        return False
    numbers = column.cast(pa.int64())
    thousands = pc.multiply(pc.divide(numbers, 1000), 1000)
    return bool(pc.any(pc.not_equal(numbers, thousands)).as_py())


def _is_nanoseconds(kind: pa.DataType) -> bool:
    return bool((pa.types.is_timestamp(kind) or pa.types.is_time64(kind)) and kind.unit == "ns")


def _holds_nanoseconds(kind: pa.DataType) -> bool:
    if pa.types.is_nested(kind):
        return any(_holds_nanoseconds(kind.field(n).type) for n in range(kind.num_fields))
    return _is_nanoseconds(kind)


def _read_exactly(scalar: Any) -> Any:
    kind = scalar.type
    if not scalar.is_valid or not _holds_nanoseconds(kind):
        return scalar.as_py()
    if pa.types.is_map(kind):
        return scalar.as_py()
    if pa.types.is_struct(kind):
        return {name: _read_exactly(scalar[name]) for name in scalar}
    if pa.types.is_nested(kind):
        return [_read_exactly(element) for element in scalar.values]
    nanoseconds = int(scalar.value)
    if not nanoseconds % 1000:
        return scalar.as_py()
    return _format_time(nanoseconds) if pa.types.is_time64(kind) else _format_moment(nanoseconds, kind.tz)


def _format_time(nanoseconds: int) -> str:
    seconds, fraction = divmod(nanoseconds, _SECOND_NS)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:09}"


def _format_moment(nanoseconds: int, zone: str | None) -> str:
    seconds, fraction = divmod(nanoseconds, _SECOND_NS)
    moment = _EPOCH + timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:09}{'Z' if zone else ''}"


def _explain(error: Exception, kind: pa.DataType) -> str:
    if pa.types.is_temporal(kind) and isinstance(error, (OverflowError, ValueError)) and not _names_zone(error):
        return f"a {kind} that is no date of the years 1 to 9999, or more time than they have"
    if isinstance(error, UnicodeDecodeError):
        return "text that is not valid UTF-8"
    return f"a {kind} that cannot be read: {(str(error).splitlines() or [type(error).__name__])[0]}"


def _names_zone(error: Exception) -> bool:
    return isinstance(error, pa.ArrowException) or "zone" in str(error).lower()
