"""Prices by the unit: searches of a reranker, sessions of an interpreter, requests of any kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.meter import Metered
from mediamill.tasks.money.prices import Price
from mediamill.tasks.money.tokens import TokenMeter
from mediamill.tasks.wire import Billing

_USAGE_FIELDS: Mapping[str, str] = {"search": "searches", "session": "sessions", "request": "requests"}
"""The field of a usage that each unit of the price list counts."""


class UnitMeter:
    """Prices by the units that have a price, else by tokens."""

    def cost(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Metered | None:
        """Price the units that the reply states at the most trusted price, else its tokens."""
        for price in prices:
            count = _count_units(price, usage)
            if count is not None:
                return Metered(count * price.usd, str(price))
        return TokenMeter().cost(usage, prices, billing)

    def ceiling(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Decimal | None:
        """Price the units at the highest price, else the tokens."""
        costs = [count * price.usd for price in prices if (count := _count_units(price, usage)) is not None]
        return max(costs) if costs else TokenMeter().ceiling(usage, prices, billing)

    def source(self, prices: Sequence[Price], *, flat: bool = False) -> Price | None:
        """None: the first price of the list is the one."""
        return None


def _count_units(price: Price, usage: Usage) -> int | None:
    name = _USAGE_FIELDS.get(price.unit)
    return None if name is None else getattr(usage, name)
