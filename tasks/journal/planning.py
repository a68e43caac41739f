"""Planning: each batch of the source against what the journal knows of its items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, insert, select, update

from mediamill.tasks.domain import Item
from mediamill.tasks.journal.json_codec import dumps, path_to_text
from mediamill.tasks.journal.tables import items, shards

LOST_FILE = "lost"
"""The kind of items whose result stands and whose file is gone."""
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class PlanCounts:
    """What a batch of the plan brought; ``duplicates`` as (item id, first index, second index)."""

    new: int
    changed: int
    retried: int
    kept: int
    duplicates: list[tuple[str, int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class OpenShard:
    """The shard that a run is filling with new items; an earlier run's shards take none."""

    run_id: str
    shard: int
    size: int


@dataclass(frozen=True, slots=True)
class PlanContext:
    """What a batch is planned for."""

    out_id: str
    run_id: str
    shard_size: int
    refresh: bool
    open_shard: OpenShard


def plan_batch(connection: Connection, context: PlanContext, batch: Sequence[Item]) -> tuple[PlanCounts, OpenShard]:
    """Take a batch into the plan; how the plan goes on counts only once this is committed."""
    known = _select_known(connection, context.out_id, [i.item_id for i in batch])
    open_shard, new, requeued, unchanged = context.open_shard, [], [], []
    duplicates: list[tuple[str, int, int]] = []
    first_index: dict[str, int] = {}
    changed = retried = 0
    for item in batch:
        row = known.get(item.item_id)
        if item.item_id in first_index or (row is not None and row["seen_run"] == context.run_id):
            earlier = (
                first_index[item.item_id] if item.item_id in first_index else row["item_index"] if row else item.index
            )
            duplicates.append((item.item_id, earlier, item.index))
            continue
        first_index[item.item_id] = item.index
        if row is None:
            open_shard = _add_to_shard(connection, context, open_shard)
            new.append(_to_new_row(context, item, open_shard.shard))
            continue
        different = row["fingerprint"] != item.fingerprint
        if different or context.refresh or row["state"] == "pending" or row["transient"]:
            must_generate = different or context.refresh
            kind = None if must_generate and row["error_kind"] == LOST_FILE else row["error_kind"]
            requeued.append(_to_requeued_row(item, row["sample"] + (1 if context.refresh else 0), kind))
            changed += different
            retried += not different
        else:
            unchanged.append({"b_item": item.item_id})
    if new:
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
    for start in range(0, len(ids), _CHUNK):
        condition = and_(items.c.out_id == out_id, items.c.item_id.in_(ids[start : start + _CHUNK]))
        known.update({r["item_id"]: r for r in connection.execute(select(*columns).where(condition)).mappings()})
    return known


def _add_to_shard(connection: Connection, context: PlanContext, open_shard: OpenShard) -> OpenShard:
    """Room for one more new item, in a new shard when there is none."""
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
        "state": "pending",
        "transient": 0,
    }


def _to_requeued_row(item: Item, sample: int, kind: str | None) -> dict[str, Any]:
    return {**_item_columns(item), "b_item": item.item_id, "sample": sample, "error_kind": kind}


BOUND_ITEM = (items.c.out_id == bindparam("b_out"), items.c.item_id == bindparam("b_item"))
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
