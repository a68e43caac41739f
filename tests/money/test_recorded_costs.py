"""Costs, ceilings and sources are unchanged to the last digit; fixtures/record_costs.py recorded them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.cost import Pricing
from mediamill.tasks.money.prices import Price, PriceBook
from mediamill.tasks.providers.operations import find_meter, find_priced_as
from mediamill.tasks.wire import Billing

RECORDED: list[dict[str, Any]] = json.loads(
    gzip.decompress((Path(__file__).parent / "fixtures" / "costs.json.gz").read_bytes())
)


@pytest.mark.parametrize("operation", sorted({case["operation"] for case in RECORDED}))
def test_every_recorded_cost_is_the_same_now(operation: str) -> None:
    cases = [case for case in RECORDED if case["operation"] == operation]
    assert len(cases) == 100
    for case in cases:
        assert compute_costs(case) == case["told"], case


def compute_costs(case: Mapping[str, Any]) -> list[str | None]:
    operation, billing = case["operation"], case["billing"]
    listed = [Price(unit, Decimal(usd), f"source {n}", "2026-11-20") for n, (unit, usd) in enumerate(case["prices"])]
    rules = Billing(min_seconds=Decimal(billing["least_seconds"]), whole_seconds=billing["whole_seconds"])
    pricing = Pricing("p", rules, PriceBook({("p", "m", operation): listed}), find_meter, find_priced_as)
    usage, max_usd = Usage.from_dict(case["usage"]), case["most"]
    cost = pricing.cost("m", operation, usage, None if max_usd is None else Decimal(max_usd))
    ceiling = pricing.ceiling("m", operation, usage)
    usd, ceiling_usd = (None if one is None else str(one) for one in (cost.usd, ceiling))
    return [usd, cost.basis, cost.source, ceiling_usd, pricing.source("m", operation, flat=case["flat"])]
