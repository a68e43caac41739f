"""Times, moments and lengths of time in JSON as Arrow's whole numbers, exact to the nanosecond."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pyarrow as pa

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_TIME = r"(\d{1,2}):(\d\d):(\d\d)(?:\.(\d{1,9}))?"
_MOMENT = re.compile(rf"(\d{{4}})-(\d\d)-(\d\d)[T ]{_TIME}Z?")
_LENGTH = re.compile(rf"(?:(-?\d+) days?,? \+?)?{_TIME}")
_DAY_SECONDS = 86_400


def is_exact_time(kind: pa.DataType) -> bool:
    """True for types whose values in JSON are not the numbers that Arrow has for them."""
    is_nanoseconds = pa.types.is_timestamp(kind) and kind.unit == "ns"
    return bool(is_nanoseconds or pa.types.is_time(kind) or pa.types.is_duration(kind))


def to_arrow_number(value: Any, kind: pa.DataType) -> Any:
    """The number that Arrow has for a value of such a type; a value that is none is returned as it is.

    Moments are microseconds since the epoch, or ISO 8601 text; times and lengths of time are text as Python and pandas
    write them.
    """
    if isinstance(value, int) and pa.types.is_timestamp(kind):
        return value * 1000
    if not isinstance(value, str):
        return value
    nanoseconds = _parse_moment(value) if pa.types.is_timestamp(kind) else _parse_length(value)
    return value if nanoseconds is None else nanoseconds * _PER_SECOND[kind.unit] // 10**9


def _parse_moment(text: str) -> int | None:
    match = _MOMENT.fullmatch(text)
    if not match:
        return None
    try:
        days = date(int(match[1]), int(match[2]), int(match[3])).toordinal() - date(1970, 1, 1).toordinal()
    except ValueError:
        return None
    return days * _DAY_SECONDS * 10**9 + _to_nanoseconds(*match.groups()[3:])


def _parse_length(text: str) -> int | None:
    match = _LENGTH.fullmatch(text)
    if not match:
        return None
    return int(match[1] or 0) * _DAY_SECONDS * 10**9 + _to_nanoseconds(*match.groups()[1:])


def _to_nanoseconds(hours: str, minutes: str, seconds: str, fraction: str | None) -> int:
    whole = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    return whole * 10**9 + int((fraction or "0").ljust(9, "0"))
