"""How long a server wants its clients to wait (RFC 9110 section 10.2.3). Hostile values are ignored."""

from __future__ import annotations

import email.utils
import math
import re
from collections.abc import Mapping

MAX_WAIT = 120.0
"""Maximum wait that a server's hint can cause."""
MAX_HINT = 30 * 86400.0
"""Maximum of a hint that is told, and weighed against how long a run waits."""

MAX_VALUE_CHARS = 64
"""A longer header value is neither a number, a duration nor a date; reading one could take seconds."""

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d{1,6})?", re.ASCII | re.IGNORECASE)


def parse_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait by ``retry-after-ms`` or ``retry-after`` (seconds or an HTTP date); None without either.

    NaN, negative and unreadable values are ignored; a date in the past is 0. The caller bounds the result.

    Args:
        headers: with lower-cased names.
        now: Unix time, for dates.
    """
    milliseconds = parse_non_negative(headers.get("retry-after-ms"))
    return _parse_seconds_or_date(headers.get("retry-after"), now) if milliseconds is None else milliseconds / 1000


def parse_non_negative(text: str | None) -> float | None:
    """The text as a finite number that is not negative; None when it is none."""
    text = (text or "").strip()
    if len(text) > MAX_VALUE_CHARS:
        return None
    return valid_wait_or_none(float(text)) if _NUMBER.fullmatch(text) else None


def valid_wait_or_none(value: float) -> float | None:
    """The value when it is a possible wait: finite, not negative, not NaN; otherwise None."""
    return value if 0 <= value < math.inf else None


def _parse_seconds_or_date(text: str | None, now: float) -> float | None:
    text = (text or "").strip()
    if (seconds := parse_non_negative(text)) is not None:
        return seconds
    if "," not in text or len(text) > MAX_VALUE_CHARS:  # every HTTP date names its weekday first
        return None
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError, OSError):
        return None
