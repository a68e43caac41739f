"""Waits and limits from headers: correct for valid values, harmless for others."""

from __future__ import annotations

import email.utils
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.providers.provider_info import RateLimitDialect
from mediamill.tasks.providers.rate_limit_headers import parse_go_duration, read_rate_limits, read_wait_seconds
from mediamill.tasks.providers.registry import load_config
from mediamill.tasks.retry_after import MAX_WAIT

NOW = 1_800_000_000.0
NAMES = [
    "retry-after", "retry-after-ms", "x-ratelimit-reset", "x-ratelimit-limit", "x-ratelimit-limit-dynamic",
    "x-ratelimit-remaining", "x-tokenlimit-limit", "x-ratelimit-limit-requests", "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
]  # fmt: skip
PROVIDERS = ["together", "openai", "groq", "compatible", "local", "xai", "cohere", ""]
DIALECTS: dict[str, Sequence[RateLimitDialect]] = {
    name: load_config(name).rate_limit_headers if name else () for name in PROVIDERS
}
odd_values = (
    st.text(max_size=30)
    | st.floats().map(str)
    | st.integers().map(str)
    | st.sampled_from(
        ["1e309", "-1e309", "nan", "-0", "9" * 5000, "1e999999", "\u0661", "1_0", "0x10", "1h2m3s", "9" * 400 + "h"]
    )
    | st.datetimes().map(email.utils.format_datetime)
)
headers = st.dictionaries(st.sampled_from(NAMES), odd_values)


@given(st.sampled_from(PROVIDERS), headers, st.text(max_size=80) | odd_values.map("try again in {}s".format))
def test_any_headers_give_a_bounded_wait_and_valid_limits(provider: str, values: dict[str, str], text: str) -> None:
    wait = read_wait_seconds(DIALECTS[provider], values, text, now=NOW)
    assert wait is None or 0 <= wait <= MAX_WAIT
    limits = read_rate_limits(DIALECTS[provider], values)
    for rate in (limits.requests_per_second, limits.tokens_per_second):
        assert rate is None or 0 < rate <= 1e9
    for count in (limits.remaining_requests, limits.reset_requests, limits.reset_tokens):
        assert count is None or count >= 0


def test_the_sources_of_a_wait_are_used_in_order() -> None:
    values = {"retry-after-ms": "1500", "retry-after": "7", "x-ratelimit-reset": "9"}
    assert read_wait_seconds(DIALECTS["together"], values, "try again in 11s") == 1.5
    del values["retry-after-ms"]
    assert read_wait_seconds(DIALECTS["together"], values, "try again in 11s") == 7
    del values["retry-after"]
    assert read_wait_seconds(DIALECTS["together"], values, "try again in 11s") == 9
    assert read_wait_seconds(DIALECTS["together"], {}, "try again in 11s") == 11
    assert read_wait_seconds(DIALECTS["together"], {}) is None


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("0", 0), ("2.5", 2.5), ("-3", None), ("nan", None), ("1e309", None), ("inf", None), ("31536000", MAX_WAIT),
        (email.utils.formatdate(NOW + 30, usegmt=True), 30), (email.utils.formatdate(NOW - 3600, usegmt=True), 0),
        (email.utils.formatdate(NOW + 10**8, usegmt=True), MAX_WAIT), ("soon", None), ("", None),
    ],
)  # fmt: skip
def test_retry_after_in_seconds_and_as_a_date(text: str, wait: float | None) -> None:
    assert read_wait_seconds(DIALECTS["openai"], {"retry-after": text}, now=NOW) == wait


def test_an_invalid_header_is_skipped_for_the_next() -> None:
    assert read_wait_seconds(DIALECTS["openai"], {"retry-after-ms": "nan", "retry-after": "4"}) == 4


def test_openai_resets_count_only_if_nothing_remains() -> None:
    values = {"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "6m0s"}
    assert read_wait_seconds(DIALECTS["openai"], values) is None
    values["x-ratelimit-remaining-requests"] = "0"
    values["x-ratelimit-reset-requests"] = "12ms"
    assert read_wait_seconds(DIALECTS["openai"], values) == 0.012


def test_the_daily_limit_of_groq_is_neither_a_wait_nor_a_rate() -> None:
    values = {
        "x-ratelimit-limit-requests": "14400", "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "23h59m", "x-ratelimit-limit-tokens": "6000",
    }  # fmt: skip
    assert read_wait_seconds(DIALECTS["groq"], values) is None
    assert read_wait_seconds(DIALECTS["groq"], values, "Rate limit reached. Please try again in 2.5s. Visit") == 2.5
    assert read_rate_limits(DIALECTS["groq"], values).requests_per_second is None
    assert read_rate_limits(DIALECTS["groq"], values).tokens_per_second == 100


def test_rates_have_the_units_of_each_provider() -> None:
    together = read_rate_limits(
        DIALECTS["together"], {"x-ratelimit-limit": "10", "x-ratelimit-reset": "2", "x-tokenlimit-limit": "5000"}
    )
    assert (together.requests_per_second, together.reset_requests, together.tokens_per_second) == (10, 2, 5000)
    assert (
        read_rate_limits(
            DIALECTS["together"], {"x-ratelimit-limit": "10", "x-ratelimit-limit-dynamic": "4"}
        ).requests_per_second
        == 4
    )
    openai = read_rate_limits(
        DIALECTS["openai"], {"x-ratelimit-limit-requests": "600", "x-ratelimit-limit-tokens": "60000"}
    )
    assert (openai.requests_per_second, openai.tokens_per_second) == (10, 1000)
    assert read_rate_limits(DIALECTS["cohere"], {"x-ratelimit-limit-requests": "600"}).requests_per_second is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("12ms", 0.012),
        ("1h2m3.5s", 3723.5),
        ("0", 0),
        ("5", None),
        ("1x", None),
        ("-1s", None),
    ],
)
def test_go_durations_are_parsed_or_none(text: str, seconds: float | None) -> None:
    assert parse_go_duration(text) == seconds


@pytest.mark.parametrize("text", ["0" * 64 + "5", "0" * 5000 + "5"])
def test_a_value_of_more_characters_than_a_number_needs_is_none(text: str) -> None:
    values = {"retry-after": text, "x-ratelimit-reset": text, "x-ratelimit-limit": text}
    assert read_wait_seconds(DIALECTS["together"], values) is None
    assert read_rate_limits(DIALECTS["together"], values).requests_per_second is None
    assert parse_go_duration(f"{text}s") is None


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59_999))
def test_any_go_duration_is_parsed_exactly(hours: int, minutes: int, milliseconds: int) -> None:
    seconds = parse_go_duration(f"{hours}h{minutes}m{milliseconds}ms")
    assert seconds == pytest.approx(hours * 3600 + minutes * 60 + milliseconds / 1000)
