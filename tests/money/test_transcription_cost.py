"""The cost of a transcription, its basis, and its ceiling."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.prices import Price
from mediamill.tasks.providers.registry import providers_with
from tests.helpers.hypothesis_profile import make_repeatable
from tests.money.builders import audio_usage, build_pricing, load_pricing
from tests.money.test_price_list import PAID_MODELS

ONE = Decimal(1)
MINUTE = Price("audio_minute", Decimal("0.006"), "somewhere", "2026-01-01")
TOKENS = (
    Price("1M_input_tokens", Decimal("2.5"), "somewhere", "2026-01-01"),
    Price("1M_output_tokens", Decimal(10), "somewhere", "2026-01-01"),
)


def test_the_cost_a_provider_states_is_billed() -> None:
    cost = build_pricing("transcription", MINUTE).cost(
        "m", "transcription", Usage(Decimal(60), billed_usd=Decimal("0.28")), ONE
    )
    assert (cost.usd, cost.basis, cost.source, cost.max_usd) == (Decimal("0.28"), "billed", "the provider's reply", ONE)


def test_a_metered_cost_names_its_price() -> None:
    cost = build_pricing("transcription", MINUTE).cost("m", "transcription", audio_usage("90"), ONE)
    assert (cost.usd, cost.basis) == (Decimal("0.009"), "metered")
    assert cost.source == "$0.006/audio_minute, somewhere, 2026-01-01"


def test_a_reply_without_usage_is_estimated_at_its_ceiling() -> None:
    cost = build_pricing("transcription", MINUTE).cost("m", "transcription", Usage(requests=1), ONE)
    assert (cost.usd, cost.basis) == (ONE, "estimated")


@pytest.mark.parametrize("usage", [audio_usage("60"), Usage(requests=1), Usage(input_tokens=3)])
def test_without_a_price_the_cost_is_unknown_and_not_zero(usage: Usage) -> None:
    cost = build_pricing("transcription").cost("m", "transcription", usage, None)
    assert (cost.usd, cost.basis, cost.source) == (None, "unknown", None)
    assert build_pricing("transcription").ceiling("m", "transcription", usage) is None


def test_only_the_built_in_provider_is_free() -> None:
    for name in providers_with("transcription"):
        cost = load_pricing(name).cost("pocketsphinx", "transcription", audio_usage("60"), None)
        assert (cost.basis == "free") == (name == "local")
    assert load_pricing("local").ceiling("pocketsphinx", "transcription", Usage()) == 0


@pytest.mark.parametrize(("seconds", "billed"), [("0.01", "10"), ("9.99", "10"), ("10", "10"), ("36", "36")])
def test_groq_bills_ten_seconds_at_least(seconds: str, billed: str) -> None:
    cost = load_pricing("groq").cost("whisper-large-v3", "transcription", audio_usage(seconds), None)
    assert cost.usd == (Decimal("0.111") * Decimal(billed) / 3600).quantize(Decimal("1e-12"))


@pytest.mark.parametrize(
    ("seconds", "billed"), [("0.4", 0), ("0.5", 1), ("1.49", 1), ("2.5", 3), ("3.5", 4), ("60", 60)]
)
def test_openai_bills_whole_seconds(seconds: str, billed: int) -> None:
    cost = load_pricing("openai").cost("whisper-1", "transcription", audio_usage(seconds), None)
    assert cost.usd == Decimal("0.0001") * billed


def test_together_bills_the_exact_length() -> None:
    assert load_pricing("together").cost(
        "openai/whisper-large-v3", "transcription", audio_usage("0.5"), None
    ).usd == Decimal("0.0000125")


def test_tokens_and_minutes_are_alternatives() -> None:
    both = build_pricing("transcription", MINUTE, *TOKENS)
    usage = Usage(audio_seconds=Decimal(60), input_tokens=1_000_000, output_tokens=100_000, requests=1)
    assert both.cost("m", "transcription", usage, None).usd == Decimal("3.5")
    assert both.cost("m", "transcription", audio_usage("60"), None).usd == Decimal("0.006")


def test_tokens_without_a_price_for_them_are_not_free() -> None:
    only_input = build_pricing("transcription", TOKENS[0])
    usage = Usage(input_tokens=10, output_tokens=10)
    assert only_input.cost("m", "transcription", usage, None).basis == "unknown"
    minutes = build_pricing("transcription", MINUTE).cost("m", "transcription", Usage(input_tokens=10, requests=1), ONE)
    assert (minutes.usd, minutes.basis) == (ONE, "estimated")


def test_an_unknown_length_has_no_ceiling() -> None:
    assert build_pricing("transcription", MINUTE).ceiling("m", "transcription", Usage(requests=1)) is None


def test_the_ceiling_uses_the_highest_price() -> None:
    cheap = Price("audio_hour", Decimal("0.01"), "somewhere", "2026-01-01")
    assert build_pricing("transcription", cheap, MINUTE).ceiling("m", "transcription", audio_usage("60")) == Decimal(
        "0.006"
    )
    assert build_pricing("transcription", cheap, MINUTE).cost(
        "m", "transcription", audio_usage("3600"), None
    ).usd == Decimal("0.01")


lengths = st.decimals(0, 100_000, places=9)


@make_repeatable()
@given(st.sampled_from(PAID_MODELS), lengths, st.decimals(0, 1, places=6))
def test_a_ceiling_is_never_below_the_metered_cost(paid: tuple[str, str], max_seconds: Decimal, share: Decimal) -> None:
    name, model = paid
    priced = load_pricing(name)
    ceiling = priced.ceiling(model, "transcription", Usage(audio_seconds=max_seconds, requests=1))
    assert ceiling is not None
    for seconds in (max_seconds, max_seconds * share):
        cost = priced.cost(model, "transcription", Usage(audio_seconds=seconds, requests=1), ceiling)
        assert cost.usd is not None
        assert 0 <= cost.usd <= ceiling
        assert cost.usd == round(cost.usd, 12)


@make_repeatable()
@given(
    st.lists(
        st.tuples(st.sampled_from(["audio_second", "audio_minute", "audio_hour"]), st.decimals(0, 10, places=9)),
        min_size=1,
    ),
    lengths,
    st.booleans(),
    st.decimals(0, 60, places=3),
)
def test_a_ceiling_is_never_below_the_cost_for_any_prices_and_rules(
    prices: list[tuple[str, Decimal]], seconds: Decimal, whole_seconds: bool, min_seconds: Decimal
) -> None:
    listed = [Price(unit, usd, "somewhere", "2026-01-01") for unit, usd in prices]
    priced = build_pricing("transcription", *listed, whole_seconds=whole_seconds, min_seconds=min_seconds)
    usage = Usage(audio_seconds=seconds, requests=1)
    ceiling, cost = priced.ceiling("m", "transcription", usage), priced.cost("m", "transcription", usage, None)
    assert ceiling is not None
    assert cost.usd is not None
    assert cost.usd <= ceiling
