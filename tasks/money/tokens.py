"""What tokens cost: metered from a reply's usage, and the most a request can come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.meter import Metered
from mediamill.tasks.money.prices import Price
from mediamill.tasks.wire import Billing

MILLION = Decimal(1_000_000)
INPUT, OUTPUT, AUDIO, CACHED = (
    "1M_input_tokens",
    "1M_output_tokens",
    "1M_audio_input_tokens",
    "1M_cached_input_tokens",
)
_TIERS = (("_gt272k", 272_000), ("_gt200k", 200_000))
"""Longer prompts have prices of their own, for the whole request (provider docs)."""


class TokenMeter:
    """Prompts and answers."""

    def cost(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Metered | None:
        """The tokens of a reply; None where one of the prices it takes is missing."""
        metered = token_price(prices, usage)
        if metered is None:
            return None
        usd, price = metered
        both = token_source(prices) if price.unit == INPUT else None
        return Metered(usd, both or str(price))

    def ceiling(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Decimal | None:
        """The most that a prompt and its answer can cost, at the dearest of the prices that sources state.

        ``usage`` holds the most tokens of each; None where one of them is not bounded or has no price.
        """
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        dearest: dict[str, Decimal] = {}
        for price in prices:
            unit = _without_tier(price.unit, usage.input_tokens)
            if unit is not None:
                dearest[unit] = max(price.usd, dearest.get(unit, Decimal(0)))
        if INPUT not in dearest or (usage.output_tokens and OUTPUT not in dearest):
            return None
        return (usage.input_tokens * dearest[INPUT] + usage.output_tokens * dearest.get(OUTPUT, Decimal(0))) / MILLION

    def source(self, prices: Sequence[Price], *, flat: bool = False) -> Price | None:
        """None: two prices say it, see :func:`token_source`."""
        return None


def token_price(prices: Iterable[Price], usage: Usage) -> tuple[Decimal, Price] | None:
    """What a reply's tokens cost in US dollars, and the price its input was metered with.

    Audio and cached tokens are part of the input's, and count as such where they have no price of their own. None
    where a price is missing, or the reply states no tokens.
    """
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    by_unit = _by_unit(prices, usage.input_tokens or 0)
    audio = min(usage.audio_input_tokens or 0, usage.input_tokens or 0)
    cached = min(usage.cached_input_tokens or 0, (usage.input_tokens or 0) - audio)
    counts = {
        INPUT: (usage.input_tokens or 0) - audio - cached,
        OUTPUT: usage.output_tokens or 0,
        AUDIO: audio,
        CACHED: cached,
    }
    total, used = Decimal(0), []
    for unit, tokens in counts.items():
        price = by_unit.get(unit) or by_unit.get(INPUT if "input" in unit else unit)
        if price is None:
            if tokens:
                return None
            continue
        total += tokens * price.usd / MILLION
        used.append(price)
    return (total, used[0]) if used else None


def token_source(prices: Iterable[Price]) -> str | None:
    """What prompts and answers cost, in words; None where either has no price."""
    by_unit = _by_unit(prices, 0)
    into, out = by_unit.get(INPUT), by_unit.get(OUTPUT)
    if into is None or out is None:
        return None
    text = f"${into.usd} in, ${out.usd} out per 1M tokens, {into.source}, {into.as_of}"
    return text if (into.source, into.as_of) == (out.source, out.as_of) else f"{text}; {out.source}, {out.as_of}"


def _by_unit(prices: Iterable[Price], tokens: int) -> dict[str, Price]:
    """The most trusted price of each unit; that of the prompt's length where it has one."""
    found: dict[str, Price] = {}
    long: dict[str, Price] = {}
    for price in prices:
        unit = _without_tier(price.unit, tokens)
        if unit is not None:
            (found if unit == price.unit else long).setdefault(unit, price)
    return found | long


def _without_tier(unit: str, tokens: int) -> str | None:
    """The unit without the tier of long prompts; None for a tier that a prompt of so many tokens is not in."""
    for suffix, tokens_below in _TIERS:
        if unit.endswith(suffix):
            return unit.removesuffix(suffix) if tokens > tokens_below else None
    return unit
