"""Items: what the source held, the shard each belongs to for good, and how each ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, Update, and_, case, func, or_, select, update

from mediamill.tasks.domain import Item
from mediamill.tasks.journal.database import JournalDatabase
from mediamill.tasks.journal.json_codec import text_path
from mediamill.tasks.journal.planning import LOST, Filling, PlanCounts, Planning, plan_batch
from mediamill.tasks.journal.tables import items, shards

PREVIEWS = "previews"
"""What previews that are being made in full are marked with."""
_AT_ONCE = 500
_NEW_ANSWER = (
    "unknown",
    "bad_reply",
    "misfit",
    "cut_off",
    "empty_answer",
    "refused",
    "moderated",
    "bad_picture",
    "link_expired",
)
"""Failures after which only a new answer helps: the old one is lost or useless."""


@dataclass(frozen=True, slots=True)
class ShardWork:
    """A shard with something to do: pending items of this run, or a part to be written again."""

    shard: int
    pending: int


class Items:
    """The items of one OUT."""

    def __init__(self, journal: JournalDatabase) -> None:
        self._journal = journal
        self._filling: Filling | None = None

    async def plan(self, batch: Sequence[Item], shard_size: int, *, refresh: bool = False) -> PlanCounts:
        """Take a batch of the source into the plan.

        New items get new shards. Changed, unfinished and transiently failed ones are pending again;
        finished ones and permanent failures stay as they are, unless ``refresh`` buys them all again.
        One batch is planned at a time.
        """
        journal, filling = self._journal, self._filling
        if filling is None or filling.run_id != journal.run_id:
            filling = Filling(journal.run_id, -1, shard_size)
        planning = Planning(journal.out_id, journal.run_id, shard_size, refresh, filling)
        counts, self._filling = await journal.write(lambda connection: plan_batch(connection, planning, batch))
        return counts

    async def retry(self, kinds: set[str] | None) -> int:
        """Make failed items pending again: all, or those of the given error kinds. How many.

        Where only a new answer helps, the item's ``sample`` is raised, so that it is bought anew. What an
        earlier retry did not come to is taken up again, with the sample it was given then.
        """
        left = and_(items.c.state == "pending", items.c.failure.is_not(None))
        failed = [items.c.out_id == self._journal.out_id, or_(items.c.state == "failed", left)]
        if kinds is not None:
            failed.append(items.c.error_kind.in_(sorted(kinds)))
        anew = and_(items.c.state == "failed", items.c.error_kind.in_(_NEW_ANSWER))
        sample = items.c.sample + case((anew, 1), else_=0)
        statement = update(items).where(*failed).values(state="pending", seen_run=self._journal.run_id, sample=sample)
        return int(await self._journal.write(lambda connection: connection.execute(statement).rowcount))

    async def retry_ids(self, ids: Sequence[str], *, promoting: bool = False, kinds: Collection[str] = ()) -> int:
        """Make these items pending in this run; their results stand until others come. How many.

        Args:
            ids: which items.
            promoting: previews are to be made in full, which an ordinary run does not go on with.
            kinds: only those whose last attempt at that ended so; what is lost is then bought anew.
        """
        count = 0
        anew = items.c.error_kind.in_(sorted(set(kinds) & set(_NEW_ANSWER)))
        values = {"sample": items.c.sample + case((anew, 1), else_=0)} if kinds else {}
        for at in range(0, len(ids), _AT_ONCE):
            chosen = and_(items.c.out_id == self._journal.out_id, items.c.item_id.in_(ids[at : at + _AT_ONCE]))
            if kinds:
                chosen = and_(chosen, items.c.error_kind.in_(sorted(kinds)))
            marked = {**values, "error_kind": PREVIEWS} if promoting else values
            statement = update(items).where(chosen).values(state="pending", seen_run=self._journal.run_id, **marked)
            count += await self._journal.write(partial(_changed, statement=statement))
        return count

    async def leave_previews(self) -> None:
        """What a promotion did not come to stays as it is: it is for the next promotion to go on."""
        left = (items.c.state == "pending", items.c.error_kind == PREVIEWS, items.c.result.is_not(None))
        statement = update(items).where(items.c.out_id == self._journal.out_id, *left)
        await self._journal.write(partial(_changed, statement=statement.values(state="done", error_kind=None)))

    async def make_again(self, ids: Sequence[str], *, now: bool = False) -> int:
        """Items whose files are gone: pending again once the source names them, or ``now``. How many.

        Their rows stay, and their answers come from the journal or not at all.
        """
        count = 0
        values = {"state": "pending", "error_kind": LOST} | ({"seen_run": self._journal.run_id} if now else {})
        for at in range(0, len(ids), _AT_ONCE):
            chosen = and_(items.c.out_id == self._journal.out_id, items.c.item_id.in_(ids[at : at + _AT_ONCE]))
            statement = update(items).where(chosen, items.c.state == "done").values(**values)
            count += await self._journal.write(partial(_changed, statement=statement))
        return count

    async def shards(self) -> list[ShardWork]:
        """The shards with pending items of this run, or whose part must be written again."""
        count = select(items.c.shard, func.count().label("pending")).where(self._pending()).group_by(items.c.shard)
        work = count.subquery()
        statement = (
            select(shards.c.shard, func.coalesce(work.c.pending, 0))
            .outerjoin(work, work.c.shard == shards.c.shard)
            .where(shards.c.out_id == self._journal.out_id, or_(shards.c.dirty == 1, work.c.pending > 0))
            .order_by(shards.c.shard)
        )
        found = await self._journal.write(lambda connection: connection.execute(statement).all())
        return [ShardWork(int(shard), int(pending)) for shard, pending in found]

    async def pending(self, shard: int) -> list[Item]:
        """What this run still has to do in a shard, in the source's order."""
        where = (items.c.shard == shard, self._pending())
        statement = select(items).where(*where).order_by(items.c.item_index)
        return await self._journal.read(lambda c: [_item(row) for row in c.execute(statement).mappings()])

    def _pending(self) -> Any:
        return and_(
            items.c.out_id == self._journal.out_id,
            items.c.state == "pending",
            items.c.seen_run == self._journal.run_id,
        )


def _changed(connection: Connection, statement: Update) -> int:
    return int(connection.execute(statement).rowcount)


def _item(row: RowMapping) -> Item:
    standing = row["result"] is not None and row["result_fingerprint"] == row["fingerprint"]
    return Item(
        item_id=row["item_id"],
        index=row["item_index"],
        source=row["source"],
        location=None if row["location"] is None else text_path(row["location"]),
        row=orjson.loads(row["row"]),
        params=orjson.loads(row["params"]),
        fingerprint=row["fingerprint"],
        sample=row["sample"],
        problem=row["problem"],
        standing=standing,
        lost=str(orjson.loads(row["result"]).get("request_key")) if standing and row["error_kind"] == LOST else None,
    )
