"""Price of generated speech: by the characters sent, or by tokens or minutes of audio where a model has such prices."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.meter import Metered, max_by_unit, pick_trusted_prices
from mediamill.tasks.money.prices import Price
from mediamill.tasks.money.tokens import INPUT, MILLION, OUTPUT
from mediamill.tasks.wire import Billing

_MINUTE_SECONDS = Decimal(60)
_TOKEN_MARGIN = Decimal(2)
"""A model that is billed by tokens may cost up to this many times its price per minute (estimate)."""
CHARACTERS, MINUTES, AUDIO_OUTPUT = "1M_characters", "output_audio_minute", "1M_audio_output_tokens"


class SpeechMeter:
    """Prices speech generation."""

    def cost(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Metered | None:
        """Price by characters, else tokens, else minutes of audio: the first that has a price and is stated."""
        by_unit = pick_trusted_prices(prices)
        if usage.characters is not None and CHARACTERS in by_unit:
            price = by_unit[CHARACTERS]
            return Metered(usage.characters * price.usd / MILLION, str(price))
        output_price = by_unit.get(AUDIO_OUTPUT) or by_unit.get(OUTPUT)
        input_price = by_unit.get(INPUT)
        if usage.output_tokens is not None and output_price and input_price:
            usd = ((usage.input_tokens or 0) * input_price.usd + usage.output_tokens * output_price.usd) / MILLION
            return Metered(usd, str(output_price))
        if usage.speech_seconds is not None and MINUTES in by_unit:
            price = by_unit[MINUTES]
            return Metered(usage.speech_seconds * price.usd / _MINUTE_SECONDS, str(price))
        return None

    def ceiling(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Decimal | None:
        """Price by characters, else minutes of audio with a margin, because tokens are not known before."""
        max_prices = max_by_unit(prices)
        if usage.characters is not None and CHARACTERS in max_prices:
            return usage.characters * max_prices[CHARACTERS] / MILLION
        if usage.speech_seconds is not None and MINUTES in max_prices:
            return usage.speech_seconds * max_prices[MINUTES] * _TOKEN_MARGIN / _MINUTE_SECONDS
        return None

    def source(self, prices: Sequence[Price], *, flat: bool = False) -> Price | None:
        """The first price of characters or of minutes."""
        return next((price for price in prices if price.unit in (CHARACTERS, MINUTES)), None)
