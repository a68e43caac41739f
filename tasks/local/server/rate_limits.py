"""Rate limits that are enforced, and reported in each provider's own headers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mediamill.tasks.local.server.api_error import ApiError, ErrorKind
from mediamill.tasks.local.server.dialects import Dialect

TOKENS_PER_SECOND = 10
"""Tokens that are counted for a second of audio."""

_ROUNDING_TOLERANCE = 1e-9


class Gauge(Protocol):
    """What remains of a limit. It may be negative: a recording's length is known only afterwards."""

    limit: float

    def remaining(self) -> float:
        """What remains now, in units of the limit."""
        ...

    def take(self, amount: float) -> None:
        """Take an amount, available or not."""
        ...

    def seconds_until_one(self) -> float:
        """Seconds until one unit is available."""
        ...

    def seconds_until_full(self) -> float:
        """Seconds until the whole limit is available again."""
        ...


class TokenBucket:
    """Refills steadily; ``limit`` a period, at most ``burst`` at once."""

    def __init__(self, limit: float, period: float, burst: float, clock: Callable[[], float]) -> None:
        self.limit = limit
        self._rate = limit / period
        self._burst = burst
        self._clock = clock
        self._remaining = burst
        self._updated_at = clock()

    def remaining(self) -> float:
        """What is in the bucket."""
        now = self._clock()
        self._remaining = min(self._burst, self._remaining + (now - self._updated_at) * self._rate)
        self._updated_at = now
        return self._remaining

    def take(self, amount: float) -> None:
        """Take from the bucket."""
        self._remaining = self.remaining() - amount

    def seconds_until_one(self) -> float:
        """Seconds until the bucket holds one unit."""
        return max(0.0, 1 - self.remaining()) / self._rate

    def seconds_until_full(self) -> float:
        """Seconds until the bucket is full."""
        return (self._burst - self.remaining()) / self._rate


class FixedWindow:
    """``limit`` in each period; what was used beyond it is carried over into the next one."""

    def __init__(self, limit: float, period: float, clock: Callable[[], float]) -> None:
        self.limit = limit
        self._period = period
        self._clock = clock
        self._remaining = limit
        self._window_end = clock() + period

    def remaining(self) -> float:
        """What remains of this window."""
        now = self._clock()
        if now >= self._window_end:
            windows = 1 + int((now - self._window_end) / self._period)
            self._window_end += windows * self._period
            self._remaining = min(self.limit, min(self._remaining, 0.0) + windows * self.limit)
        return self._remaining

    def take(self, amount: float) -> None:
        """Take from this window."""
        self._remaining = self.remaining() - amount

    def seconds_until_one(self) -> float:
        """Seconds until a window in which one unit remains."""
        remaining = self.remaining()
        if remaining >= 1:
            return 0.0
        windows = max(1, math.ceil((1 - remaining) / self.limit))
        return self._window_end - self._clock() + (windows - 1) * self._period

    def seconds_until_full(self) -> float:
        """Seconds until the next window."""
        self.remaining()
        return max(0.0, self._window_end - self._clock())


@dataclass(frozen=True, slots=True)
class RateLimitSettings:
    """What is allowed; None for no limit. ``burst`` None means one second's worth of requests."""

    rpm: float | None = None
    tpm: float | None = None
    rpd: float | None = None
    audio_per_hour: float | None = None
    limiter: str = "bucket"
    burst: float | None = None


