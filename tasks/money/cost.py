"""Cost: usage times price, with its basis and its source. Unknown is never zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal

from mediamill.tasks.domain import FREE, Cost, Usage
from mediamill.tasks.model_names import find_undated_name
from mediamill.tasks.money.meter import Meter
from mediamill.tasks.money.prices import Price, PriceBook
from mediamill.tasks.money.tokens import format_token_prices
from mediamill.tasks.wire import Billing

_USD_QUANTUM = Decimal("0.000000000001")


@dataclass(frozen=True, slots=True)
class Pricing:
    """The prices and rules of one provider.

    Attributes:
        find_meter: the meter of an operation, by its name; None for one whose price is not known.
        find_priced_as: the operation whose prices hold for one that has none of its own, by its name; None for the
            others.
    """

    provider: str
    billing: Billing
    price_book: PriceBook
    find_meter: Callable[[str], Meter | None]
    find_priced_as: Callable[[str], str | None]

    @classmethod
    def load(
        cls,
        provider: str,
        billing: Billing,
        find_meter: Callable[[str], Meter | None],
        find_priced_as: Callable[[str], str | None],
    ) -> Pricing:
        """The pricing of a provider, from the price list and the provider's own."""
        return cls(provider, billing, PriceBook.load(billing.prices), find_meter, find_priced_as)

    def cost(self, model: str, operation: str, usage: Usage, max_usd: Decimal | None) -> Cost:
        """The cost of an answered request.

        Its basis is ``billed`` when the provider states the cost itself; ``metered`` when it comes from the usage;
        ``estimated`` when the reply states no usage: then it is the request's maximum ``max_usd``; ``unknown`` without
        a price.
        """
        if self.billing.free:
            return FREE
        if usage.billed_usd is not None:
            return Cost(usage.billed_usd, "billed", "the provider's reply", max_usd)
        prices = self._find_prices(model, operation)
        meter = self.find_meter(operation)
        metered = meter.cost(usage, prices, self.billing) if meter else None
        if metered is not None:
            return Cost(metered.usd.quantize(_USD_QUANTUM, ROUND_HALF_EVEN), "metered", metered.source, max_usd)
        if max_usd is not None:
            return Cost(max_usd, "estimated", str(prices[0]) if prices else None, max_usd)
        return Cost(None, "unknown", None, None)

    def ceiling(self, model: str, operation: str, usage: Usage) -> Decimal | None:
        """The maximum cost of a request that uses at most ``usage``; None when that cannot be stated."""
        if self.billing.free:
            return Decimal(0)
        meter = self.find_meter(operation)
        if meter is None:
            return None
        ceiling = meter.ceiling(usage, self._find_prices(model, operation), self.billing)
        return None if ceiling is None else ceiling.quantize(_USD_QUANTUM, ROUND_CEILING)

    def source(self, model: str, operation: str, *, flat: bool = False) -> str | None:
        """The price that a request is metered with, in words; ``flat`` where images of any size cost the same."""
        prices = self._find_prices(model, operation)
        meter = self.find_meter(operation)
        price = meter.source(prices, flat=flat) if meter else None
        if price is not None:
            return str(price)
        return format_token_prices(prices) or (str(prices[0]) if prices else None)

    def _find_prices(self, model: str, operation: str) -> tuple[Price, ...]:
        """A model's prices for an operation or the one it is priced as; where it has none, those without its date."""
        operations = [name for name in (operation, self.find_priced_as(operation)) if name is not None]
        for name in operations:
            if prices := self.price_book.find(self.provider, model, name):
                return prices
        undated = find_undated_name(model)
        for name in operations if undated is not None else ():
            if prices := self.price_book.find(self.provider, undated or "", name):
                return tuple(replace(price, source=f"{price.source} (of {undated})") for price in prices)
        return ()
