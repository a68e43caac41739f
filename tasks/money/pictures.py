"""Prices of pictures: by their tokens, by the million pixels with the steps counted in, or by the picture."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.prices import Price
from mediamill.tasks.money.tokens import CACHED, INPUT, MILLION, OUTPUT

IMAGE, LARGE, MEGAPIXEL = "image", "image_4k", "megapixel"
IMAGE_INPUT, IMAGE_OUTPUT = "1M_image_input_tokens", "1M_image_output_tokens"
_LARGE_MEGAPIXELS = Decimal(8)
"""A picture of more than so many million pixels has the price of 4K, where there is one."""


def made_cost(prices: Iterable[Price], usage: Usage) -> tuple[Decimal, Price] | None:
    """What pictures cost and the price they are metered with: tokens, else pixels, else pieces; None without one.

    A list may tell a price by the million pixels and another by the picture; the first counts wherever the pixels
    are stated, for a model that has one price for every size states none.
    """
    by_unit = _by_unit(prices)
    if IMAGE_OUTPUT in by_unit and usage.output_tokens is not None:
        return _token_cost(by_unit, usage)
    pixels = by_unit.get(MEGAPIXEL)
    if pixels is not None and usage.megapixels is not None:
        return usage.megapixels * pixels.usd, pixels
    each = by_unit.get(LARGE if LARGE in by_unit and _large(usage) else IMAGE)
    return None if each is None or usage.images is None else (usage.images * each.usd, each)


def most_made(prices: Iterable[Price], usage: Usage) -> Decimal | None:
    """The most that pictures can cost, at the dearest price of each kind; None where that cannot be stated."""
    prices = tuple(prices)
    dearest = {unit: max(p.usd for p in prices if p.unit == unit) for unit in {p.unit for p in prices}}
    if IMAGE_OUTPUT in dearest:
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        into = max((dearest[unit] for unit in (INPUT, IMAGE_INPUT) if unit in dearest), default=None)
        out = max(dearest[IMAGE_OUTPUT], dearest.get(OUTPUT, Decimal(0)))
        return None if into is None else (usage.input_tokens * into + usage.output_tokens * out) / MILLION
    costs = [usage.images * dearest[unit] for unit in (IMAGE, LARGE) if unit in dearest and usage.images is not None]
    if MEGAPIXEL in dearest and usage.megapixels is not None:
        costs.append(usage.megapixels * dearest[MEGAPIXEL])
    return max(costs, default=None)


def made_source(prices: Iterable[Price], *, flat: bool = False) -> Price | None:
    """The price that most of a picture's cost is metered with; of a ``flat`` model that of the picture."""
    by_unit = _by_unit(prices)
    units = (IMAGE_OUTPUT, IMAGE) if flat else (IMAGE_OUTPUT, MEGAPIXEL, IMAGE)
    return next((by_unit[unit] for unit in units if unit in by_unit), None)


def _token_cost(by_unit: dict[str, Price], usage: Usage) -> tuple[Decimal, Price] | None:
    """Tokens of pictures and of words have prices of their own; those of pictures are part of each total."""
    into, out = usage.input_tokens or 0, usage.output_tokens or 0
    shown, drawn = min(usage.image_input_tokens or 0, into), min(usage.image_output_tokens or 0, out)
    cached = min(usage.cached_input_tokens or 0, into - shown)
    total = Decimal(0)
    for unit, instead, tokens in (
        (INPUT, INPUT, into - shown - cached),
        (CACHED, INPUT, cached),
        (IMAGE_INPUT, INPUT, shown),
        (IMAGE_OUTPUT, IMAGE_OUTPUT, drawn),
        (OUTPUT, IMAGE_OUTPUT, out - drawn),
    ):
        price = by_unit.get(unit) or by_unit.get(instead)
        if price is None:
            if tokens:
                return None
            continue
        total += tokens * price.usd / MILLION
    return total, by_unit[IMAGE_OUTPUT]


def _large(usage: Usage) -> bool:
    return bool(usage.images and usage.megapixels is not None and usage.megapixels / usage.images > _LARGE_MEGAPIXELS)


def _by_unit(prices: Iterable[Price]) -> dict[str, Price]:
    """The most trusted price of each unit."""
    found: dict[str, Price] = {}
    for price in prices:
        found.setdefault(price.unit, price)
    return found
