"""Prices: every row with its source and its date, from configs/prices.csv and the file that MEDIAMILL_PRICES names."""

from __future__ import annotations

import csv
import functools
import io
import os
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TypeAlias

from mediamill.configs import CONFIGS_FOLDER
from mediamill.tasks.bounded.files import read_bounded_text
from mediamill.tasks.errors import UsageError

PriceRows: TypeAlias = "dict[tuple[str, str, str], list[Price]]"


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for one unit, e.g. ``audio_minute`` or ``1M_input_tokens``."""

    unit: str
    usd: Decimal
    source: str
    as_of: str

    def __str__(self) -> str:
        return f"${self.usd}/{self.unit}, {self.source}, {self.as_of}"


class PriceBook:
    """Prices by provider, model and operation; several rows for one unit, the most trusted first.

    Sources disagree, and all their rows are kept: a cost is metered with the first, a budget reserves the highest.
    """

    def __init__(self, rows: PriceRows) -> None:
        self._rows = rows

    @classmethod
    def load(cls, provider_list: Path | None = None) -> PriceBook:
        """Load the price list; the file that ``MEDIAMILL_PRICES`` names replaces all prices of the models in it.

        Args:
            provider_list: a provider's own list; the file of ``MEDIAMILL_PRICES`` replaces its prices, too.

        Raises:
            UsageError: when a price file cannot be read; it names the line.
        """
        return _load_price_book(os.environ.get("MEDIAMILL_PRICES"), provider_list)

    def find(self, provider: str, model: str, operation: str) -> tuple[Price, ...]:
        """Every price of a model for an operation; empty when none is known."""
        return tuple(self._rows.get((provider, model, operation), ()))


@functools.lru_cache(maxsize=4)
def _load_price_book(user_list: str | None, provider_list: Path | None) -> PriceBook:
    provider_prices = _read_prices(provider_list, "correct the provider's price list") if provider_list else {}
    return PriceBook(
        _read_prices(CONFIGS_FOLDER / "prices.csv")
        | provider_prices
        | (_read_prices(Path(user_list)) if user_list else {})
    )


def _read_prices(path: Path, hint: str = "check MEDIAMILL_PRICES") -> PriceRows:
    rows: PriceRows = defaultdict(list)
    try:
        for number, row in enumerate(csv.DictReader(io.StringIO(read_bounded_text(path), newline="")), start=2):
            try:
                price = _parse_price_row(row)
                rows[row["provider"], row["model"], row["capability"]].append(price)
            except (KeyError, ValueError, TypeError):
                raise UsageError(
                    f"{path}: line {number} is not a price",
                    hint="its columns are provider,model,capability,unit,price_usd,source,as_of",
                ) from None
    except ValueError as error:
        raise UsageError(str(error), hint=hint) from None
    except csv.Error:
        raise UsageError(f"{path}: is not a CSV file in UTF-8", hint=hint) from None
    return rows


def _parse_price_row(row: dict[str, str]) -> Price:
    """Parse a row, which must state its unit, where it was read and when."""
    if not (row["unit"] and row["source"] and row["as_of"]):
        raise ValueError
    return Price(row["unit"], _parse_usd(row["price_usd"]), row["source"], row["as_of"])


def _parse_usd(text: str) -> Decimal:
    try:
        usd = Decimal(text)
    except InvalidOperation:
        raise ValueError from None
    if not usd.is_finite() or usd < 0:
        raise ValueError
    return usd
