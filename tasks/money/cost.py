"""Cost: usage times price, with its basis and its source. Unknown is never zero."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal

from tasks.item import FREE, Cost, Usage
from tasks.money.prices import Price, PriceBook

_QUANTUM = Decimal("0.000000000001")
_MILLION = Decimal(1_000_000)
_SECONDS = {"audio_second": Decimal(1), "audio_minute": Decimal(60), "audio_hour": Decimal(3600)}
_TOKENS = {"input_tokens": "1M_input_tokens", "output_tokens": "1M_output_tokens"}
_TOKEN_MARGIN = Decimal(2)
"""A model billed by tokens but limited by length may cost up to this much of its price a minute (estimate)."""


@dataclass(frozen=True, slots=True)
class Billing:
    """A provider's rules beside its prices (provider docs).

    ``free`` costs nothing; ``least_seconds`` is billed at least; ``whole_seconds`` bills to the nearest second.
    """

    free: bool = False
    least_seconds: Decimal = Decimal(0)
    whole_seconds: bool = False


@dataclass(frozen=True, slots=True)
class Pricing:
    """The prices and rules of one provider."""

    provider: str
    billing: Billing
    book: PriceBook

    @classmethod
    def of(cls, provider: str, billing: Billing) -> Pricing:
        """The pricing of a provider, from the price list."""
        return cls(provider, billing, PriceBook.load())

    def cost(self, model: str, operation: str, usage: Usage, most: Decimal | None) -> Cost:
        """What an answered request cost.

        ``billed`` when the provider said so itself; ``metered`` from its usage; ``estimated`` from the
        request's ceiling when the reply told no usage; ``unknown`` without a price.
        """
        if self.billing.free:
            return FREE
        if usage.billed_usd is not None:
            return Cost(usage.billed_usd, "billed", "the provider's reply", most)
        prices = self.book.find(self.provider, model, operation)
        priced = self._metered(prices, usage)
        if priced is not None:
            usd, price = priced
            return Cost(_rounded(usd), "metered", str(price), most)
        if most is not None:
            return Cost(most, "estimated", str(prices[0]) if prices else None, most)
        return Cost(None, "unknown", None, None)

    def ceiling(self, model: str, operation: str, usage: Usage) -> Decimal | None:
        """The most a request of at most ``usage`` can cost; None when that cannot be stated."""
        if self.billing.free:
            return Decimal(0)
        prices = self.book.find(self.provider, model, operation)
        if usage.audio_seconds is None:
            return None
        rates = list(_per_second(prices))
        if not rates:
            return None
        seconds = max(usage.audio_seconds, self.billing.least_seconds).to_integral_value(ROUND_CEILING)
        by_tokens = any(price.unit.startswith("1M_") for price in prices)
        dearest = max(rate for rate, _ in rates) * (_TOKEN_MARGIN if by_tokens else 1)
        return (seconds * dearest).quantize(_QUANTUM, ROUND_CEILING)

    def source(self, model: str, operation: str) -> str | None:
        """The price a request is metered with, in words."""
        prices = self.book.find(self.provider, model, operation)
        chosen = next((price for _, price in _per_second(prices)), prices[0] if prices else None)
        return None if chosen is None else str(chosen)

    def _metered(self, prices: tuple[Price, ...], usage: Usage) -> tuple[Decimal, Price] | None:
        by_tokens = self._by_tokens(prices, usage)
        if by_tokens is not None or usage.audio_seconds is None:
            return by_tokens
        rate = next(iter(_per_second(prices)), None)
        if rate is None:
            return None
        seconds = usage.audio_seconds
        if self.billing.whole_seconds:
            seconds = seconds.to_integral_value(ROUND_HALF_UP)
        return max(seconds, self.billing.least_seconds) * rate[0], rate[1]

    @staticmethod
    def _by_tokens(prices: tuple[Price, ...], usage: Usage) -> tuple[Decimal, Price] | None:
        """Token prices and prices a minute are alternatives, never added: tokens count where the reply has them."""
        if usage.input_tokens is None and usage.output_tokens is None:
            return None
        total, first = Decimal(0), None
        for name, unit in _TOKENS.items():
            tokens = getattr(usage, name)
            price = next((p for p in prices if p.unit == unit), None)
            if tokens and price is None:
                return None
            if price is not None:
                total += Decimal(tokens or 0) * price.usd / _MILLION
                first = first or price
        return None if first is None else (total, first)


def _per_second(prices: Iterable[Price]) -> Iterable[tuple[Decimal, Price]]:
    """Prices of audio by the second, in the order of trust."""
    return ((price.usd / _SECONDS[price.unit], price) for price in prices if price.unit in _SECONDS)


def _rounded(usd: Decimal) -> Decimal:
    return usd.quantize(_QUANTUM, ROUND_HALF_EVEN)
