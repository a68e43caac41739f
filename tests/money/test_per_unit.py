"""Searches and sessions: what they cost, what they can cost, and that nothing passes its ceiling."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.cost import Pricing
from mediamill.tasks.money.prices import Price, PriceBook
from mediamill.tasks.providers.operations import find_meter, find_price_fallback
from mediamill.tasks.wire import Billing
from tests.helpers.hypothesis_profile import repeatable


def of(name: str) -> Pricing:
    return Pricing.load(name, Billing(), find_meter, find_price_fallback)


def pricing(*rows: tuple[str, str]) -> Pricing:
    listed = [Price(unit, Decimal(usd), f"source {n}", "2026-11-20") for n, (unit, usd) in enumerate(rows)]
    return Pricing("p", Billing(), PriceBook({("p", "m", "rerank"): listed}), find_meter, find_price_fallback)


@pytest.mark.parametrize(("sessions", "usd"), [(1, "0.03"), (0, "0"), (3, "0.09")])
def test_a_new_session_is_billed_and_a_cell_in_it_is_free(sessions: int, usd: str) -> None:
    usage = Usage(sessions=sessions, requests=1)
    cost = of("together").cost("code-interpreter", "code_interpreter", usage, None)
    assert (cost.usd, cost.basis) == (Decimal(usd), "metered")
    assert of("together").ceiling("code-interpreter", "code_interpreter", usage) == Decimal(usd)


def test_rerankers_are_metered_by_searches_or_by_tokens() -> None:
    cohere = of("cohere")
    searches = Usage(input_tokens=9000, output_tokens=0, searches=2, requests=1)
    assert cohere.ceiling("rerank-v3.5", "rerank", searches) == Decimal("0.004")
    told = cohere.cost("rerank-v3.5", "rerank", Usage(searches=2, requests=1), Decimal("0.01"))
    assert (told.usd, told.basis) == (Decimal("0.004"), "metered")
    metered = cohere.cost("rerank-v5.0-pro", "rerank", Usage(input_tokens=1000, output_tokens=0), None)
    assert (metered.usd, metered.basis) == (Decimal("0.00005"), "metered")
    assert cohere.ceiling("rerank-v5.0-pro", "rerank", searches) == Decimal("0.00045")


def test_a_reply_without_usage_is_estimated_at_its_ceiling() -> None:
    cost = pricing(("search", "0.002")).cost("m", "rerank", Usage(requests=1), Decimal("0.004"))
    assert (cost.usd, cost.basis) == (Decimal("0.004"), "estimated")
    assert pricing(("audio_minute", "1")).ceiling("m", "rerank", Usage(searches=1, requests=1)) is None


@repeatable
@given(
    st.lists(st.tuples(st.sampled_from(["search", "session"]), st.decimals("0", "5", places=6).map(str)), min_size=1),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
)
def test_no_count_of_units_costs_more_than_its_ceiling(rows: list[tuple[str, str]], most: int, less: int) -> None:
    prices = pricing(*rows)
    low, high = sorted((most, less))
    ceiling = prices.ceiling("m", "rerank", Usage(searches=high, sessions=high, requests=1))
    cost = prices.cost("m", "rerank", Usage(searches=low, sessions=low, requests=1), ceiling)
    assert ceiling is not None
    assert cost.usd is not None
    assert 0 <= cost.usd <= ceiling
