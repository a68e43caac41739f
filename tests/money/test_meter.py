"""Every operation has its meter, one from elsewhere can bring its own, and without one nothing is ever zero."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.cost import Pricing
from mediamill.tasks.money.meter import Metered
from mediamill.tasks.money.prices import Price, PriceBook
from mediamill.tasks.providers.operations import find_meter, find_priced_as
from mediamill.tasks.providers.registry import load_config, provider_names
from mediamill.tasks.wire import Billing

PAGE = Price("page", Decimal("0.002"), "somewhere", "2026-01-01")
DEARER = Price("page", Decimal("0.003"), "somewhere else", "2026-01-01")
BOOK = PriceBook({("p", "m", "ocr"): [PAGE, DEARER]})


class PageMeter:
    """Pages that were read; counted as images that went in."""

    def cost(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Metered | None:
        if usage.input_images is None or not prices:
            return None
        return Metered(usage.input_images * prices[0].usd, str(prices[0]))

    def ceiling(self, usage: Usage, prices: Sequence[Price], billing: Billing) -> Decimal | None:
        if usage.input_images is None or not prices:
            return None
        return usage.input_images * max(price.usd for price in prices)

    def source(self, prices: Sequence[Price], *, flat: bool = False) -> Price | None:
        return next(iter(prices), None)


def test_every_configured_operation_has_a_meter() -> None:
    operations = {operation for name in provider_names() for operation in load_config(name).operations}
    assert [operation for operation in operations if find_meter(operation) is None] == []


def test_an_operation_is_priced_by_its_meter() -> None:
    pricing = Pricing("p", Billing(), BOOK, {"ocr": PageMeter()}.get, find_priced_as)
    usage = Usage(input_images=3, requests=1)
    cost = pricing.cost("m", "ocr", usage, None)
    assert (cost.usd, cost.basis, cost.source) == (Decimal("0.006"), "metered", str(PAGE))
    assert pricing.ceiling("m", "ocr", usage) == Decimal("0.009")
    assert pricing.source("m", "ocr") == str(PAGE)


def test_an_operation_without_prices_uses_those_of_its_fallback() -> None:
    scans = Price("page", Decimal("0.005"), "somewhere", "2026-01-01")
    book = PriceBook({("p", "m", "ocr"): [PAGE], ("p", "both", "ocr"): [PAGE], ("p", "both", "scan"): [scans]})
    pricing = Pricing("p", Billing(), book, {"scan": PageMeter()}.get, {"scan": "ocr"}.get)
    usage = Usage(input_images=3, requests=1)
    assert (pricing.cost("m", "scan", usage, None).usd, pricing.source("m", "scan")) == (Decimal("0.006"), str(PAGE))
    assert pricing.ceiling("m", "scan", usage) == Decimal("0.006")
    assert pricing.cost("both", "scan", usage, None).usd == Decimal("0.015")
    assert pricing.cost("elsewhere", "scan", usage, None).usd is None


def test_vision_chat_prompts_are_priced_like_chat_prompts() -> None:
    assert (find_priced_as("chat"), find_priced_as("vision_chat"), find_priced_as("rerank")) == (
        "vision_chat",
        "chat",
        None,
    )
    assert find_priced_as("no-such-operation") is None


def test_without_a_meter_the_cost_is_unknown_and_there_is_no_ceiling() -> None:
    pricing = Pricing("p", Billing(), BOOK, find_meter, find_priced_as)
    usage = Usage(input_images=3, requests=1)
    assert pricing.cost("m", "ocr", usage, None).basis == "unknown"
    assert pricing.ceiling("m", "ocr", usage) is None
    assert pricing.cost("m", "ocr", usage, Decimal(1)).basis == "estimated"
    assert pricing.source("m", "ocr") == str(PAGE)
