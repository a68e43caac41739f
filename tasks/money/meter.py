"""The interface of meters: a meter prices one kind of operation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.prices import Price
from mediamill.tasks.wire import Billing


@dataclass(frozen=True, slots=True)
class Metered:
    """The cost of a usage in US dollars, and the price it comes from, in words."""

    usd: Decimal
    source: str


class Meter(Protocol):
    """Prices one kind of operation. ``prices`` are one model's, the most trusted first."""

    def cost(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Metered | None:
        """The cost of ``usage`` at the most trusted prices; None where a price or a quantity is missing."""
        ...

    def ceiling(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Decimal | None:
        """The maximum cost of up to ``usage``, at the highest prices; None where that cannot be stated."""
        ...

    def source(self, prices: Sequence[Price], *, flat: bool = False) -> Price | None:
        """The price that most of a cost comes from, before the usage is known; ``flat`` where size does not count."""
        ...


def pick_trusted_prices(prices: Iterable[Price]) -> dict[str, Price]:
    """The most trusted price of each unit."""
    trusted: dict[str, Price] = {}
    for price in prices:
        trusted.setdefault(price.unit, price)
    return trusted


def max_by_unit(prices: Iterable[Price]) -> dict[str, Decimal]:
    """The highest price of each unit, in US dollars."""
    max_prices: dict[str, Decimal] = {}
    for price in prices:
        max_prices[price.unit] = max(price.usd, max_prices.get(price.unit, Decimal(0)))
    return max_prices
