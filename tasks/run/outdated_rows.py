"""Rows of an earlier program that this one makes otherwise: they are made again from the journal, for nothing.

A capability may say of a row that it was prepared otherwise (``is_outdated``), and of a row and the reply that the
journal has for it that the reply is read otherwise now (``misreadings``).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Any

import orjson

from mediamill.tasks.capabilities.base import Misreadings
from mediamill.tasks.domain import Ask, Usage
from mediamill.tasks.engine import Engine
from mediamill.tasks.errors import BadReply, MediamillError
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.planning import NO_ANSWER, OUTDATED
from mediamill.tasks.run.resolved_job import ResolvedJob
from mediamill.tasks.sinks.schema import deserialize_schema, read_reading
from mediamill.tasks.wire import Reply

READING = 1
"""The way in which this program reads replies. Raised when replies are read otherwise: rows are then compared once."""
_BATCH_ROWS = 500


async def mark_outdated_rows(resolved: ResolvedJob, journal: Journal, engine: Engine, *, retry: bool) -> None:
    """Make the items of such rows pending: a run makes them again, with no request.

    A retry, whose provider and model may be others, leaves the comparison with replies to the next run.
    """
    schemas = journal.output.load_schemas()
    if schemas is None:
        return
    misreadings: Misreadings | None = getattr(resolved.capability, "misreadings", None)
    if misreadings is not None and not retry and read_reading(schemas[0]) != READING:
        await _mark_misread_rows(resolved, journal, engine, misreadings)
    is_outdated = getattr(resolved.capability, "is_outdated", None)
    if is_outdated is not None and is_outdated(deserialize_schema(schemas[0]).names, {}):
        ids = [str(row["item_id"]) for row in _read_rows(journal) if is_outdated(row, row)]
        await journal.items.mark_lost(ids, kind=OUTDATED)


async def _mark_misread_rows(resolved: ResolvedJob, journal: Journal, engine: Engine, misreadings: Misreadings) -> None:
    rows = (row for row in _read_rows(journal) if misreadings.is_doubtful(row))
    found: dict[str, list[str]] = {OUTDATED: [], NO_ANSWER: []}
    while batch := await engine.run_in_thread(lambda: list(islice(rows, _BATCH_ROWS))):
        for item_id, kind in await engine.run_in_thread(_compare_batch, resolved, journal, misreadings, batch):
            found[kind].append(item_id)
    for kind, ids in found.items():
        await journal.items.mark_lost(ids, kind=kind)


def _read_rows(journal: Journal) -> Iterator[dict[str, Any]]:
    return (orjson.loads(result) for result in journal.outcomes.stream_done_results())


def _compare_batch(
    resolved: ResolvedJob, journal: Journal, misreadings: Misreadings, rows: list[dict[str, Any]]
) -> list[tuple[str, str]]:
    """The ids of rows that are made again, each with ``outdated`` or ``no_answer``. Rows of other models are not."""
    made_by = (resolved.provider.name, resolved.model)
    own = [row for row in rows if (row.get("provider"), row.get("model")) == made_by and row.get("request_key")]
    replies = journal.asks.load_replies([row["request_key"] for row in own])
    compared = (
        (str(row["item_id"]), _compare(resolved, misreadings, row, replies[row["request_key"]]))
        for row in own
        if row["request_key"] in replies
    )
    return [(item_id, kind) for item_id, kind in compared if kind is not None]


def _compare(resolved: ResolvedJob, misreadings: Misreadings, row: dict[str, Any], reply: Reply) -> str | None:
    """``outdated`` or ``no_answer``; None for a row that is as this program makes it."""
    seconds = row.get("audio_seconds") if row.get("pieces", 1) == 1 else None
    ceiling = Usage(audio_seconds=None if seconds is None else Decimal(str(seconds)))
    capability = resolved.capability
    ask = Ask(capability.name, capability.operation, resolved.model, ceiling=ceiling)
    try:
        data = resolved.provider.parse(reply, [ask])[0].data
    except BadReply:
        return NO_ANSWER if misreadings.is_no_answer(row) else None
    except MediamillError:
        return None
    return OUTDATED if misreadings.is_read_otherwise(row, data) else None
