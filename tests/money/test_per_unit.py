"""Price of searches and sessions, which never exceeds its ceiling."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.domain import Usage
from tests.helpers.hypothesis_profile import make_repeatable
from tests.money.builders import build_pricing, load_pricing


@pytest.mark.parametrize(("sessions", "usd"), [(1, "0.03"), (0, "0"), (3, "0.09")])
def test_a_new_session_is_billed_and_a_cell_in_it_is_free(sessions: int, usd: str) -> None:
    usage = Usage(sessions=sessions, requests=1)
    cost = load_pricing("together").cost("code-interpreter", "code_interpreter", usage, None)
    assert (cost.usd, cost.basis) == (Decimal(usd), "metered")
    assert load_pricing("together").ceiling("code-interpreter", "code_interpreter", usage) == Decimal(usd)


def test_rerankers_are_metered_by_searches_or_by_tokens() -> None:
    cohere = load_pricing("cohere")
    searches = Usage(input_tokens=9000, output_tokens=0, searches=2, requests=1)
    assert cohere.ceiling("rerank-v3.5", "rerank", searches) == Decimal("0.004")
    by_search = cohere.cost("rerank-v3.5", "rerank", Usage(searches=2, requests=1), Decimal("0.01"))
    assert (by_search.usd, by_search.basis) == (Decimal("0.004"), "metered")
    by_tokens = cohere.cost("rerank-v5.0-pro", "rerank", Usage(input_tokens=1000, output_tokens=0), None)
    assert (by_tokens.usd, by_tokens.basis) == (Decimal("0.00005"), "metered")
    assert cohere.ceiling("rerank-v5.0-pro", "rerank", searches) == Decimal("0.00045")


def test_a_reply_without_usage_is_estimated_at_its_ceiling() -> None:
    cost = build_pricing("rerank", ("search", "0.002")).cost("m", "rerank", Usage(requests=1), Decimal("0.004"))
    assert (cost.usd, cost.basis) == (Decimal("0.004"), "estimated")
    assert build_pricing("rerank", ("audio_minute", "1")).ceiling("m", "rerank", Usage(searches=1, requests=1)) is None


@make_repeatable()
@given(
    st.lists(st.tuples(st.sampled_from(["search", "session"]), st.decimals("0", "5", places=6).map(str)), min_size=1),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
)
def test_no_count_of_units_costs_more_than_its_ceiling(rows: list[tuple[str, str]], one: int, other: int) -> None:
    prices = build_pricing("rerank", *rows)
    low, high = sorted((one, other))
    ceiling = prices.ceiling("m", "rerank", Usage(searches=high, sessions=high, requests=1))
    cost = prices.cost("m", "rerank", Usage(searches=low, sessions=low, requests=1), ceiling)
    assert ceiling is not None
    assert cost.usd is not None
    assert 0 <= cost.usd <= ceiling
