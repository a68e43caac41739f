"""Every operation has its meter, one from elsewhere can bring its own, and without one nothing is ever zero."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

import pytest

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.cost import Pricing
from mediamill.tasks.money.meter import Metered
from mediamill.tasks.money.meters import METERS, register_meter
from mediamill.tasks.money.prices import Price, PriceBook
from mediamill.tasks.providers.registry import configured_names, load_config
from mediamill.tasks.wire import Billing

PAGE = Price("page", Decimal("0.002"), "somewhere", "2026-01-01")
DEARER = Price("page", Decimal("0.003"), "somewhere else", "2026-01-01")
OCR = Pricing("p", Billing(), PriceBook({("p", "m", "ocr"): [PAGE, DEARER]}))


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


@pytest.fixture
def pages() -> Iterator[None]:
    register_meter("ocr", PageMeter())
    yield
    del METERS["ocr"]


def test_every_configured_operation_has_a_meter() -> None:
    assert {operation for name in configured_names() for operation in load_config(name).operations} <= set(METERS)


@pytest.mark.usefixtures("pages")
def test_an_operation_from_elsewhere_brings_its_own_meter() -> None:
    usage = Usage(input_images=3, requests=1)
    cost = OCR.cost("m", "ocr", usage, None)
    assert (cost.usd, cost.basis, cost.source) == (Decimal("0.006"), "metered", str(PAGE))
    assert OCR.ceiling("m", "ocr", usage) == Decimal("0.009")
    assert OCR.source("m", "ocr") == str(PAGE)


@pytest.mark.usefixtures("pages")
def test_a_meter_is_never_replaced_by_another() -> None:
    with pytest.raises(ValueError, match="ocr has a meter already"):
        register_meter("ocr", PageMeter())


def test_without_a_meter_a_cost_is_unknown_and_has_no_ceiling() -> None:
    usage = Usage(input_images=3, requests=1)
    assert OCR.cost("m", "ocr", usage, None).basis == "unknown"
    assert OCR.ceiling("m", "ocr", usage) is None
    assert OCR.cost("m", "ocr", usage, Decimal(1)).basis == "estimated"
    assert OCR.source("m", "ocr") == str(PAGE)
