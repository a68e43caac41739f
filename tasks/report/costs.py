"""Cost tables: what was paid by day, provider, model and capability, exact to the last decimal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediamill.tasks.domain import format_decimal
from mediamill.tasks.sinks.atomic_file import write_atomically
from mediamill.tasks.untrusted_text import neutralize_formula

if TYPE_CHECKING:
    import pandas as pd

KEY_COLUMNS = ("day", "provider", "model", "capability", "cost_basis", "price_source")
SUM_COLUMNS = ("requests", "answered", "audio_seconds", "cost_usd", "unknown_max_usd")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def build_cost_table(attempts: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One row for each day, provider, model, capability, basis and price: requests, seconds, dollars.

    ``cost_usd`` is the sum of known costs, ``unknown_max_usd`` that of the maximum of attempts with unknown cost.
    """
    import pandas as pd

    sums: dict[tuple[str, ...], list[Any]] = {}
    for attempt in attempts:
        row = _to_cost_row(attempt)
        key = tuple(row[name] for name in KEY_COLUMNS)
        total = sums.setdefault(key, [0, 0, Decimal(0), Decimal(0), Decimal(0)])
        for position, name in enumerate(SUM_COLUMNS):
            total[position] += row[name]
    table = pd.DataFrame([(*key, *total) for key, total in sums.items()], columns=[*KEY_COLUMNS, *SUM_COLUMNS])
    return table.sort_values(list(KEY_COLUMNS), ignore_index=True)


def to_endpoint_row(started_at: int, summary: Mapping[str, Any]) -> dict[str, Any]:
    """A dedicated endpoint's time in one run, as a row of its own among the attempts."""
    return {
        **{name: summary[name] for name in ("provider", "model", "capability")},
        "started_at": started_at,
        "cost_usd": summary["endpoint_usd"],
        "cost_max_usd": None,
        "usage": None,
        "cost_basis": "estimated",
        "price_source": f"endpoint by the hour, {float(summary['seconds']):.0f} s",
        "outcome": "",
        "requests": 0,
    }


def write_costs(out: Path, table: pd.DataFrame) -> Path:
    """Write ``costs.csv``; text that a spreadsheet would take for a formula is marked as text.

    Control characters become spaces: a lone carriage return would begin a new row.
    """
    safe = table.copy()
    for name in KEY_COLUMNS:
        safe[name] = safe[name].map(_format_cell)
    for name in ("audio_seconds", "cost_usd", "unknown_max_usd"):
        safe[name] = safe[name].map(format_decimal)
    target = out / "costs.csv"
    with write_atomically(out, target) as temporary:
        safe.to_csv(temporary, index=False)
    return target


def _format_cell(value: Any) -> str:
    return neutralize_formula(_CONTROL.sub(" ", "" if value is None else str(value)))


def _to_cost_row(attempt: Mapping[str, Any]) -> dict[str, Any]:
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(attempt["started_at"] / 1_000_000, UTC)
    cost, max_cost = attempt["cost_usd"], attempt["cost_max_usd"]
    usage = attempt["usage"] or {}
    return {
        "day": moment.date().isoformat(),
        "provider": attempt["provider"],
        "model": attempt["model"],
        "capability": attempt["capability"],
        "cost_basis": attempt["cost_basis"] or "unknown",
        "price_source": attempt["price_source"] or "",
        "requests": attempt.get("requests", 1),
        "answered": int(attempt["outcome"] == "replied"),
        "audio_seconds": Decimal(usage.get("audio_seconds", 0)),
        "cost_usd": Decimal(cost) if cost is not None else Decimal(0),
        "unknown_max_usd": Decimal(max_cost) if cost is None and max_cost is not None else Decimal(0),
    }
