from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.dialects import get_dialect
from mediamill.tasks.local.server.rate_limits import RateLimiter, RateLimitSettings, format_go_duration


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def try_to_admit(limiter: RateLimiter) -> ApiError | None:
    try:
        limiter.admit()
    except ApiError as refusal:
        return refusal
    return None


@given(
    rpm=st.floats(1, 6000),
    limiter=st.sampled_from(["bucket", "window"]),
    steps=st.lists(st.floats(0, 30), min_size=1, max_size=200),
)
def test_the_limit_and_one_burst_are_never_exceeded(rpm: float, limiter: str, steps: list[float]) -> None:
    clock = Clock()
    limits = RateLimiter(RateLimitSettings(rpm=rpm, limiter=limiter), clock)
    passed = 0
    for step in steps:
        clock.now += step
        passed += try_to_admit(limits) is None
    allowed = (clock.now - 1000) * rpm / 60
    burst = max(1.0, rpm / 60) if limiter == "bucket" else 2 * rpm
    assert passed <= allowed + burst + 1


@given(rpm=st.floats(1, 6000), limiter=st.sampled_from(["bucket", "window"]), before=st.integers(0, 300))
def test_a_request_after_the_reported_wait_is_admitted(rpm: float, limiter: str, before: int) -> None:
    clock = Clock()
    limits = RateLimiter(RateLimitSettings(rpm=rpm, limiter=limiter), clock)
    for _ in range(before):
        try_to_admit(limits)
    refusal = try_to_admit(limits)
    if refusal is not None:
        assert refusal.wait is not None
        clock.now += refusal.wait + 1e-6
        assert try_to_admit(limits) is None


def test_a_long_recording_delays_the_next_request() -> None:
    clock = Clock()
    limits = RateLimiter(RateLimitSettings(audio_per_hour=3600), clock)
    limits.admit()
    limits.charge_audio(7200)
    refusal = try_to_admit(limits)
    assert refusal is not None
    assert refusal.kind == "audio_limit"
    clock.now += 3601
    assert try_to_admit(limits) is None


def test_together_reports_limits_per_second_and_only_in_refusals() -> None:
    clock = Clock()
    limits = RateLimiter(RateLimitSettings(rpm=120), clock)
    together = get_dialect("together")
    limits.admit()
    assert limits.build_headers(together, None) == {}
    limits.admit()
    headers = limits.build_headers(together, try_to_admit(limits))
    assert headers["x-ratelimit-limit"] == "2"
    assert headers["x-ratelimit-remaining"] == "0"
    assert float(headers["x-ratelimit-reset"]) == pytest.approx(0.5)
    assert "retry-after" not in headers


def test_groq_reports_the_daily_limit_and_whole_seconds_to_wait() -> None:
    clock = Clock()
    limits = RateLimiter(RateLimitSettings(rpm=20, rpd=2000, tpm=6000), clock)
    groq = get_dialect("groq")
    limits.admit()
    headers = limits.build_headers(groq, None)
    assert headers["x-ratelimit-limit-requests"] == "2000"
    assert headers["x-ratelimit-limit-tokens"] == "6000"
    assert "retry-after" not in headers
    refusal = try_to_admit(limits)
    assert limits.build_headers(groq, refusal)["retry-after"] == "3"
    assert refusal is not None
    assert "Please try again in 3.000s" in refusal.message


def test_openai_reports_counts_and_go_durations() -> None:
    limits = RateLimiter(RateLimitSettings(rpm=60, burst=60), Clock())
    limits.admit()
    headers = limits.build_headers(get_dialect("openai"), None)
    assert headers == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
    }


@given(st.floats(0, 100_000))
def test_go_durations_keep_the_time(seconds: float) -> None:
    text = format_go_duration(seconds)
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)(ms|s))", text)
    assert found is not None, text
    hours, minutes, rest, unit = found.groups()
    total = int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest) * (0.001 if unit == "ms" else 1)
    assert total == pytest.approx(seconds, abs=0.0011)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (0.012, "12ms"), (7.66, "7.66s"), (179.56, "2m59.56s")])
def test_go_durations_are_formatted_as_in_go(seconds: float, text: str) -> None:
    assert format_go_duration(seconds) == text
