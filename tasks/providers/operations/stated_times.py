"""Times of segments and words, under every name and in every form in which servers send them.

OpenAI's are ``start`` and ``end`` in seconds. Others send ``start_time``, ``startTime``, pairs (Hugging Face),
``offsets`` in milliseconds beside ``timestamps`` like ``00:00:01,500`` (whisper.cpp), and ``1.500s`` (provider docs).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

_SECONDS_PRECISION = Decimal("1e-12")
"""The precision in which money is stored; replies hold floats of sixteen digits."""
_MAX_SECONDS = 1_000_000
_MAX_MILLISECONDS = 10**9
_MAX_EARLY_SECONDS = 1
"""Models date a first word so much before the audio at most; it begins with the audio."""
_CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2}(?:[.,]\d{1,9})?)", re.ASCII)
_WITH_UNIT = re.compile(r"([-+]?\d{1,12}(?:\.\d{1,12})?)\s*(ms|s|secs?|seconds?)", re.ASCII | re.IGNORECASE)
_NAMES = (("start", "end"), ("start_time", "end_time"), ("startTime", "endTime"), ("begin", "end"), ("from", "to"))
_MILLISECOND_NAMES = (("start_ms", "end_ms"), ("startMs", "endMs"), ("begin_time_ms", "end_time_ms"))
_PAIRS = ("timestamp", "timestamps", "time")


def parse_seconds(value: Any) -> Decimal | None:
    """Seconds from a number, or a text with a number, a unit or a clock's time; None outside [0, 1 000 000)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = _parse_text(value.strip()) if isinstance(value, str) else Decimal(str(value))
    except InvalidOperation:
        return None
    if not number.is_finite() or not 0 <= number < _MAX_SECONDS:
        return None
    rounded = number.quantize(_SECONDS_PRECISION)
    return number if number == rounded else rounded


def parse_float_seconds(value: Any) -> float | None:
    """A time as a float. It may be in milliseconds, so it may be a thousand times what :func:`parse_seconds` takes."""
    number = parse_seconds(value)
    if number is not None:
        return float(number)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(value, int) and 0 <= value < _MAX_MILLISECONDS:
            return float(value)
        if -_MAX_EARLY_SECONDS <= value < 0:
            return 0.0
    return None


def read_edges(part: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Start and end of a segment or word in seconds; None for what is not stated."""
    offsets = part.get("offsets")
    if isinstance(offsets, dict):
        return _to_seconds(offsets.get("from")), _to_seconds(offsets.get("to"))
    for first, last in _NAMES:
        if part.get(first) is not None or part.get(last) is not None:
            return parse_float_seconds(part.get(first)), parse_float_seconds(part.get(last))
    for first, last in _MILLISECOND_NAMES:
        if part.get(first) is not None or part.get(last) is not None:
            return _to_seconds(part.get(first)), _to_seconds(part.get(last))
    for name in _PAIRS:
        pair = part.get(name)
        if isinstance(pair, list) and len(pair) == 2:  # noqa: PLR2004
            return parse_float_seconds(pair[0]), parse_float_seconds(pair[1])
        if isinstance(pair, dict):
            return read_edges({name: value for name, value in pair.items() if not isinstance(value, dict | list)})
    return None, None


def _parse_text(text: str) -> Decimal:
    if clock := _CLOCK.fullmatch(text):
        hours, minutes, seconds = int(clock[1] or 0), int(clock[2]), Decimal(clock[3].replace(",", "."))
        return hours * 3600 + minutes * 60 + seconds
    if stated := _WITH_UNIT.fullmatch(text):
        return Decimal(stated[1]) / (1000 if stated[2].lower() == "ms" else 1)
    return Decimal(text)


def _to_seconds(milliseconds: Any) -> float | None:
    number = parse_float_seconds(milliseconds)
    return None if number is None else number / 1000
