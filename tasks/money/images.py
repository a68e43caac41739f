"""What images cost: by their tokens, by the million pixels with the steps counted in, or by the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.meter import Metered, max_by_unit, trusted_by_unit
from mediamill.tasks.money.prices import Price
from mediamill.tasks.money.tokens import CACHED, INPUT, MILLION, OUTPUT
from mediamill.tasks.wire import Billing

IMAGE, LARGE, MEGAPIXEL = "image", "image_4k", "megapixel"
IMAGE_INPUT, IMAGE_OUTPUT = "1M_image_input_tokens", "1M_image_output_tokens"
_LARGE_MEGAPIXELS = Decimal(8)
"""An image of more than so many million pixels has the price of 4K, where there is one."""


class ImageMeter:
    """Image generation.

    A list may hold a price by the million pixels and another by the image; the first counts wherever the pixels
    are stated, for a model that has one price for every size states none.
    """

    def cost(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Metered | None:
        """Tokens, else pixels, else images."""
        by_unit = trusted_by_unit(prices)
        if IMAGE_OUTPUT in by_unit and usage.output_tokens is not None:
            return _image_token_cost(by_unit, usage)
        pixels = by_unit.get(MEGAPIXEL)
        if pixels is not None and usage.megapixels is not None:
            return Metered(usage.megapixels * pixels.usd, str(pixels))
        each = by_unit.get(LARGE if LARGE in by_unit and _is_large(usage) else IMAGE)
        return None if each is None or usage.images is None else Metered(usage.images * each.usd, str(each))

    def ceiling(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Decimal | None:
        """Tokens where output has a price, else the dearer of images and pixels."""
        dearest = max_by_unit(prices)
        if IMAGE_OUTPUT in dearest:
            return _max_image_token_cost(dearest, usage)
        costs = [
            usage.images * dearest[unit] for unit in (IMAGE, LARGE) if unit in dearest and usage.images is not None
        ]
        if MEGAPIXEL in dearest and usage.megapixels is not None:
            costs.append(usage.megapixels * dearest[MEGAPIXEL])
        return max(costs, default=None)

    def source(self, prices: Sequence[Price], *, flat: bool = False) -> Price | None:
        """Of tokens, else of pixels, else of an image; of a ``flat`` model never of pixels."""
        by_unit = trusted_by_unit(prices)
        units = (IMAGE_OUTPUT, IMAGE) if flat else (IMAGE_OUTPUT, MEGAPIXEL, IMAGE)
        return next((by_unit[unit] for unit in units if unit in by_unit), None)


def _image_token_cost(by_unit: Mapping[str, Price], usage: Usage) -> Metered | None:
    """Tokens of images and of words have prices of their own; those of images are part of each total."""
    into, out = usage.input_tokens or 0, usage.output_tokens or 0
    image_in, image_out = min(usage.image_input_tokens or 0, into), min(usage.image_output_tokens or 0, out)
    cached = min(usage.cached_input_tokens or 0, into - image_in)
    total = Decimal(0)
    for unit, instead, tokens in (
        (INPUT, INPUT, into - image_in - cached),
        (CACHED, INPUT, cached),
        (IMAGE_INPUT, INPUT, image_in),
        (IMAGE_OUTPUT, IMAGE_OUTPUT, image_out),
        (OUTPUT, IMAGE_OUTPUT, out - image_out),
    ):
        price = by_unit.get(unit) or by_unit.get(instead)
        if price is None:
            if tokens:
                return None
            continue
        total += tokens * price.usd / MILLION
    return Metered(total, str(by_unit[IMAGE_OUTPUT]))


def _max_image_token_cost(dearest: Mapping[str, Decimal], usage: Usage) -> Decimal | None:
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    into = max((dearest[unit] for unit in (INPUT, IMAGE_INPUT) if unit in dearest), default=None)
    out = max(dearest[IMAGE_OUTPUT], dearest.get(OUTPUT, Decimal(0)))
    return None if into is None else (usage.input_tokens * into + usage.output_tokens * out) / MILLION


def _is_large(usage: Usage) -> bool:
    return bool(usage.images and usage.megapixels is not None and usage.megapixels / usage.images > _LARGE_MEGAPIXELS)
