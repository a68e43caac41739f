"""Price of images: by their tokens, by the million pixels with their steps included, or by the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.meter import Metered, max_by_unit, pick_trusted_prices
from mediamill.tasks.money.prices import Price
from mediamill.tasks.money.tokens import CACHED, INPUT, MILLION, OUTPUT
from mediamill.tasks.wire import Billing

IMAGE, LARGE, MEGAPIXEL = "image", "image_4k", "megapixel"
IMAGE_INPUT, IMAGE_OUTPUT = "1M_image_input_tokens", "1M_image_output_tokens"
_MIN_LARGE_MEGAPIXELS = Decimal(8)
"""An image of more million pixels has the price of 4K, where there is one."""


class ImageMeter:
    """Prices image generation.

    A list may hold a price by the million pixels and another by the image. The first counts wherever the pixels are
    stated: a model with one price for every size states none.
    """

    def cost(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Metered | None:
        """Price by tokens, else by pixels, else by images."""
        by_unit = pick_trusted_prices(prices)
        if IMAGE_OUTPUT in by_unit and usage.output_tokens is not None:
            return _image_token_cost(by_unit, usage)
        pixel_price = by_unit.get(MEGAPIXEL)
        if pixel_price is not None and usage.megapixels is not None:
            return Metered(usage.megapixels * pixel_price.usd, str(pixel_price))
        image_price = by_unit.get(LARGE if LARGE in by_unit and _is_large(usage) else IMAGE)
        return (
            None
            if image_price is None or usage.images is None
            else Metered(usage.images * image_price.usd, str(image_price))
        )

    def ceiling(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Decimal | None:
        """Price by tokens where output tokens have a price, else the higher of the prices by image and by pixels."""
        max_prices = max_by_unit(prices)
        if IMAGE_OUTPUT in max_prices:
            return _max_image_token_cost(max_prices, usage)
        costs = [
            usage.images * max_prices[unit]
            for unit in (IMAGE, LARGE)
            if unit in max_prices and usage.images is not None
        ]
        if MEGAPIXEL in max_prices and usage.megapixels is not None:
            costs.append(usage.megapixels * max_prices[MEGAPIXEL])
        return max(costs, default=None)

    def source(self, prices: Sequence[Price], *, flat: bool = False) -> Price | None:
        """The price of tokens, else of pixels, else of an image; of a ``flat`` model never of pixels."""
        by_unit = pick_trusted_prices(prices)
        units = (IMAGE_OUTPUT, IMAGE) if flat else (IMAGE_OUTPUT, MEGAPIXEL, IMAGE)
        return next((by_unit[unit] for unit in units if unit in by_unit), None)


def _image_token_cost(by_unit: Mapping[str, Price], usage: Usage) -> Metered | None:
    """Price tokens of images and of text, which have their own prices; each total includes the tokens of images."""
    input_tokens, output_tokens = usage.input_tokens or 0, usage.output_tokens or 0
    image_input_tokens, image_output_tokens = (
        min(usage.image_input_tokens or 0, input_tokens),
        min(usage.image_output_tokens or 0, output_tokens),
    )
    cached_tokens = min(usage.cached_input_tokens or 0, input_tokens - image_input_tokens)
    total_usd = Decimal(0)
    for unit, fallback_unit, tokens in (
        (INPUT, INPUT, input_tokens - image_input_tokens - cached_tokens),
        (CACHED, INPUT, cached_tokens),
        (IMAGE_INPUT, INPUT, image_input_tokens),
        (IMAGE_OUTPUT, IMAGE_OUTPUT, image_output_tokens),
        (OUTPUT, IMAGE_OUTPUT, output_tokens - image_output_tokens),
    ):
        price = by_unit.get(unit) or by_unit.get(fallback_unit)
        if price is None:
            if tokens:
                return None
            continue
        total_usd += tokens * price.usd / MILLION
    return Metered(total_usd, str(by_unit[IMAGE_OUTPUT]))


def _max_image_token_cost(max_prices: Mapping[str, Decimal], usage: Usage) -> Decimal | None:
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    max_input_price = max((max_prices[unit] for unit in (INPUT, IMAGE_INPUT) if unit in max_prices), default=None)
    max_output_price = max(max_prices[IMAGE_OUTPUT], max_prices.get(OUTPUT, Decimal(0)))
    return (
        None
        if max_input_price is None
        else (usage.input_tokens * max_input_price + usage.output_tokens * max_output_price) / MILLION
    )


def _is_large(usage: Usage) -> bool:
    return bool(
        usage.images and usage.megapixels is not None and usage.megapixels / usage.images > _MIN_LARGE_MEGAPIXELS
    )
