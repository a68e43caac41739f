"""Price of videos: by the clip, by the second, or by the second at a resolution in lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.meter import Metered
from mediamill.tasks.money.prices import Price
from mediamill.tasks.wire import Billing

_SECOND_UNIT = re.compile(r"video_second(?:_(\d+)p)?")
CLIP, INPUT_IMAGE = "video", "input_image"


class VideoMeter:
    """Prices video generation; input images are added."""

    def cost(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Metered | None:
        """Price at the most trusted price that fits; a price per second at these lines comes before one at any."""
        costs = ((_video_cost(price, usage), price) for price in sorted(prices, key=_fits_any_resolution))
        usd, price = next(((usd, price) for usd, price in costs if usd is not None), (None, None))
        if usd is None or price is None:
            return None
        image_usd = next((one.usd for one in prices if one.unit == INPUT_IMAGE), Decimal(0))
        return Metered(usd + image_usd * (usage.input_images or 0), str(price))

    def ceiling(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Decimal | None:
        """The highest of the prices that may apply."""
        costs = [cost for price in prices if (cost := _video_cost(price, usage, is_ceiling=True)) is not None]
        if not costs:
            return None
        image_usd = max((price.usd for price in prices if price.unit == INPUT_IMAGE), default=Decimal(0))
        return max(costs) + image_usd * (usage.input_images or 0)

    def source(self, prices: Sequence[Price], *, flat: bool = False) -> Price | None:
        """The price of a clip or of a second; that of a second at certain lines is never taken."""
        return next((price for price in prices if price.unit in (CLIP, "video_second")), None)


def _fits_any_resolution(price: Price) -> bool:
    match = _SECOND_UNIT.fullmatch(price.unit)
    return match is None or match[1] is None


def _video_cost(price: Price, usage: Usage, *, is_ceiling: bool = False) -> Decimal | None:
    """A price times the quantity it counts; None where it does not apply, or the quantity is not stated.

    With ``is_ceiling`` a price at certain lines applies too when the usage does not state its lines.
    """
    if price.unit == CLIP:
        return price.usd * (usage.videos or 1)
    match = _SECOND_UNIT.fullmatch(price.unit)
    if match is None or usage.video_seconds is None:
        return None
    lines = int(match[1]) if match[1] else None
    if lines is not None and usage.video_lines != lines and not (is_ceiling and usage.video_lines is None):
        return None
    return price.usd * usage.video_seconds
