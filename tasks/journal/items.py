"""Items: what the source gave, the shard that each belongs to for good, and the state of each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, RowMapping, Update, and_, case, func, null, or_, select, update

from mediamill.tasks.domain import Item
from mediamill.tasks.journal.database import JournalDatabase
from mediamill.tasks.journal.json_codec import text_to_path
from mediamill.tasks.journal.planning import (
    KINDS_MADE_AGAIN,
    LOST_FILE,
    NO_ANSWER,
    OUTDATED,
    OpenShard,
    PlanContext,
    PlanCounts,
    plan_batch,
)
from mediamill.tasks.journal.renamed_kinds import list_stored_kinds
from mediamill.tasks.journal.sql_dialect import split_values
from mediamill.tasks.journal.tables import items, shards

PROMOTED_PREVIEW = "previews"
"""``error_kind`` of previews that are being generated in full."""
KINDS_NEEDING_NEW_ANSWER = (
    "unknown",
    "bad_reply",
    "misfit",
    "cut_off",
    "empty_answer",
    "refused",
    "moderated",
    "bad_picture",
    "link_expired",
    "output_lost",
)
"""Failures after which only a new reply helps: the old one is lost or useless."""


KINDS_READ_AGAIN = frozenset({"unknown", "bad_reply", "misfit", "cut_off", "empty_answer", "bad_picture"})
"""Those of them whose old reply is read first: a later program may understand it."""

_COLUMNS_SINCE = {"first_run": 3, "preparation": 3, "file_stem": 5, "file_key": 5}
"""The journal's version that first has a column: a quote reads older ones as they are."""


@dataclass(frozen=True, slots=True)
class ShardWork:
    """A shard with something to do: ``pending`` items of this run, or a part to be written again."""

    shard: int
    pending: int


