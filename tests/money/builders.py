"""Pricings and usages for the tests of money."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.cost import Pricing
from mediamill.tasks.money.prices import Price, PriceBook
from mediamill.tasks.providers.operations import find_meter, find_priced_as
from mediamill.tasks.wire import Billing
from tests.providers.builders import build_provider


def build_pricing(operation: str, *prices: Price | tuple[str, str], **billing: Any) -> Pricing:
    """The pricing of provider ``p`` with one model ``m``.

    Args:
        operation: that is priced.
        *prices: the model's, the most trusted first; a pair is a unit and US dollars.
        **billing: the provider's rules, fields of :class:`~mediamill.tasks.wire.Billing`.
    """
    listed = [
        price if isinstance(price, Price) else Price(price[0], Decimal(price[1]), f"source {n}", "2026-11-20")
        for n, price in enumerate(prices)
    ]
    book = PriceBook({("p", "m", operation): listed} if listed else {})
    return Pricing("p", Billing(**billing), book, find_meter, find_priced_as)


def load_pricing(provider: str) -> Pricing:
    """The real pricing of a provider, with its own rules of billing."""
    return Pricing.load(provider, build_provider(provider).billing, find_meter, find_priced_as)


def audio_usage(seconds: str | Decimal) -> Usage:
    """What one request for a recording uses."""
    return Usage(audio_seconds=Decimal(seconds), requests=1)
