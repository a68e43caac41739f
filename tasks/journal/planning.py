"""Planning: each batch of the source against what the journal knows of its items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, insert, select, update

from mediamill.tasks.domain import Item
from mediamill.tasks.journal.json_codec import dumps, path_text
from mediamill.tasks.journal.tables import items, shards

LOST = "lost"
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
class Filling:
    """The shard that a run is filling with new items; an earlier run's shards take none."""

    run_id: str
    shard: int
    size: int


@dataclass(frozen=True, slots=True)
class Planning:
    """What a batch is planned for."""

    out_id: str
    run_id: str
    shard_size: int
    refresh: bool
    filling: Filling


def plan_batch(connection: Connection, planning: Planning, batch: Sequence[Item]) -> tuple[PlanCounts, Filling]:
    """Take a batch into the plan; how the plan goes on counts only once this is committed."""
    known = _known(connection, planning.out_id, [i.item_id for i in batch])
    filling, new, again, seen = planning.filling, [], [], []
    duplicates: list[tuple[str, int, int]] = []
    first: dict[str, int] = {}
    changed = retried = 0
    for item in batch:
        row = known.get(item.item_id)
        if item.item_id in first or (row is not None and row["seen_run"] == planning.run_id):
            earlier = first[item.item_id] if item.item_id in first else row["item_index"] if row else item.index
            duplicates.append((item.item_id, earlier, item.index))
            continue
        first[item.item_id] = item.index
        if row is None:
            filling = _place(connection, planning, filling)
            new.append(_new_row(planning, item, filling.shard))
            continue
        different = row["fingerprint"] != item.fingerprint
        if different or planning.refresh or row["state"] == "pending" or row["transient"]:
            anew = different or planning.refresh
            kind = None if anew and row["error_kind"] == LOST else row["error_kind"]
            again.append(_again_row(item, row["sample"] + (1 if planning.refresh else 0), kind))
            changed += different
            retried += not different
        else:
            seen.append({"b_item": item.item_id})
    if new:
        connection.execute(insert(items), new)
    for rows, statement in ((again, _AGAIN), (seen, _SEEN)):
        if rows:
            about = {"b_out": planning.out_id, "b_run": planning.run_id}
            connection.execute(statement, [{**about, **row} for row in rows])
    return PlanCounts(len(new), changed, retried, len(seen), duplicates), filling


def _known(connection: Connection, out_id: str, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
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
        mine = and_(items.c.out_id == out_id, items.c.item_id.in_(ids[start : start + _CHUNK]))
        known.update({r["item_id"]: r for r in connection.execute(select(*columns).where(mine)).mappings()})
    return known


def _place(connection: Connection, planning: Planning, filling: Filling) -> Filling:
    """Room for one more new item, in a new shard when there is none."""
    if filling.shard >= 0 and filling.size < planning.shard_size:
        return replace(filling, size=filling.size + 1)
    last = select(func.max(shards.c.shard)).where(shards.c.out_id == planning.out_id)
    found = connection.execute(last).scalar()
    shard = 0 if found is None else int(found) + 1
    connection.execute(insert(shards).values(out_id=planning.out_id, shard=shard, dirty=1))
    return Filling(planning.run_id, shard, 1)


def _told(item: Item) -> dict[str, Any]:
    return {
        "source": item.source,
        "location": None if item.location is None else path_text(item.location),
        "row": dumps(item.row).decode(),
        "params": dumps(item.params).decode(),
        "fingerprint": item.fingerprint,
        "problem": item.problem,
    }


def _new_row(planning: Planning, item: Item, shard: int) -> dict[str, Any]:
    return {
        **_told(item),
        "out_id": planning.out_id,
        "item_id": item.item_id,
        "item_index": item.index,
        "shard": shard,
        "sample": item.sample,
        "seen_run": planning.run_id,
        "state": "pending",
        "transient": 0,
    }


def _again_row(item: Item, sample: int, kind: str | None) -> dict[str, Any]:
    return {**_told(item), "b_item": item.item_id, "sample": sample, "error_kind": kind}


_MINE = (items.c.out_id == bindparam("b_out"), items.c.item_id == bindparam("b_item"))
_SEEN = update(items).where(*_MINE).values(seen_run=bindparam("b_run"))
_AGAIN = (
    update(items)
    .where(*_MINE)
    .values(
        state="pending",
        seen_run=bindparam("b_run"),
        **{
            name: bindparam(name)
            for name in ("source", "location", "row", "params", "fingerprint", "problem", "sample", "error_kind")
        },
    )
)
