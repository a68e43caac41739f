"""The providers' list prices, read from ``configs/prices.csv`` without the code of the ledger that they check."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from mediamill.configs import CONFIGS_FOLDER


@dataclass(frozen=True, slots=True)
class ListPrice:
    """US dollars for one unit, with where and when the price was read."""

    usd: Decimal
    source: str


@cache
def find_list_prices(provider: str, model: str, operation: str) -> Mapping[str, ListPrice]:
    """The prices of a model by their unit, e.g. ``video_second``, in the order of the list; empty for an unknown model.

    Args:
        provider: the provider's name; servers of one's own have none.
        model: its model.
        operation: what the model does, e.g. ``video``; chat models are listed as ``chat`` or ``vision_chat``.
    """
    return _read_list().get((provider, model, operation), {})


@cache
def _read_list() -> Mapping[tuple[str, str, str], dict[str, ListPrice]]:
    """All prices; of several rows for one unit the first is the most trusted."""
    listed: dict[tuple[str, str, str], dict[str, ListPrice]] = {}
    with (CONFIGS_FOLDER / "prices.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            units = listed.setdefault((row["provider"], row["model"], row["capability"]), {})
            unit = row["unit"]
            source = f"${row['price_usd']}/{unit}, {row['source']}, {row['as_of']}"
            units.setdefault(unit, ListPrice(Decimal(row["price_usd"]), source))
    return listed
