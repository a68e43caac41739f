"""What speech costs: by the characters sent, or by tokens or minutes of sound where a model is priced so."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.prices import Price

_MILLION = Decimal(1_000_000)
_MINUTE = Decimal(60)
_MARGIN = Decimal(2)
"""A model billed by tokens may cost up to this much of its price a minute (estimate)."""
CHARACTERS, MINUTES = "1M_characters", "output_audio_minute"


def spoken_cost(prices: Iterable[Price], usage: Usage) -> tuple[Decimal, Price] | None:
    """Dollars and the price they come from; None where the usage has nothing that is priced."""
    by_unit = {price.unit: price for price in reversed(tuple(prices))}
    if usage.characters is not None and CHARACTERS in by_unit:
        price = by_unit[CHARACTERS]
        return usage.characters * price.usd / _MILLION, price
    out = by_unit.get("1M_audio_output_tokens") or by_unit.get("1M_output_tokens")
    into = by_unit.get("1M_input_tokens")
    if usage.output_tokens is not None and out and into:
        return ((usage.input_tokens or 0) * into.usd + usage.output_tokens * out.usd) / _MILLION, out
    if usage.speech_seconds is not None and MINUTES in by_unit:
        price = by_unit[MINUTES]
        return usage.speech_seconds * price.usd / _MINUTE, price
    return None


def most_spoken(prices: Iterable[Price], usage: Usage) -> Decimal | None:
    """The most that speech of at most ``usage`` can cost, by the dearest source; None where it has no price."""
    known = tuple(prices)
    by_character = [price.usd for price in known if price.unit == CHARACTERS]
    if usage.characters is not None and by_character:
        return usage.characters * max(by_character) / _MILLION
    by_minute = [price.usd for price in known if price.unit == MINUTES]
    if usage.speech_seconds is not None and by_minute:
        return usage.speech_seconds * max(by_minute) * _MARGIN / _MINUTE
    return None
