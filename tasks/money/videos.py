"""Prices of videos: by the clip, by the second, and by the second of so many lines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.prices import Price

_SECOND = re.compile(r"video_second(?:_(\d+)p)?")
CLIP, INPUT = "video", "input_image"


def film_cost(prices: Iterable[Price], usage: Usage) -> tuple[Decimal, Price] | None:
    """What a video costs by the most trusted price that fits it, pictures that go in beside it; None where none does.

    The price of a second of just so many lines goes before that of any second.
    """
    prices = list(prices)
    priced = ((_cost(price, usage), price) for price in sorted(prices, key=_is_general))
    found = ((cost, price) for cost, price in priced if cost is not None)
    cost, price = next(found, (None, None))
    if cost is None or price is None:
        return None
    each = next((one.usd for one in prices if one.unit == INPUT), Decimal(0))
    return cost + each * (usage.input_images or 0), price


def film_source(prices: Iterable[Price]) -> Price | None:
    """The price that most of a video's cost is metered with, where its lines are not known."""
    return next((price for price in prices if price.unit in (CLIP, "video_second")), None)


def most_film(prices: Iterable[Price], usage: Usage) -> Decimal | None:
    """The most a video can cost, at the dearest of the prices that may hold, pictures that go in beside it."""
    prices = list(prices)
    costs = [cost for price in prices if (cost := _cost(price, usage, at_most=True)) is not None]
    if not costs:
        return None
    pictures = max((price.usd for price in prices if price.unit == INPUT), default=Decimal(0))
    return max(costs) + pictures * (usage.input_images or 0)


def _is_general(price: Price) -> bool:
    found = _SECOND.fullmatch(price.unit)
    return found is None or found[1] is None


def _cost(price: Price, usage: Usage, *, at_most: bool = False) -> Decimal | None:
    """A price times what it counts; None where it is for something else, or what it counts is not told."""
    if price.unit == CLIP:
        return price.usd * (usage.videos or 1)
    found = _SECOND.fullmatch(price.unit)
    if found is None or usage.video_seconds is None:
        return None
    lines = int(found[1]) if found[1] else None
    if lines is not None and usage.video_lines != lines and not (at_most and usage.video_lines is None):
        return None
    return price.usd * usage.video_seconds
