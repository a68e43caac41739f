"""Failures: one row for each item whose state is failed. Each column is one entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mediamill.tasks.domain import Failure, Item
from mediamill.tasks.sinks.schema import (
    COST_AS_FLOAT,
    COST_AS_FLOAT_MEANING,
    MONEY,
    Column,
    to_carried_fields,
    to_carried_values,
    to_row,
    to_schema,
)


@dataclass(frozen=True, slots=True)
class FailedItem:
    """An item that failed, the run it failed in, and why."""

    item: Item
    run_id: str
    failure: Failure


FAILURE_COLUMNS: tuple[Column[FailedItem], ...] = (
    Column(
        "item_id",
        pa.string(),
        "the item's stable id: its path in the source, or the manifest's id",
        lambda failed: failed.item.item_id,
    ),
    Column("item_index", pa.int64(), "position in the source, from 0", lambda failed: failed.item.index),
    Column("run_id", pa.string(), "the run in which it failed", lambda failed: failed.run_id),
    Column("source", pa.string(), "path or URL as the source has it", lambda failed: failed.item.source),
    Column(
        "error_kind",
        pa.string(),
        "kind of the error in a word, for `mediamill retry OUT --only KIND`",
        lambda failed: failed.failure.kind,
    ),
    Column("error_message", pa.string(), "what is wrong", lambda failed: failed.failure.message),
    Column("hint", pa.string(), "the next step", lambda failed: failed.failure.hint),
    Column("attempts", pa.int32(), "requests sent for it, retries included", lambda failed: failed.failure.attempts),
    Column(
        "last_http_status",
        pa.int32(),
        "HTTP status of the last reply, where there was one",
        lambda failed: failed.failure.status,
    ),
    Column(
        "cost_usd", MONEY, "what its requests cost; null when that is unknown", lambda failed: failed.failure.cost_usd
    ),
    Column(COST_AS_FLOAT, pa.float64(), COST_AS_FLOAT_MEANING),
)
"""The columns that every failure has; the manifest's follow."""


def build_failures_schema(row_schema: pa.Schema) -> pa.Schema:
    """The schema of an OUT's failures: their columns, and the manifest's (``row_schema``) as ``in_*``."""
    return pa.schema([*to_schema(FAILURE_COLUMNS), *to_carried_fields(row_schema)])


def to_failure_row(failed: FailedItem) -> dict[str, Any]:
    """The row of a failed item, by column name."""
    return {**to_row(FAILURE_COLUMNS, failed), **to_carried_values(failed.item)}
