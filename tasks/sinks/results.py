"""Results: one row for each item that succeeded. Each column is one line: its name, type and value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from mediamill.tasks.domain import Answer, Item
from mediamill.tasks.sinks.schema import (
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
    Column("item_id", pa.string(), lambda done: done.item.item_id),
    Column("item_index", pa.int64(), lambda done: done.item.index),
    Column("run_id", pa.string(), lambda done: done.run_id),
    Column("capability", pa.string(), lambda done: done.capability),
    Column("source", pa.string(), lambda done: done.item.source),
    Column("content_sha256", pa.string()),  # the capability sets it, since it reads the content
    Column("provider", pa.string(), lambda done: done.provider),
    Column("model", pa.string(), lambda done: done.model),
    Column("engine", pa.string(), lambda done: next((a.engine for a in done.answers if a.engine), None)),
    Column("simulated", pa.bool_(), lambda done: any(a.simulated for a in done.answers)),
    Column("request_key", pa.string(), lambda done: done.first.request_key if done.first else None),
    Column("request_id", pa.string(), lambda done: done.first.request_id if done.first else None),
    Column("started_at", TIMESTAMP, lambda done: done.first.started_at if done.first else None),
    Column("latency_ms", pa.int64(), lambda done: sum(a.latency_ms or 0 for a in done.answers)),
    Column("attempts", pa.int32(), lambda done: sum(a.attempts for a in done.answers)),
    Column("cached", pa.bool_(), lambda done: bool(done.answers) and all(a.cached for a in done.answers)),
    Column("cost_usd", MONEY, lambda done: sum_costs(done.answers)),
    Column("cost_basis", pa.string(), lambda done: _find_weakest_basis(done.answers)),
    Column(
        "price_source", pa.string(), lambda done: next((a.cost.source for a in done.answers if a.cost.source), None)
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
