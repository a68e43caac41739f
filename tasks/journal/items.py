"""Items: what the source held, the shard each belongs to for good, and how each ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Connection, RowMapping, and_, bindparam, case, func, insert, null, or_, select, update

from tasks.item import Failure, Item, Outcome
from tasks.journal.tables import items, shards

if TYPE_CHECKING:
    from tasks.journal.journal import Journal

_CHUNK = 500
_FETCH = 200
_NEW_ANSWER = ("unknown", "bad_reply")
"""Failures after which only a new answer helps: the old one is lost or useless."""


@dataclass(frozen=True, slots=True)
class PlanCounts:
    """What a batch of the plan brought; ``duplicates`` as (item id, first index, second index)."""

    new: int
    changed: int
    retried: int
    kept: int
    duplicates: list[tuple[str, int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ShardWork:
    """A shard with something to do: pending items of this run, or a part to be written again."""

    shard: int
    pending: int


class Items:
    """The items of one OUT."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._open: tuple[str, int, int] = ("", -1, 0)

    async def plan(self, batch: Sequence[Item], shard_size: int, *, refresh: bool = False) -> PlanCounts:
        """Take a batch of the source into the plan.

        New items get new shards. Changed, unfinished and transiently failed ones are pending again;
        finished ones and permanent failures stay as they are, unless ``refresh`` buys them all again.
        """
        return await self._journal.write(lambda connection: self._plan(connection, batch, shard_size, refresh))

    def _plan(self, connection: Connection, batch: Sequence[Item], shard_size: int, refresh: bool) -> PlanCounts:  # noqa: FBT001
        run_id, known = self._journal.run_id, self._known(connection, [i.item_id for i in batch])
        new, again, seen = [], [], []
        duplicates: list[tuple[str, int, int]] = []
        indices: dict[str, int] = {}
        changed = retried = kept = 0
        for item in batch:
            row = known.get(item.item_id)
            first = indices.setdefault(item.item_id, item.index)
            if first != item.index or (row is not None and row["seen_run"] == run_id):
                duplicates.append((item.item_id, first if first != item.index else row["item_index"], item.index))  # type: ignore[index]
                continue
            if row is None:
                new.append(self._new_row(connection, item, shard_size))
                continue
            different = row["fingerprint"] != item.fingerprint
            if different or refresh or row["state"] == "pending" or row["transient"]:
                again.append(self._again_row(item, row["sample"] + (1 if refresh else 0)))
                changed += different
                retried += not different
            else:
                seen.append({"b_item": item.item_id})
                kept += 1
        if new:
            connection.execute(insert(items), new)
        for rows, statement in ((again, _AGAIN), (seen, _SEEN)):
            if rows:
                about = {"b_out": self._journal.out_id, "b_run": run_id}
                connection.execute(statement, [{**about, **row} for row in rows])
        return PlanCounts(len(new), changed, retried, kept, duplicates)

    def _known(self, connection: Connection, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        columns = (
            items.c.item_id,
            items.c.item_index,
            items.c.seen_run,
            items.c.state,
            items.c.fingerprint,
            items.c.transient,
            items.c.sample,
        )
        known: dict[str, Mapping[str, Any]] = {}
        for start in range(0, len(ids), _CHUNK):
            mine = and_(items.c.out_id == self._journal.out_id, items.c.item_id.in_(ids[start : start + _CHUNK]))
            known.update({r["item_id"]: r for r in connection.execute(select(*columns).where(mine)).mappings()})
        return known

    def _new_row(self, connection: Connection, item: Item, shard_size: int) -> dict[str, Any]:
        return {
            "out_id": self._journal.out_id,
            "item_id": item.item_id,
            "item_index": item.index,
            "shard": self._next_shard(connection, shard_size),
            "source": item.source,
            "location": item.location,
            "row": _dumps(item.row).decode(),
            "params": _dumps(item.params).decode(),
            "fingerprint": item.fingerprint,
            "problem": item.problem,
            "sample": item.sample,
            "seen_run": self._journal.run_id,
            "state": "pending",
            "transient": 0,
        }

    def _next_shard(self, connection: Connection, shard_size: int) -> int:
        """The shard that this run is filling; an earlier run's shards take no new items."""
        run_id, shard, size = self._open
        if run_id != self._journal.run_id or size >= shard_size:
            last = select(func.max(shards.c.shard)).where(shards.c.out_id == self._journal.out_id)
            found = connection.execute(last).scalar()
            shard, size = (-1 if found is None else int(found)) + 1, 0
            connection.execute(insert(shards).values(out_id=self._journal.out_id, shard=shard, dirty=1))
        self._open = (self._journal.run_id, shard, size + 1)
        return shard

    def _again_row(self, item: Item, sample: int) -> dict[str, Any]:
        return {
            "b_item": item.item_id,
            "source": item.source,
            "location": item.location,
            "row": _dumps(item.row).decode(),
            "params": _dumps(item.params).decode(),
            "fingerprint": item.fingerprint,
            "problem": item.problem,
            "sample": sample,
        }

    async def retry(self, kinds: set[str] | None) -> int:
        """Make failed items pending again: all, or those of the given error kinds. How many.

        Where only a new answer helps, the item's ``sample`` is raised, so that it is bought anew.
        """
        failed = [items.c.out_id == self._journal.out_id, items.c.state == "failed"]
        if kinds is not None:
            failed.append(items.c.error_kind.in_(sorted(kinds)))
        sample = items.c.sample + case((items.c.error_kind.in_(_NEW_ANSWER), 1), else_=0)
        statement = update(items).where(*failed).values(state="pending", seen_run=self._journal.run_id, sample=sample)
        return int(await self._journal.write(lambda connection: connection.execute(statement).rowcount))

    async def shards(self) -> list[ShardWork]:
        """The shards with pending items of this run, or whose part must be written again."""
        count = func.sum(case((self._pending(), 1), else_=0))
        statement = (
            select(shards.c.shard, func.coalesce(count, 0))
            .join(items, and_(items.c.out_id == shards.c.out_id, items.c.shard == shards.c.shard))
            .where(shards.c.out_id == self._journal.out_id)
            .group_by(shards.c.shard, shards.c.dirty)
            .having(or_(shards.c.dirty == 1, count > 0))
            .order_by(shards.c.shard)
        )
        found = await self._journal.write(lambda connection: connection.execute(statement).all())
        return [ShardWork(int(shard), int(pending)) for shard, pending in found]

    async def pending(self, shard: int) -> list[Item]:
        """What this run still has to do in a shard, in the source's order."""
        where = (items.c.shard == shard, self._pending())
        statement = select(items).where(*where).order_by(items.c.item_index)
        return await self._journal.read(lambda c: [_item(row) for row in c.execute(statement).mappings()])

    async def outcome(self, item: Item, shard: int, outcome: Outcome, payload: Mapping[str, Any]) -> None:
        """How an item ended. A failure never replaces a result for unchanged input.

        Args:
            item: as planned.
            shard: its shard; its part is to be written again.
            outcome: decides the state.
            payload: the row for the part, by column name.
        """
        failure = outcome if isinstance(outcome, Failure) else None
        told = {
            "b_out": self._journal.out_id,
            "b_item": item.item_id,
            "b_shard": shard,
            "error_kind": failure.kind if failure else None,
            "transient": int(failure.transient) if failure else 0,
            "b_payload": _dumps(payload),
        }
        await self._journal.bulk(_fail if failure else _succeed, told)

    def results(self, shard: int) -> Iterator[bytes]:
        """The rows of a shard's results as JSON, streamed in the source's order."""
        return self._stream(select(items.c.result).where(items.c.result.is_not(None)), shard)

    def failures(self, shard: int) -> Iterator[bytes]:
        """The rows of a shard's failures as JSON, streamed in the source's order."""
        return self._stream(select(items.c.failure).where(items.c.state == "failed"), shard)

    def _stream(self, statement: Any, shard: int) -> Iterator[bytes]:
        chosen = statement.where(items.c.out_id == self._journal.out_id, items.c.shard == shard)
        for row in self._journal.stream(chosen.order_by(items.c.item_index)):
            yield row[0]

    def counts_now(self) -> dict[tuple[str, str | None], int]:
        """How many items are in each state and, among the failed, of each error kind."""
        statement = (
            select(items.c.state, items.c.error_kind, func.count())
            .where(items.c.out_id == self._journal.out_id)
            .group_by(items.c.state, items.c.error_kind)
        )
        rows = self._journal.read_now(lambda connection: connection.execute(statement).all())
        counts: dict[tuple[str, str | None], int] = {}
        for state, kind, number in rows:
            key = (str(state), str(kind) if state == "failed" else None)
            counts[key] = counts.get(key, 0) + int(number)
        return counts

    def sample_failures(self, kind: str, most: int) -> list[dict[str, Any]]:
        """A few failures of one kind, for summaries."""
        chosen = select(items.c.failure).where(
            items.c.out_id == self._journal.out_id, items.c.state == "failed", items.c.error_kind == kind
        )
        rows = self._journal.read_now(lambda c: c.execute(chosen.order_by(items.c.item_index).limit(most)).all())
        return [orjson.loads(row[0]) for row in rows]

    def sample_results(self, most: int) -> list[dict[str, Any]]:
        """The first results, for the report."""
        chosen = select(items.c.result).where(items.c.out_id == self._journal.out_id, items.c.result.is_not(None))
        rows = self._journal.read_now(lambda c: c.execute(chosen.order_by(items.c.item_index).limit(most)).all())
        return [orjson.loads(row[0]) for row in rows]

    def finished(self, ids: Sequence[str]) -> dict[str, str]:
        """The fingerprints of those of ``ids`` that need nothing more, for quotes."""
        columns = select(items.c.item_id, items.c.fingerprint)
        done = or_(items.c.state == "done", and_(items.c.state == "failed", items.c.transient == 0))
        mine = and_(items.c.out_id == self._journal.out_id, items.c.item_id.in_(ids), done)
        rows = self._journal.read_now(lambda connection: connection.execute(columns.where(mine)).all())
        return {str(item_id): str(fingerprint) for item_id, fingerprint in rows}

    def _pending(self) -> Any:
        return and_(
            items.c.out_id == self._journal.out_id,
            items.c.state == "pending",
            items.c.seen_run == self._journal.run_id,
        )


def _item(row: RowMapping) -> Item:
    return Item(
        item_id=row["item_id"],
        index=row["item_index"],
        source=row["source"],
        location=row["location"],
        row=orjson.loads(row["row"]),
        params=orjson.loads(row["params"]),
        fingerprint=row["fingerprint"],
        sample=row["sample"],
        problem=row["problem"],
    )


def _succeed(connection: Connection, told: Sequence[dict[str, Any]]) -> Sequence[None]:
    connection.execute(_SUCCEED, told)
    return _dirty(connection, told)


def _fail(connection: Connection, told: Sequence[dict[str, Any]]) -> Sequence[None]:
    connection.execute(_FAIL, told)
    return _dirty(connection, told)


def _dirty(connection: Connection, told: Sequence[dict[str, Any]]) -> Sequence[None]:
    touched = {(t["b_out"], t["b_shard"]) for t in told}
    connection.execute(_DIRTY, [{"b_out": out, "b_shard": shard} for out, shard in touched])
    return [None] * len(told)


def _dumps(value: Any) -> bytes:
    return orjson.dumps(value, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_NON_STR_KEYS)


def _plain(value: Any) -> Any:
    """Exact stand-ins for what JSON lacks: decimals as text, moments as microseconds, bytes as hex."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1_000_000)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


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
            for name in ("source", "location", "row", "params", "fingerprint", "problem", "sample")
        },
    )
)
_SUCCEED = (
    update(items)
    .where(*_MINE)
    .values(
        state="done",
        error_kind=null(),
        transient=0,
        result=bindparam("b_payload"),
        result_fingerprint=items.c.fingerprint,
        failure=null(),
    )
)
_STANDS = and_(items.c.result.is_not(None), items.c.result_fingerprint == items.c.fingerprint)
_FAIL = (
    update(items)
    .where(*_MINE)
    .values(
        state=case((_STANDS, "done"), else_="failed"),
        error_kind=case((_STANDS, null()), else_=bindparam("error_kind")),
        transient=case((_STANDS, 0), else_=bindparam("transient")),
        result=case((_STANDS, items.c.result), else_=null()),
        failure=case((_STANDS, null()), else_=bindparam("b_payload")),
    )
)
_DIRTY = (
    update(shards).where(shards.c.out_id == bindparam("b_out"), shards.c.shard == bindparam("b_shard")).values(dirty=1)
)
