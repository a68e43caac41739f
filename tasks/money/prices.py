"""Prices: every row with its source and its date, from configs/prices.csv or the file MEDIAMILL_PRICES names."""

from __future__ import annotations

import csv
import functools
import os
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from configs import FOLDER
from tasks.errors import UsageError


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
    """Prices by provider, model and operation; several rows for one unit, the most trusted first."""

    def __init__(self, rows: dict[tuple[str, str, str], list[Price]]) -> None:
        self._rows = rows

    @classmethod
    def load(cls) -> PriceBook:
        """The price list, with the rows of the file that ``MEDIAMILL_PRICES`` names going first.

        Raises:
            UsageError: when a price file cannot be read, naming the line.
        """
        return _load(os.environ.get("MEDIAMILL_PRICES"))

    def find(self, provider: str, model: str, operation: str) -> tuple[Price, ...]:
        """Every price of a model for an operation; empty when none is known."""
        return tuple(self._rows.get((provider, model, operation), ()))


@functools.lru_cache(maxsize=4)
def _load(own: str | None) -> PriceBook:
    rows: dict[tuple[str, str, str], list[Price]] = defaultdict(list)
    paths = [Path(own)] if own else []
    for path in (*paths, FOLDER / "prices.csv"):
        _read(path, rows)
    return PriceBook(dict(rows))


def _read(path: Path, rows: dict[tuple[str, str, str], list[Price]]) -> None:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                try:
                    price = _price(row)
                    rows[row["provider"], row["model"], row["capability"]].append(price)
                except (KeyError, InvalidOperation, TypeError, ValueError):
                    raise UsageError(
                        f"{path}: line {number} is no price",
                        hint="its columns are provider,model,capability,unit,price_usd,source,as_of",
                    ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: is no CSV file in UTF-8 ({error})", hint="check MEDIAMILL_PRICES") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}", hint="check MEDIAMILL_PRICES") from None


def _price(row: dict[str, str]) -> Price:
    usd = Decimal(row["price_usd"])
    if not (usd.is_finite() and usd >= 0 and row["unit"] and row["source"] and row["as_of"]):
        raise ValueError("a price is a number, for a unit, from a source, of a date")
    return Price(row["unit"], usd, row["source"], row["as_of"])
