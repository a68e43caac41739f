"""Prices by the piece: searches of a reranker, sessions of an interpreter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.prices import Price

_COUNTS: Mapping[str, str] = {"search": "searches", "session": "sessions"}
"""What each unit of the price list counts."""


def counted_cost(prices: Iterable[Price], usage: Usage) -> tuple[Decimal, Price] | None:
    """What the pieces a reply tells cost, and the most trusted price of one; None where it tells none with a price."""
    priced = ((_count(price, usage), price) for price in prices)
    return next(((count * price.usd, price) for count, price in priced if count is not None), None)


def most_counted(prices: Iterable[Price], usage: Usage) -> Decimal | None:
    """The most that so many pieces can cost, at the dearest price; None where none is by the piece."""
    costs = [count * price.usd for price in prices if (count := _count(price, usage)) is not None]
    return max(costs, default=None)


def _count(price: Price, usage: Usage) -> int | None:
    name = _COUNTS.get(price.unit)
    return None if name is None else getattr(usage, name)
