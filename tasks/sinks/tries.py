"""The columns of rows that may come from another try than the first; only OUTs of such jobs have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from mediamill.tasks.sinks.schema import MONEY, make_field


@dataclass(frozen=True, slots=True)
class TryRow:
    """One try of an item, as its row tells it; ``settings`` are those of a second try, in words."""

    provider: str
    model: str
    requests: int
    cost_usd: Decimal | None
    settings: str | None = None
    text: str | None = None
    doubts: Sequence[str] = ()
    score: float | None = None
    certainty: float | None = None
    error: str | None = None


def build_tries_fields() -> list[pa.Field]:
    """The columns ``taken``, ``taken_because`` and ``tries``."""
    one = pa.struct(
        [
            make_field("provider", pa.string(), "the provider"),
            make_field("model", pa.string(), "the model that was requested"),
            make_field("settings", pa.string(), "what was set otherwise than in the first try; null where nothing was"),
            make_field("text", pa.string(), "its text; null where the capability has none, or it failed"),
            make_field("doubts", pa.list_(pa.string()), "likely faults that another try may mend"),
            make_field(
                "score", pa.float64(), "how bad it is without a reference, from 0 on; null where nothing says so"
            ),
            make_field("certainty", pa.float64(), "how sure the model is, from 0 to 1; null where it states nothing"),
            make_field("requests", pa.int32(), "its answers, pieces of a recording each by itself"),
            make_field("cost_usd", MONEY, "what this OUT paid for it; null when a part is unknown"),
            make_field("error", pa.string(), "why it has no row; null where it has one"),
        ]
    )
    return [
        make_field("taken", pa.int32(), "number of the try that the row is of, from 1"),
        make_field("taken_because", pa.string(), "why it is that one; null where there was one try"),
        make_field("tries", pa.list_(one), "every try of the item, in order; the row's cost is of all of them"),
    ]


def to_tries_columns(tries: Sequence[TryRow], taken: int, because: str | None) -> dict[str, Any]:
    """The values of these columns; ``taken`` counts from 1."""
    rows = [
        {
            "provider": one.provider,
            "model": one.model,
            "settings": one.settings,
            "text": one.text,
            "doubts": list(one.doubts),
            "score": None if one.score is None else round(one.score, 4),
            "certainty": None if one.certainty is None else round(one.certainty, 4),
            "requests": one.requests,
            "cost_usd": one.cost_usd,
            "error": one.error,
        }
        for one in tries
    ]
    return {"taken": taken, "taken_because": because, "tries": rows}