class RateLimiter:
    """All limits of the server together."""

    def __init__(self, settings: RateLimitSettings, clock: Callable[[], float]) -> None:
        self.settings = settings
        self._clock = clock
        self._requests = self._make_gauge(settings.rpm, 60, settings.burst or max(1.0, (settings.rpm or 0) / 60))
        self._tokens = self._make_gauge(settings.tpm, 60, settings.tpm or 0)
        self._daily_requests = self._make_gauge(settings.rpd, 86400, settings.rpd or 0)
        self._audio = self._make_gauge(settings.audio_per_hour, 3600, settings.audio_per_hour or 0)

    def admit(self) -> None:
        """Admit one request.

        Raises:
            ApiError: when a limit is used up; such a request is not counted.
        """
        gauges: list[tuple[Gauge | None, ErrorKind, str]] = [
            (self._requests, "rate_limit", "requests per minute (RPM)"),
            (self._daily_requests, "rate_limit", "requests per day (RPD)"),
            (self._tokens, "token_limit", "tokens per minute (TPM)"),
            (self._audio, "audio_limit", "seconds of audio per hour (ASH)"),
        ]
        for gauge, kind, name in gauges:
            if gauge is not None and gauge.remaining() < 1 - _ROUNDING_TOLERANCE:
                wait = max(gauge.seconds_until_one(), 0.001)
                message = f"Rate limit reached on {name}: Limit {gauge.limit:g}. Please try again in {wait:.3f}s."
                raise ApiError(kind, message, wait=wait)
        for gauge in (self._requests, self._daily_requests):
            if gauge is not None:
                gauge.take(1)

    def charge_audio(self, seconds: float) -> None:
        """Count a transcribed recording."""
        if self._tokens is not None:
            self._tokens.take(math.ceil(seconds * TOKENS_PER_SECOND))
        if self._audio is not None:
            self._audio.take(seconds)

    def charge_tokens(self, tokens: int) -> None:
        """Count the tokens of a prompt and its answer."""
        if self._tokens is not None:
            self._tokens.take(tokens)

    def build_headers(self, dialect: Dialect, api_error: ApiError | None) -> dict[str, str]:
        """The headers in which the provider reports its limits."""
        if dialect.name == "compatible":
            return {}
        if dialect.name == "together":
            limited = api_error is not None and api_error.kind.endswith("_limit")
            return self._build_together_headers() if limited else {}
        headers = self._build_counted_headers(
            "requests", self._daily_requests if dialect.name == "groq" else self._requests
        )
        headers |= self._build_counted_headers("tokens", self._tokens)
        if api_error is not None and api_error.wait is not None:
            headers["retry-after"] = str(math.ceil(api_error.wait))
            if dialect.name == "openai":
                headers["retry-after-ms"] = str(math.ceil(api_error.wait * 1000))
        return headers

    def _build_together_headers(self) -> dict[str, str]:
        """Limits per second; the reset is the seconds to wait."""
        headers: dict[str, str] = {}
        for name, gauge in (("ratelimit", self._requests), ("tokenlimit", self._tokens)):
            if gauge is None:
                continue
            remaining = max(0, math.floor(gauge.remaining() + _ROUNDING_TOLERANCE))
            headers[f"x-{name}-limit"] = f"{gauge.limit / 60:g}"
            headers[f"x-{name}-remaining"] = str(remaining)
            headers[f"x-{name}-limit-dynamic"] = f"{gauge.limit / 60:g}"
            headers[f"x-{name}-remaining-dynamic"] = str(remaining)
        if self._requests is not None:
            headers["x-ratelimit-reset"] = f"{self._requests.seconds_until_one():.3f}"
        return headers

    @staticmethod
    def _build_counted_headers(name: str, gauge: Gauge | None) -> dict[str, str]:
        if gauge is None:
            return {}
        return {
            f"x-ratelimit-limit-{name}": f"{gauge.limit:g}",
            f"x-ratelimit-remaining-{name}": str(max(0, math.floor(gauge.remaining() + _ROUNDING_TOLERANCE))),
            f"x-ratelimit-reset-{name}": format_go_duration(gauge.seconds_until_full()),
        }

    def _make_gauge(self, limit: float | None, period: float, burst: float) -> Gauge | None:
        if limit is None:
            return None
        if self.settings.limiter == "window":
            return FixedWindow(limit, period, self._clock)
        return TokenBucket(limit, period, burst, self._clock)


def format_go_duration(seconds: float) -> str:
    """Seconds as Go prints them: ``12ms``, ``7.66s``, ``2m59.56s``, ``1h0m0s``."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms" if seconds >= 0.0005 else "0s"  # noqa: PLR2004
    hours, rest = divmod(round(seconds, 3), 3600)
    minutes, rest = divmod(rest, 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours:.0f}h{minutes:.0f}m{text}"
    return f"{minutes:.0f}m{text}" if minutes else text
