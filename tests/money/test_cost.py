"""Usage times price: bases, alternatives, minimums, and a ceiling that is never below the cost."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.cost import Pricing
from mediamill.tasks.providers.operations import find_meter, find_priced_as
from mediamill.tasks.wire import Billing
from tests.money.builders import audio_usage, build_pricing

AUDIO = "transcription"


def compute_cost(prices: Pricing, usage: Usage, max_usd: str | None = None) -> tuple[str | None, str]:
    cost = prices.cost("m", AUDIO, usage, None if max_usd is None else Decimal(max_usd))
    return (None if cost.usd is None else format(cost.usd.normalize(), "f")), cost.basis


def compute_ceiling(prices: Pricing, usage: Usage) -> Decimal | None:
    return prices.ceiling("m", AUDIO, usage)


def test_the_cost_a_provider_states_comes_first() -> None:
    usage = Usage(audio_seconds=Decimal(60), billed_usd=Decimal("0.28"))
    assert compute_cost(build_pricing(AUDIO, ("audio_minute", "9")), usage) == ("0.28", "billed")


@pytest.mark.parametrize(
    ("unit", "usd"), [("audio_second", "0.0001"), ("audio_minute", "0.006"), ("audio_hour", ".36")]
)
def test_time_is_metered_by_any_unit(unit: str, usd: str) -> None:
    assert compute_cost(build_pricing(AUDIO, (unit, usd)), audio_usage("90")) == ("0.009", "metered")


def test_the_price_that_was_used_is_named() -> None:
    cost = build_pricing(AUDIO, ("audio_minute", "0.006"), ("audio_minute", "0.009")).cost(
        "m", AUDIO, audio_usage("60"), None
    )
    assert (cost.usd, cost.source) == (Decimal("0.006"), "$0.006/audio_minute, source 0, 2026-11-20")


@pytest.mark.parametrize(("seconds", "usd"), [("0.1", "1"), ("10", "1"), ("10.5", "1.05")])
def test_min_seconds_are_billed(seconds: str, usd: str) -> None:
    assert compute_cost(
        build_pricing(AUDIO, ("audio_second", "0.1"), min_seconds=Decimal(10)), audio_usage(seconds)
    ) == (
        usd,
        "metered",
    )


@pytest.mark.parametrize(("seconds", "billed"), [("0.4", "0"), ("0.5", "1"), ("2.5", "3"), ("3.49", "3")])
def test_whole_seconds_are_rounded_half_up(seconds: str, billed: str) -> None:
    assert compute_cost(build_pricing(AUDIO, ("audio_second", "1"), whole_seconds=True), audio_usage(seconds)) == (
        billed,
        "metered",
    )


def test_tokens_and_minutes_are_alternatives() -> None:
    both = build_pricing(AUDIO, ("1M_input_tokens", "2.5"), ("1M_output_tokens", "10"), ("audio_minute", "0.006"))
    tokens = Usage(audio_seconds=Decimal(60), input_tokens=1000, output_tokens=100, requests=1)
    assert compute_cost(both, tokens) == ("0.0035", "metered")
    assert compute_cost(both, audio_usage("60")) == ("0.006", "metered")


def test_usage_in_unpriced_tokens_is_metered_by_time() -> None:
    tokens = Usage(audio_seconds=Decimal(60), input_tokens=1000, output_tokens=100)
    assert compute_cost(build_pricing(AUDIO, ("audio_minute", "0.006")), tokens) == ("0.006", "metered")
    assert compute_cost(build_pricing(AUDIO, ("1M_input_tokens", "2.5")), tokens) == (None, "unknown")


def test_audio_and_cached_tokens_have_their_own_price() -> None:
    prices = build_pricing(
        AUDIO, ("1M_input_tokens", "1"), ("1M_audio_input_tokens", "6"), ("1M_cached_input_tokens", "0.5")
    )
    usage = Usage(input_tokens=1_000_000, audio_input_tokens=400_000, cached_input_tokens=200_000)
    assert compute_cost(prices, usage) == ("2.9", "metered")
    assert compute_cost(build_pricing(AUDIO, ("1M_input_tokens", "1")), usage) == ("1", "metered")


def test_without_usage_the_maximum_is_the_estimate() -> None:
    assert compute_cost(build_pricing(AUDIO, ("audio_minute", "0.006")), Usage(requests=1), "0.03") == (
        "0.03",
        "estimated",
    )


def test_without_a_price_the_cost_is_unknown_and_never_zero() -> None:
    assert compute_cost(build_pricing(AUDIO), audio_usage("60")) == (None, "unknown")
    assert compute_cost(build_pricing(AUDIO), Usage()) == (None, "unknown")
    assert compute_ceiling(build_pricing(AUDIO), audio_usage("60")) is None
    assert compute_ceiling(build_pricing(AUDIO, ("audio_minute", "1")), Usage(requests=1)) is None


def test_the_built_in_provider_is_free() -> None:
    assert compute_cost(build_pricing(AUDIO, free=True), audio_usage("60")) == ("0", "free")
    assert compute_ceiling(build_pricing(AUDIO, free=True), Usage()) == 0


def test_the_ceiling_takes_the_highest_price() -> None:
    assert compute_ceiling(
        build_pricing(AUDIO, ("audio_minute", "0.06"), ("audio_hour", "7.2")), audio_usage("1")
    ) == Decimal("0.002")


def test_a_prompts_tokens_raise_the_ceiling() -> None:
    prices = build_pricing(AUDIO, ("audio_minute", "0.006"), ("1M_input_tokens", "2.5"))
    usage = audio_usage("60")
    with_prompt = Usage(audio_seconds=usage.audio_seconds, input_tokens=4000, requests=1)
    low, high = compute_ceiling(prices, usage), compute_ceiling(prices, with_prompt)
    assert low is not None
    assert high == low + Decimal("0.01")


RATES = st.decimals("0.0001", "10", places=6).map(str)
SECONDS = st.decimals("0", "20000", places=3)


@given(
    rows=st.lists(st.tuples(st.sampled_from(["audio_second", "audio_minute", "audio_hour"]), RATES), min_size=1),
    seconds=SECONDS,
    min_seconds=st.sampled_from([0, 10]),
    whole_seconds=st.booleans(),
)
def test_no_cost_is_above_its_ceiling(
    rows: list[tuple[str, str]], seconds: Decimal, min_seconds: int, whole_seconds: bool
) -> None:
    prices = build_pricing(AUDIO, *rows, min_seconds=Decimal(min_seconds), whole_seconds=whole_seconds)
    usage = audio_usage(str(seconds))
    ceiling = compute_ceiling(prices, usage)
    cost = prices.cost("m", AUDIO, usage, ceiling)
    assert cost.usd is not None
    assert ceiling is not None
    assert 0 <= cost.usd <= ceiling
    assert cost.usd == cost.usd.quantize(Decimal("1e-12"))
    assert cost.max_usd == ceiling


@given(seconds=SECONDS, usd=RATES)
def test_a_metered_cost_is_exact_to_twelve_places(seconds: Decimal, usd: str) -> None:
    cost, basis = compute_cost(build_pricing(AUDIO, ("audio_hour", usd)), audio_usage(str(seconds)))
    assert basis == "metered"
    assert cost is not None
    assert abs(Decimal(cost) * 3600 - seconds * Decimal(usd)) <= Decimal("3600e-12") / 2


def test_costs_from_the_price_list_match_hand_calculation() -> None:
    """By hand: 90 s at $0.0015 a minute; 1 s at Groq, billed as 10 s at $0.04 an hour."""
    together = Pricing.load("together", Billing(), find_meter, find_priced_as)
    assert together.cost("openai/whisper-large-v3", AUDIO, audio_usage("90"), None).usd == Decimal("0.00225")
    groq = Pricing.load("groq", Billing(min_seconds=Decimal(10)), find_meter, find_priced_as)
    assert groq.cost("whisper-large-v3-turbo", AUDIO, audio_usage("1"), None).usd == Decimal("0.000111111111")
