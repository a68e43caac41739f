"""Results: one row for each item that succeeded. Each column is one entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from mediamill.tasks.domain import Answer, Item
from mediamill.tasks.sinks.schema import (
    COST_AS_FLOAT,
    COST_AS_FLOAT_MEANING,
    MONEY,
    TIMESTAMP,
    Column,
    to_carried_fields,
    to_carried_values,
    to_row,
    to_schema,
)

_COST_BASES = ("unknown", "estimated", "metered", "billed", "free")
"""The weakest first: a sum has the basis of its weakest part."""


@dataclass(frozen=True, slots=True)
class CompletedItem:
    """An item that succeeded: the run, capability, provider and model that did it, and the answers it needed."""

    item: Item
    run_id: str
    capability: str
    provider: str
    model: str
    answers: Sequence[Answer]

    @property
    def first(self) -> Answer | None:
        """The first answer; None where none was needed."""
        return next(iter(self.answers), None)


RESULT_COLUMNS: tuple[Column[CompletedItem], ...] = (
    Column(
        "item_id",
        pa.string(),
        "the item's stable id: its path in the source, or the manifest's id",
        lambda done: done.item.item_id,
    ),
    Column("item_index", pa.int64(), "position in the source, from 0", lambda done: done.item.index),
    Column("run_id", pa.string(), "the run that made this row", lambda done: done.run_id),
    Column("capability", pa.string(), "what was done", lambda done: done.capability),
    Column("source", pa.string(), "path or URL as the source has it", lambda done: done.item.source),
    Column(  # the capability sets it, since it reads the content
        "content_sha256", pa.string(), "SHA-256 of what was read: the file, or the text or parameters that were sent"
    ),
    Column("provider", pa.string(), "the provider", lambda done: done.provider),
    Column("model", pa.string(), "the model that was requested", lambda done: done.model),
    Column(
        "engine",
        pa.string(),
        "what did the work, where the provider says so",
        lambda done: next((a.engine for a in done.answers if a.engine), None),
    ),
    Column(
        "simulated",
        pa.bool_(),
        "true when the built-in provider stood in for a real model",
        lambda done: any(a.simulated for a in done.answers),
    ),
    Column(
        "request_key",
        pa.string(),
        "key of the item's first request: equal requests have equal keys",
        lambda done: done.first.request_key if done.first else None,
    ),
    Column(
        "request_id",
        pa.string(),
        "the provider's id of the item's first request",
        lambda done: done.first.request_id if done.first else None,
    ),
    Column(
        "started_at",
        TIMESTAMP,
        "when the item's first request began",
        lambda done: done.first.started_at if done.first else None,
    ),
    Column(
        "latency_ms",
        pa.int64(),
        "milliseconds of all its requests together",
        lambda done: sum(a.latency_ms or 0 for a in done.answers),
    ),
    Column(
        "attempts",
        pa.int32(),
        "requests sent for it in this run, retries included",
        lambda done: sum(a.attempts for a in done.answers),
    ),
    Column(
        "cached",
        pa.bool_(),
        "true when every answer was in the journal already, so that the row cost nothing",
        lambda done: bool(done.answers) and all(a.cached for a in done.answers),
    ),
    Column(
        "cost_usd",
        MONEY,
        "what this OUT paid for the row; null when a part is unknown",
        lambda done: sum_costs(done.answers),
    ),
    Column(COST_AS_FLOAT, pa.float64(), COST_AS_FLOAT_MEANING),
    Column(
        "cost_basis",
        pa.string(),
        "where the cost comes from: billed, metered, estimated, free or unknown; the weakest of its parts",
        lambda done: _find_weakest_basis(done.answers),
    ),
    Column(
        "price_source",
        pa.string(),
        "where the price was read, and when",
        lambda done: next((a.cost.source for a in done.answers if a.cost.source), None),
    ),
)
"""The columns that every result has; its capability's own and the manifest's follow."""


def build_results_schema(own_schema: pa.Schema, row_schema: pa.Schema) -> pa.Schema:
    """The schema of an OUT's results: the common columns, the capability's own, and the manifest's as ``in_*``."""
    assert not find_reserved_names(own_schema), f"columns named twice: {find_reserved_names(own_schema)}"
    return pa.schema([*to_schema(RESULT_COLUMNS), *own_schema, *to_carried_fields(row_schema)])


def find_reserved_names(own_schema: pa.Schema) -> list[str]:
    """A capability's own columns whose names are reserved: those of every result, and ``in_*`` for the manifest's."""
    common = {column.name for column in RESULT_COLUMNS}
    return sorted(name for name in own_schema.names if name in common or name.startswith("in_"))


def to_result_row(completed: CompletedItem, own_columns: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a completed item, by column name; ``own_columns`` are its capability's."""
    return {**to_row(RESULT_COLUMNS, completed), **own_columns, **to_carried_values(completed.item)}


def sum_costs(answers: Sequence[Answer]) -> Decimal | None:
    """The sum of what this OUT paid for the answers in US dollars; None when the cost of one is not known."""
    total = Decimal(0)
    for answer in answers:
        if answer.cost.usd is None:
            return None
        total += answer.cost.usd
    return total


def _find_weakest_basis(answers: Sequence[Answer]) -> str:
    bases = {answer.cost.basis for answer in answers}
    return next((basis for basis in _COST_BASES if basis in bases), "free")
