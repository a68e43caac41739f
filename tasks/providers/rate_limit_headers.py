"""Rate limits from reply headers: how long to wait, and how much is allowed. Absurd values are ignored.

Order and units: provider docs on rate-limit headers; see :data:`RateLimitDialect`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence

from mediamill.tasks.providers.provider_info import RateLimitDialect
from mediamill.tasks.retry_after import (
    MAX_VALUE_CHARS,
    MAX_WAIT,
    parse_non_negative,
    parse_retry_after,
    valid_wait_or_none,
)
from mediamill.tasks.wire import RateLimits

_SECONDS_PER_MINUTE = 60.0
_MAX_PER_SECOND = 1e9
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ms|us|µs|μs|ns|h|m|s)", re.ASCII)
_SECONDS_PER_UNIT = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_TRY_AGAIN = re.compile(r"try again in\s+((?:[\d.]{1,40}\s?(?:ms|h|m|s))+)", re.IGNORECASE | re.ASCII)


def read_wait_seconds(
    dialects: Sequence[RateLimitDialect],
    headers: Mapping[str, str],
    body_text: str = "",
    *,
    max_seconds: float = MAX_WAIT,
    now: float | None = None,
) -> float | None:
    """Seconds to wait before the next try, within [0, ``max_seconds``]; None when the reply does not say.

    The first valid value wins, in this order: ``retry-after-ms``, ``retry-after`` (seconds or an HTTP date), the
    provider's own reset, ``try again in ...`` in the message. NaN, negative and unreadable values are ignored; a date
    in the past is 0; infinity and a year become ``max_seconds``.

    Args:
        dialects: which headers the provider sends.
        headers: with lower-cased names.
        body_text: the error's message, or the whole body as text.
        max_seconds: the upper bound of the result.
        now: Unix time, for dates; None for the clock's.
    """
    waits = (
        parse_retry_after(headers, time.time() if now is None else now),
        _read_reset_seconds(dialects, headers),
        _parse_try_again(body_text),
    )
    return next((min(wait, max_seconds) for wait in waits if wait is not None), None)


def read_rate_limits(dialects: Sequence[RateLimitDialect], headers: Mapping[str, str]) -> RateLimits:
    """The rate limits in the reply's headers, by the provider's dialects; nothing without a dialect."""
    if "per_second" in dialects and ("x-ratelimit-limit" in headers or "x-tokenlimit-limit" in headers):
        return RateLimits(
            requests_per_second=_read_rate(headers, "x-ratelimit-limit-dynamic", "x-ratelimit-limit"),
            tokens_per_second=_read_rate(headers, "x-tokenlimit-limit-dynamic", "x-tokenlimit-limit"),
            remaining_requests=_read_count(headers, "x-ratelimit-remaining-dynamic", "x-ratelimit-remaining"),
            remaining_tokens=_read_count(headers, "x-tokenlimit-remaining-dynamic", "x-tokenlimit-remaining"),
            reset_requests=parse_non_negative(headers.get("x-ratelimit-reset")),
        )
    if "per_minute" in dialects:
        return RateLimits(
            requests_per_second=_read_rate(headers, "x-ratelimit-limit-requests", per=_SECONDS_PER_MINUTE),
            tokens_per_second=_read_rate(headers, "x-ratelimit-limit-tokens", per=_SECONDS_PER_MINUTE),
            remaining_requests=_read_count(headers, "x-ratelimit-remaining-requests"),
            remaining_tokens=_read_count(headers, "x-ratelimit-remaining-tokens"),
            reset_requests=parse_go_duration(headers.get("x-ratelimit-reset-requests")),
            reset_tokens=parse_go_duration(headers.get("x-ratelimit-reset-tokens")),
        )
    if "tokens_per_minute" in dialects:
        return RateLimits(
            tokens_per_second=_read_rate(headers, "x-ratelimit-limit-tokens", per=_SECONDS_PER_MINUTE),
            remaining_tokens=_read_count(headers, "x-ratelimit-remaining-tokens"),
            reset_tokens=parse_go_duration(headers.get("x-ratelimit-reset-tokens")),
        )
    return RateLimits()


def parse_go_duration(text: str | None) -> float | None:
    """Seconds in a Go duration such as ``1h2m3.5s``, ``6m0s`` or ``12ms``; None for anything else."""
    text = (text or "").strip()
    if text == "0":
        return 0.0
    if len(text) > MAX_VALUE_CHARS:
        return None
    parts = list(_DURATION_PART.finditer(text))
    if not parts or "".join(part.group(0) for part in parts) != text:
        return None
    return valid_wait_or_none(sum(float(part[1]) * _SECONDS_PER_UNIT[part[2]] for part in parts))


def _read_reset_seconds(dialects: Sequence[RateLimitDialect], headers: Mapping[str, str]) -> float | None:
    if "per_second" in dialects and (seconds := parse_non_negative(headers.get("x-ratelimit-reset"))) is not None:
        return seconds
    names = ["requests"] if "per_minute" in dialects else []
    names += ["tokens"] if names or "tokens_per_minute" in dialects else []
    waits = [
        wait
        for name in names
        if parse_non_negative(headers.get(f"x-ratelimit-remaining-{name}")) == 0
        and (wait := parse_go_duration(headers.get(f"x-ratelimit-reset-{name}"))) is not None
    ]
    return max(waits, default=None)


def _parse_try_again(text: str) -> float | None:
    match = _TRY_AGAIN.search(text[:20_000])
    return parse_go_duration(re.sub(r"\s", "", match[1].lower())) if match else None


def _read_rate(headers: Mapping[str, str], *names: str, per: float = 1.0) -> float | None:
    """The rate per second in the first of the headers that holds a usable one; zero and absurd values are not."""
    for name in names:
        value = parse_non_negative(headers.get(name))
        if value is not None and 0 < value / per <= _MAX_PER_SECOND:
            return value / per
    return None


def _read_count(headers: Mapping[str, str], *names: str) -> float | None:
    values = (parse_non_negative(headers.get(name)) for name in names)
    return next((value for value in values if value is not None), None)
