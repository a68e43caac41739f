"""Times of a transcript that cannot be: past the end of the audio that was sent, or in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

MILLISECONDS = "times_in_milliseconds"
PAST_END = "times_past_end"

_MAX_LATE_START_SECONDS = 0.5
_MAX_LATE_END_SECONDS = 2.0
"""Models end their last segment up to this much after the audio; from a tenth of its length on it is a fault."""
_MAX_LATE_END_SHARE = 0.1
_MIN_MILLISECONDS_FACTOR = 100.0
"""Whole numbers of which the last is this many times the length, and a thousandth of it within it, are milliseconds."""


def correct_times(data: dict[str, Any], sent_seconds: Decimal | None) -> list[str]:
    """Turn milliseconds into seconds where that is certain; the faults of the times, as the flags of rows name them.

    Args:
        data: a transcript with ``segments`` and ``words``; their times are changed.
        sent_seconds: length of the audio; None for the length that the reply states.
    """
    seconds = data["duration_s"] if sent_seconds is None else float(sent_seconds)
    times = list(_iter_times(data))
    if not seconds or not times:
        return []
    last = max(times)
    is_whole = all(time.is_integer() for time in times)
    if is_whole and last >= seconds * _MIN_MILLISECONDS_FACTOR and last / 1000 <= seconds + 1:
        for part in _iter_parts(data):
            for edge in ("start", "end"):
                part[edge] = None if part[edge] is None else part[edge] / 1000
        return [MILLISECONDS]
    latest_end = seconds + max(_MAX_LATE_END_SECONDS, seconds * _MAX_LATE_END_SHARE)
    starts = [part["start"] for part in _iter_parts(data) if part["start"] is not None]
    is_late = last > latest_end or max(starts, default=0.0) > seconds + _MAX_LATE_START_SECONDS
    return [PAST_END] if is_late else []


def _iter_parts(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from data["segments"] or ()
    yield from data["words"] or ()


def _iter_times(data: dict[str, Any]) -> Iterator[float]:
    for part in _iter_parts(data):
        yield from (part[edge] for edge in ("start", "end") if part[edge] is not None)