class Items:
    """The items of one OUT."""

    def __init__(self, journal: JournalDatabase) -> None:
        self._journal = journal
        self._open_shard: OpenShard | None = None

    async def plan(
        self, batch: Sequence[Item], shard_size: int, *, refresh: bool = False, names_files: bool = False
    ) -> PlanCounts:
        """Add a batch of the source to the plan.

        New items get new shards. Changed, unfinished and transiently failed ones are pending again, and done ones of
        which a later try failed so. Finished ones and permanent failures stay as they are, unless ``refresh`` makes all
        pending, to be paid for again.
        With ``names_files`` new items get the stem of their files' names.
        Only one batch may be planned at a time.
        """
        journal, open_shard = self._journal, self._open_shard
        if open_shard is None or open_shard.run_id != journal.run_id:
            open_shard = OpenShard(journal.run_id, -1, shard_size)
        context = PlanContext(journal.out_id, journal.run_id, shard_size, refresh, open_shard, names_files)
        counts, self._open_shard = await journal.write(lambda connection: plan_batch(connection, context, batch))
        return counts

    def has_items(self) -> bool:
        """Whether OUT has any item."""
        return self._exists(items.c.out_id == self._journal.out_id)

    def has_any(self, ids: Sequence[str]) -> bool:
        """Whether one of these items is OUT's."""
        return any(
            self._exists(and_(items.c.out_id == self._journal.out_id, items.c.item_id.in_(chunk)))
            for chunk in split_values(ids)
        )

    def _exists(self, condition: ColumnElement[bool]) -> bool:
        statement = select(items.c.item_id).where(condition).limit(1)
        return self._journal.read_blocking(lambda connection: connection.execute(statement).first()) is not None

    async def retry(self, kinds: set[str] | None) -> int:
        """Make failed items pending again: all, or those of the given error kinds. Returns how many.

        Where only a new reply helps, the item's ``sample`` is raised, so that it is sent and paid for again, unless
        the old reply can be read now. Items
        that an earlier retry left pending are included, with the sample they got then.
        """
        needs_new_answer = and_(items.c.state == "failed", items.c.error_kind.in_(KINDS_NEEDING_NEW_ANSWER))
        sample = items.c.sample + case((needs_new_answer, 1), else_=0)
        statement = (
            update(items)
            .where(self._is_retried(kinds))
            .values(state="pending", seen_run=self._journal.run_id, sample=sample)
        )
        return int(await self._journal.write(lambda connection: connection.execute(statement).rowcount))

    def _is_retried(self, kinds: Collection[str] | None) -> ColumnElement[bool]:
        left_by_retry = and_(items.c.state == "pending", items.c.failure.is_not(None))
        mine = and_(items.c.out_id == self._journal.out_id, or_(items.c.state == "failed", left_by_retry))
        return mine if kinds is None else and_(mine, items.c.error_kind.in_(list_stored_kinds(kinds)))

    def stream_retried(self, kinds: Collection[str] | None) -> Iterator[Item]:
        """The items that :meth:`retry` would make pending; for quotes."""
        return self._stream(self._is_retried(kinds))

    def stream_by_ids(self, ids: Sequence[str], kinds: Collection[str] = ()) -> Iterator[Item]:
        """These items, or with ``kinds`` those that :meth:`retry_ids` would make pending; for quotes."""
        for chunk in split_values(ids):
            condition = and_(items.c.out_id == self._journal.out_id, items.c.item_id.in_(chunk))
            if kinds:
                condition = and_(condition, items.c.error_kind.in_(sorted(kinds)))
            yield from self._stream(condition)

    def _stream(self, condition: ColumnElement[bool]) -> Iterator[Item]:
        known = [column for column in items.c if _COLUMNS_SINCE.get(column.name, 0) <= self._journal.version]
        statement = select(*known).where(condition).order_by(items.c.item_index)
        return (_to_item(row._mapping) for row in self._journal.stream(statement))  # noqa: SLF001 (SQLAlchemy's own API)

    async def retry_ids(self, ids: Sequence[str], *, promoting: bool = False, kinds: Collection[str] = ()) -> int:
        """Make these items pending in this run; their results stay until new ones replace them. Returns how many.

        Args:
            ids: which items.
            promoting: the items are previews to be generated in full, which an ordinary run does not continue.
            kinds: only those whose last attempt failed with one of these error kinds; where only a new reply helps,
                it is paid for again.
        """
        count = 0
        needs_new_answer = items.c.error_kind.in_(sorted(set(kinds) & set(KINDS_NEEDING_NEW_ANSWER)))
        values = {"sample": items.c.sample + case((needs_new_answer, 1), else_=0)} if kinds else {}
        for chunk in split_values(ids):
            condition = and_(items.c.out_id == self._journal.out_id, items.c.item_id.in_(chunk))
            if kinds:
                condition = and_(condition, items.c.error_kind.in_(list_stored_kinds(kinds)))
            kept_kind = case((items.c.error_kind == OUTDATED, null()), else_=items.c.error_kind)
            new_values = {**values, "error_kind": PROMOTED_PREVIEW if promoting else kept_kind}
            statement = (
                update(items).where(condition).values(state="pending", seen_run=self._journal.run_id, **new_values)
            )
            count += await self._journal.write(partial(_count_changed, statement=statement))
        return count

    async def restore_unpromoted_previews(self) -> None:
        """Mark previews that a promotion left pending as done again; the next promotion takes them up."""
        unfinished_promotions = (
            items.c.state == "pending",
            items.c.error_kind == PROMOTED_PREVIEW,
            items.c.result.is_not(None),
        )
        statement = update(items).where(items.c.out_id == self._journal.out_id, *unfinished_promotions)
        await self._journal.write(partial(_count_changed, statement=statement.values(state="done", error_kind=None)))

    async def mark_lost(self, ids: Sequence[str], *, now: bool = False, kind: str = LOST_FILE) -> int:
        """Mark done items whose files are gone, or whose rows are outdated, as pending. Returns how many.

        Their results stay, and their replies come from the journal or not at all.

        Args:
            ids: which items.
            now: make them pending in this run, and not only once the source names them.
            kind: ``lost``, ``outdated`` or ``no_answer``.
        """
        count = 0
        values = {"state": "pending", "error_kind": kind} | ({"seen_run": self._journal.run_id} if now else {})
        for chunk in split_values(ids):
            condition = and_(items.c.out_id == self._journal.out_id, items.c.item_id.in_(chunk))
            statement = update(items).where(condition, items.c.state == "done").values(**values)
            count += await self._journal.write(partial(_count_changed, statement=statement))
        return count

    async def take_up_lost(self) -> int:
        """Make items that are pending because their file is lost pending in this run. Returns how many."""
        conditions = (items.c.state == "pending", items.c.error_kind == LOST_FILE)
        earlier = items.c.seen_run != self._journal.run_id
        statement = update(items).where(items.c.out_id == self._journal.out_id, *conditions, earlier)
        return await self._journal.write(
            partial(_count_changed, statement=statement.values(seen_run=self._journal.run_id))
        )

    async def find_shards_with_work(self) -> list[ShardWork]:
        """The shards with pending items of this run, and those whose part must be written again."""
        pending_counts = (
            select(items.c.shard, func.count().label("pending")).where(self._is_pending()).group_by(items.c.shard)
        )
        pending_by_shard = pending_counts.subquery()
        statement = (
            select(shards.c.shard, func.coalesce(pending_by_shard.c.pending, 0))
            .outerjoin(pending_by_shard, pending_by_shard.c.shard == shards.c.shard)
            .where(shards.c.out_id == self._journal.out_id, or_(shards.c.dirty == 1, pending_by_shard.c.pending > 0))
            .order_by(shards.c.shard)
        )
        rows = await self._journal.write(lambda connection: connection.execute(statement).all())
        return [ShardWork(int(shard), int(pending)) for shard, pending in rows]

    async def load_pending(self, shard: int) -> list[Item]:
        """The items of a shard that this run has still to do, in the source's order."""
        conditions = (items.c.shard == shard, self._is_pending())
        statement = select(items).where(*conditions).order_by(items.c.item_index)
        return await self._journal.read(lambda c: [_to_item(row) for row in c.execute(statement).mappings()])

    def _is_pending(self) -> Any:
        return and_(
            items.c.out_id == self._journal.out_id,
            items.c.state == "pending",
            items.c.seen_run == self._journal.run_id,
        )


def _count_changed(connection: Connection, statement: Update) -> int:
    return int(connection.execute(statement).rowcount)


def _to_item(row: RowMapping) -> Item:
    result_is_current = row["result"] is not None and row["result_fingerprint"] == row["fingerprint"]
    return Item(
        item_id=row["item_id"],
        index=row["item_index"],
        source=row["source"],
        location=None if row["location"] is None else text_to_path(row["location"]),
        row=orjson.loads(row["row"]),
        params=orjson.loads(row["params"]),
        fingerprint=row["fingerprint"],
        sample=row["sample"],
        problem=row["problem"],
        has_result=result_is_current and row["error_kind"] != NO_ANSWER,
        lost_request_key=orjson.loads(row["result"]).get("request_key") or ""
        if result_is_current and row["error_kind"] in KINDS_MADE_AGAIN
        else None,
        is_outdated=result_is_current and row["error_kind"] in (OUTDATED, NO_ANSWER),
        is_read_again=row["sample"] > 0 and row["error_kind"] in KINDS_READ_AGAIN,
        file_stem=row.get("file_stem"),
    )
