"""Planning: compares each batch of the source with what the journal knows of its items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, insert, select, update

from mediamill.tasks.domain import Item
from mediamill.tasks.journal.file_stems import assign_stems
from mediamill.tasks.journal.json_codec import dumps, path_to_text
from mediamill.tasks.journal.sql_dialect import split_values
from mediamill.tasks.journal.tables import items, shards

LOST_FILE = "lost"
"""``error_kind`` of items that have a result whose file is gone."""
OUTDATED = "outdated"
"""``error_kind`` of items whose row an earlier program made otherwise; it is made again from the journal, or stays."""
NO_ANSWER = "no_answer"
"""``error_kind`` of items whose row an earlier program made of a reply that is no answer; the row does not stay."""
KINDS_MADE_AGAIN = (LOST_FILE, OUTDATED, NO_ANSWER)
"""Those whose result is made again with the reply in the journal, and never with another one."""


@dataclass(frozen=True, slots=True)
class PlanCounts:
    """How many items of a batch are new, changed, retried or kept; ``duplicates`` as (item id, first, second index)."""

    new: int
    changed: int
    retried: int
    kept: int
    duplicates: list[tuple[str, int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class OpenShard:
    """The shard to which a run adds new items; an earlier run's shards get none."""

    run_id: str
    shard: int
    size: int


@dataclass(frozen=True, slots=True)
class PlanContext:
    """The OUT and run for which a batch is planned, and how; ``names_files``: its items get names for files."""

    out_id: str
    run_id: str
    shard_size: int
    refresh: bool
    open_shard: OpenShard
    names_files: bool = False


def plan_batch(connection: Connection, context: PlanContext, batch: Sequence[Item]) -> tuple[PlanCounts, OpenShard]:
    """Add a batch to the plan. The open shard returned is valid only once this transaction is committed."""
    known = _select_known(connection, context.out_id, [i.item_id for i in batch])
    open_shard, new, requeued, unchanged = context.open_shard, [], [], []
    new_items: list[Item] = []
    duplicates: list[tuple[str, int, int]] = []
    first_index: dict[str, int] = {}
    changed = retried = 0
    for item in batch:
        row = known.get(item.item_id)
        if item.item_id in first_index or (row is not None and row["seen_run"] == context.run_id):
            seen_index = row["item_index"] if row else item.index
            duplicates.append((item.item_id, first_index.get(item.item_id, seen_index), item.index))
            continue
        first_index[item.item_id] = item.index
        if row is None:
            open_shard = _add_to_shard(connection, context, open_shard)
            new.append(_to_new_row(context, item, open_shard.shard))
            new_items.append(item)
            continue
        different = row["fingerprint"] != item.fingerprint
        if different or context.refresh or row["state"] == "pending" or row["transient"]:
            needs_new_result = different or context.refresh
            kind = None if needs_new_result and row["error_kind"] in KINDS_MADE_AGAIN else row["error_kind"]
            requeued.append(_to_requeued_row(item, row["sample"] + (1 if context.refresh else 0), kind))
            changed += different
            retried += not different
        else:
            unchanged.append({"b_item": item.item_id})
    if new:
        stems = assign_stems(connection, context.out_id, new_items) if context.names_files else [{}] * len(new)
        new = [{**row, **columns} for row, columns in zip(new, stems, strict=True)]
        connection.execute(insert(items), new)
    for rows, statement in ((requeued, _REQUEUE), (unchanged, _MARK_SEEN)):
        if rows:
            ids = {"b_out": context.out_id, "b_run": context.run_id}
            connection.execute(statement, [{**ids, **row} for row in rows])
    return PlanCounts(len(new), changed, retried, len(unchanged), duplicates), open_shard


def _select_known(connection: Connection, out_id: str, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    columns = (
        items.c.item_id,
        items.c.item_index,
        items.c.seen_run,
        items.c.state,
        items.c.fingerprint,
        items.c.transient,
        items.c.sample,
        items.c.error_kind,
    )
    known: dict[str, Mapping[str, Any]] = {}
    for chunk in split_values(ids):
        condition = and_(items.c.out_id == out_id, items.c.item_id.in_(chunk))
        known.update({r["item_id"]: r for r in connection.execute(select(*columns).where(condition)).mappings()})
    return known


def _add_to_shard(connection: Connection, context: PlanContext, open_shard: OpenShard) -> OpenShard:
    """The open shard with one more item in it; a new one when it is full or there is none."""
    if open_shard.shard >= 0 and open_shard.size < context.shard_size:
        return replace(open_shard, size=open_shard.size + 1)
    statement = select(func.max(shards.c.shard)).where(shards.c.out_id == context.out_id)
    last_shard = connection.execute(statement).scalar()
    shard = 0 if last_shard is None else int(last_shard) + 1
    connection.execute(insert(shards).values(out_id=context.out_id, shard=shard, dirty=1))
    return OpenShard(context.run_id, shard, 1)


def _item_columns(item: Item) -> dict[str, Any]:
    return {
        "source": item.source,
        "location": None if item.location is None else path_to_text(item.location),
        "row": dumps(item.row).decode(),
        "params": dumps(item.params).decode(),
        "fingerprint": item.fingerprint,
        "problem": item.problem,
    }


def _to_new_row(context: PlanContext, item: Item, shard: int) -> dict[str, Any]:
    return {
        **_item_columns(item),
        "out_id": context.out_id,
        "item_id": item.item_id,
        "item_index": item.index,
        "shard": shard,
        "sample": item.sample,
        "seen_run": context.run_id,
        "first_run": context.run_id,
        "state": "pending",
        "transient": 0,
    }


def _to_requeued_row(item: Item, sample: int, kind: str | None) -> dict[str, Any]:
    return {**_item_columns(item), "b_item": item.item_id, "sample": sample, "error_kind": kind}


BOUND_ITEM = (items.c.out_id == bindparam("b_out"), items.c.item_id == bindparam("b_item"))
"""Selects the item whose OUT and id are bound as ``b_out`` and ``b_item``."""
_MARK_SEEN = update(items).where(*BOUND_ITEM).values(seen_run=bindparam("b_run"))
_REQUEUE = (
    update(items)
    .where(*BOUND_ITEM)
    .values(
        state="pending",
        seen_run=bindparam("b_run"),
        **{
            name: bindparam(name)
            for name in ("source", "location", "row", "params", "fingerprint", "problem", "sample", "error_kind")
        },
    )
)
