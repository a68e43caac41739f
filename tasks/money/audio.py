"""Price of transcription and translation: by the tokens a reply states, else by the length of the recording."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.meter import Metered
from mediamill.tasks.money.prices import Price
from mediamill.tasks.money.tokens import AUDIO, INPUT, MILLION, TokenMeter, token_cost
from mediamill.tasks.wire import Billing

_SECONDS_PER_UNIT = {"audio_second": Decimal(1), "audio_minute": Decimal(60), "audio_hour": Decimal(3600)}
_TOKEN_UNITS = (INPUT, AUDIO)
_TOKEN_MARGIN = Decimal(2)
"""A model billed by tokens, whose maximum is computed by length, may cost up to this many times its price a minute
(estimate)."""
_TOKEN_MIN_SECONDS = Decimal(15)
"""... and a shorter clip as much as one of this length: it may output a few hundred tokens for noise (estimate)."""


class AudioMeter:
    """Prices transcription and translation. Prices of tokens and of time are alternatives and never added."""

    def cost(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Metered | None:
        """Price by tokens where the reply states them and they have a price, else by seconds as the provider counts."""
        if usage.audio_seconds is None:
            return TokenMeter().cost(usage, prices, billing)
        by_tokens = token_cost(prices, usage)
        if by_tokens is not None:
            usd, price = by_tokens
            return Metered(usd, str(price))
        price_per_second = next(_find_prices_per_second(prices), None)
        if price_per_second is None:
            return None
        seconds = usage.audio_seconds
        if billing.whole_seconds:
            seconds = seconds.to_integral_value(ROUND_HALF_UP)
        usd_per_second, price = price_per_second
        return Metered(max(seconds, (usage.requests or 1) * billing.min_seconds) * usd_per_second, str(price))

    def ceiling(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Decimal | None:
        """Price by whole seconds at the highest price. A model billed by tokens gets a margin; its prompt is added.

        Of several requests each is rounded up, and all but one may be shorter than the minimum.
        """
        if usage.audio_seconds is None:
            return TokenMeter().ceiling(usage, prices, billing)
        rates = [rate for rate, _ in _find_prices_per_second(prices)]
        if not rates:
            return None
        token_prices = [price.usd for price in prices if price.unit in _TOKEN_UNITS]
        min_seconds = max(billing.min_seconds, _TOKEN_MIN_SECONDS) if token_prices else billing.min_seconds
        n_more = (usage.requests or 1) - 1
        seconds = max(usage.audio_seconds, min_seconds) + n_more * min_seconds
        max_rate, prompt_usd = max(rates), Decimal(0)
        if token_prices:
            max_rate *= _TOKEN_MARGIN
            prompt_usd = Decimal(usage.input_tokens or 0) * max(token_prices) / MILLION
        return (seconds.to_integral_value(ROUND_CEILING) + n_more) * max_rate + prompt_usd

    def source(self, prices: Sequence[Price], *, flat: bool = False) -> Price | None:
        """The most trusted price by time."""
        return next((price for _, price in _find_prices_per_second(prices)), None)


def _find_prices_per_second(prices: Iterable[Price]) -> Iterator[tuple[Decimal, Price]]:
    """Yield the prices of audio per second, with their rows, most trusted first."""
    return ((price.usd / _SECONDS_PER_UNIT[price.unit], price) for price in prices if price.unit in _SECONDS_PER_UNIT)
