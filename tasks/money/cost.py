"""Cost: usage times price, with its basis and its source. Unknown is never zero."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from itertools import chain

from mediamill.tasks.domain import FREE, Cost, Usage
from mediamill.tasks.money.per_unit import counted_cost, most_counted
from mediamill.tasks.money.pictures import made_cost, made_source, most_made
from mediamill.tasks.money.prices import Price, PriceBook
from mediamill.tasks.money.speech import CHARACTERS, MINUTES, most_spoken, spoken_cost
from mediamill.tasks.money.tokens import AUDIO, INPUT, MILLION, most_tokens, token_cost, token_source
from mediamill.tasks.money.videos import film_cost, film_source, most_film
from mediamill.tasks.wire import Billing

_QUANTUM = Decimal("0.000000000001")
_SECONDS = {"audio_second": Decimal(1), "audio_minute": Decimal(60), "audio_hour": Decimal(3600)}
_TOKEN_UNITS = (INPUT, AUDIO)
_TOKEN_MARGIN = Decimal(2)
"""A model billed by tokens but limited by length may cost up to this much of its price a minute (estimate)."""
_TOKEN_LEAST_SECONDS = Decimal(15)
"""... and a short clip as much as one of that length, for a few hundred tokens heard in noise (estimate)."""


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
            told = token_source(prices) if price.unit == INPUT and usage.audio_seconds is None else None
            return Cost(_rounded(usd), "metered", told or str(price), most)
        if most is not None:
            return Cost(most, "estimated", str(prices[0]) if prices else None, most)
        return Cost(None, "unknown", None, None)

    def ceiling(self, model: str, operation: str, usage: Usage) -> Decimal | None:
        """The most a request of at most ``usage`` can cost; None when that cannot be stated."""
        if self.billing.free:
            return Decimal(0)
        prices = self.book.find(self.provider, model, operation)
        if usage.characters is not None:
            spoken = most_spoken(prices, usage)
            return None if spoken is None else spoken.quantize(_QUANTUM, ROUND_CEILING)
        if usage.videos is not None:
            most = most_film(prices, usage)
            return None if most is None else most.quantize(_QUANTUM, ROUND_CEILING)
        if usage.images is not None:
            made = most_made(prices, usage)
            return None if made is None else made.quantize(_QUANTUM, ROUND_CEILING)
        if usage.audio_seconds is None:
            most = most_counted(prices, usage)
            most = most_tokens(prices, usage) if most is None else most
            return None if most is None else most.quantize(_QUANTUM, ROUND_CEILING)
        rates = [rate for rate, _ in _per_second(prices)]
        if not rates:
            return None
        seconds = max(usage.audio_seconds, self.billing.least_seconds)
        dearest, told = max(rates), Decimal(0)
        token_prices = [price.usd for price in prices if price.unit in _TOKEN_UNITS]
        if token_prices:
            seconds, dearest = max(seconds, _TOKEN_LEAST_SECONDS), dearest * _TOKEN_MARGIN
            told = Decimal(usage.input_tokens or 0) * max(token_prices) / MILLION
        return (seconds.to_integral_value(ROUND_CEILING) * dearest + told).quantize(_QUANTUM, ROUND_CEILING)

    def source(self, model: str, operation: str, *, flat: bool = False) -> str | None:
        """The price a request is metered with, in words; ``flat`` where pictures of any size cost the same."""
        prices = self.book.find(self.provider, model, operation)
        spoken = (price for price in prices if price.unit in (CHARACTERS, MINUTES))
        heard = (price for _, price in _per_second(prices))
        chosen = next(chain(heard, spoken), None) or made_source(prices, flat=flat) or film_source(prices)
        if chosen is None:
            return token_source(prices) or (str(prices[0]) if prices else None)
        return str(chosen)

    def _metered(self, prices: tuple[Price, ...], usage: Usage) -> tuple[Decimal, Price] | None:
        if usage.characters is not None:
            return spoken_cost(prices, usage)
        if usage.videos is not None:
            return film_cost(prices, usage)
        if usage.images is not None:
            return made_cost(prices, usage)
        counted = counted_cost(prices, usage)
        if counted is not None:
            return counted
        by_tokens = token_cost(prices, usage)  # never added to prices a minute: the two are alternatives
        if by_tokens is not None or usage.audio_seconds is None:
            return by_tokens
        rate = next(iter(_per_second(prices)), None)
        if rate is None:
            return None
        seconds = usage.audio_seconds
        if self.billing.whole_seconds:
            seconds = seconds.to_integral_value(ROUND_HALF_UP)
        return max(seconds, self.billing.least_seconds) * rate[0], rate[1]


def _per_second(prices: Iterable[Price]) -> Iterable[tuple[Decimal, Price]]:
    """Prices of audio by the second, in the order of trust."""
    return ((price.usd / _SECONDS[price.unit], price) for price in prices if price.unit in _SECONDS)


def _rounded(usd: Decimal) -> Decimal:
    return usd.quantize(_QUANTUM, ROUND_HALF_EVEN)
