"""Price of tokens: metered from a reply's usage, and the maximum cost of a request."""

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
_LONG_PROMPT_TIERS = (("_gt272k", 272_000), ("_gt200k", 200_000))
"""Prompts of more tokens than these have their own prices, for the whole request (provider docs)."""


class TokenMeter:
    """Prices prompts and completions."""

    def cost(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Metered | None:
        """Price the tokens of a reply; None where one of the necessary prices is missing."""
        metered = token_cost(prices, usage)
        if metered is None:
            return None
        usd, price = metered
        both_prices = format_token_prices(prices) if price.unit == INPUT else None
        return Metered(usd, both_prices or str(price))

    def ceiling(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Decimal | None:
        """The maximum cost of a prompt and its completion, at the highest of the stated prices.

        ``usage`` holds the maximum tokens of each; None where one of them has no maximum or no price.
        """
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        max_prices: dict[str, Decimal] = {}
        for price in prices:
            unit = _strip_tier(price.unit, usage.input_tokens)
            if unit is not None:
                max_prices[unit] = max(price.usd, max_prices.get(unit, Decimal(0)))
        if INPUT not in max_prices or (usage.output_tokens and OUTPUT not in max_prices):
            return None
        return (
            usage.input_tokens * max_prices[INPUT] + usage.output_tokens * max_prices.get(OUTPUT, Decimal(0))
        ) / MILLION

    def source(self, prices: Sequence[Price], *, flat: bool = False) -> Price | None:
        """None: it takes two prices, see :func:`format_token_prices`."""
        return None


def token_cost(prices: Iterable[Price], usage: Usage) -> tuple[Decimal, Price] | None:
    """The cost of a reply's tokens in US dollars, and the price that its input was metered with.

    Audio and cached tokens are part of the input tokens, and count as such where they have no price of their own. None
    where a price is missing, or the reply states no tokens.
    """
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    by_unit = _pick_trusted_prices_at_length(prices, usage.input_tokens or 0)
    audio = min(usage.audio_input_tokens or 0, usage.input_tokens or 0)
    cached = min(usage.cached_input_tokens or 0, (usage.input_tokens or 0) - audio)
    counts = {
        INPUT: (usage.input_tokens or 0) - audio - cached,
        OUTPUT: usage.output_tokens or 0,
        AUDIO: audio,
        CACHED: cached,
    }
    total_usd, used_prices = Decimal(0), []
    for unit, tokens in counts.items():
        price = by_unit.get(unit) or by_unit.get(INPUT if "input" in unit else unit)
        if price is None:
            if tokens:
                return None
            continue
        total_usd += tokens * price.usd / MILLION
        used_prices.append(price)
    return (total_usd, used_prices[0]) if used_prices else None


def format_token_prices(prices: Iterable[Price]) -> str | None:
    """Format the prices of prompts and completions for people; None where either has no price."""
    by_unit = _pick_trusted_prices_at_length(prices, 0)
    input_price, output_price = by_unit.get(INPUT), by_unit.get(OUTPUT)
    if input_price is None or output_price is None:
        return None
    text = f"${input_price.usd} in, ${output_price.usd} out per 1M tokens, {input_price.source}, {input_price.as_of}"
    return (
        text
        if (input_price.source, input_price.as_of) == (output_price.source, output_price.as_of)
        else f"{text}; {output_price.source}, {output_price.as_of}"
    )


def _pick_trusted_prices_at_length(prices: Iterable[Price], tokens: int) -> dict[str, Price]:
    """The most trusted price of each unit, for a prompt of ``tokens``; that of its tier where there is one."""
    standard_prices: dict[str, Price] = {}
    long_prompt_prices: dict[str, Price] = {}
    for price in prices:
        unit = _strip_tier(price.unit, tokens)
        if unit is not None:
            (standard_prices if unit == price.unit else long_prompt_prices).setdefault(unit, price)
    return standard_prices | long_prompt_prices


def _strip_tier(unit: str, tokens: int) -> str | None:
    """The unit without its tier of long prompts; None for a tier that a prompt of ``tokens`` is not in."""
    for suffix, tier_starts_after in _LONG_PROMPT_TIERS:
        if unit.endswith(suffix):
            return unit.removesuffix(suffix) if tokens > tier_starts_after else None
    return unit
