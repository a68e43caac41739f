"""A stated total is split exactly, and no request gets more than it can have cost."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.money.apportion import apportion

AMOUNTS = st.decimals(min_value=0, max_value=1000, places=12)


@given(AMOUNTS, st.lists(st.one_of(st.none(), AMOUNTS), min_size=1, max_size=30))
def test_the_shares_add_up_exactly_and_none_is_negative(total: Decimal, maxima: list[Decimal | None]) -> None:
    shares = apportion(total, maxima)
    assert len(shares) == len(maxima)
    assert sum(shares) == total
    assert min(shares) >= 0


@given(st.lists(AMOUNTS, min_size=1, max_size=30), st.decimals(min_value=0, max_value=1, places=3))
def test_no_share_is_above_its_maximum_where_the_total_is_not(maxima: list[Decimal], part: Decimal) -> None:
    total = (sum(maxima, Decimal(0)) * part).quantize(Decimal("1e-12"))
    shares = apportion(min(total, sum(maxima, Decimal(0))), [*maxima])
    assert all(share <= maximum for share, maximum in zip(shares, maxima, strict=True))


@pytest.mark.parametrize(
    ("total", "maxima", "shares"),
    [
        ("0", ["0.2", "0.1"], ["0", "0"]),
        ("0.3", ["0.2", "0.1"], ["0.2", "0.1"]),
        ("0.15", ["0.2", "0.1"], ["0.1", "0.05"]),
        ("0.3", ["0.1", None], ["0.1", "0.2"]),
        ("0.1", ["0.2", None], ["0.05", "0.05"]),
        ("0.6", ["0.2", "0.1"], ["0.4", "0.2"]),
        ("0.1", [None, None], ["0.05", "0.05"]),
    ],
)
def test_shares_follow_the_maxima(total: str, maxima: list[str | None], shares: list[str]) -> None:
    found = apportion(Decimal(total), [None if maximum is None else Decimal(maximum) for maximum in maxima])
    assert found == [Decimal(share) for share in shares]
