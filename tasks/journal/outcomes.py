"""Outcomes of items, a result or a failure each: written in batches, and read again for the parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    func,
    literal,
    null,
    or_,
    select,
    tuple_,
    update,
)

from mediamill.tasks.domain import Failure, Item, Outcome
from mediamill.tasks.journal.database import JournalDatabase
from mediamill.tasks.journal.json_codec import dumps, text_to_path
from mediamill.tasks.journal.planning import BOUND_ITEM, KINDS_MADE_AGAIN, NO_ANSWER, OUTDATED
from mediamill.tasks.journal.renamed_kinds import list_stored_kinds, rename_kind_in_row, to_kind_now
from mediamill.tasks.journal.tables import items, shards


class ItemPosition(NamedTuple):
    """Where an item stands among all of OUT: its shard, its index in the source, and its id."""

    shard: int = -1
    item_index: int = -1
    item_id: str = ""


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A result: its ``row`` as JSON, the item's id and stem of file names, and the path or URL of its input."""

    row: bytes
    item_id: str
    file_stem: str | None
    location: str | None


class Outcomes:
    """The outcomes of one OUT's items: their results and failures, as rows for the parts and as counts."""

    def __init__(self, journal: JournalDatabase) -> None:
        self._journal = journal

    async def record(
        self,
        item: Item,
        shard: int,
        outcome: Outcome,
        payload: Mapping[str, Any],
        preparation: Mapping[str, Any] | None = None,
    ) -> None:
        """Record an item's outcome. A failure never replaces a result for unchanged input.

        Args:
            item: as planned.
            shard: its shard, which becomes dirty.
            outcome: decides the item's state.
            payload: the row for the part, by column name.
            preparation: what was prepared and requested for it, for ``mediamill explain``.
        """
        failure = outcome if isinstance(outcome, Failure) else None
        row = {
            "b_out": self._journal.out_id,
            "b_item": item.item_id,
            "b_shard": shard,
            "b_sample": item.sample,
            "error_kind": failure.kind if failure else None,
            "transient": int(outcome.transient if isinstance(outcome, Failure) else outcome.lacks_try),
            "b_payload": dumps(payload),
            "b_preparation": None if preparation is None else dumps(preparation),
        }
        await self._journal.write_batched(record_failures if failure else record_results, row)

    async def record_preparation(self, item: Item, preparation: Mapping[str, Any]) -> None:
        """Record what was prepared and requested for an item that stays pending, because the run ends."""
        row = {"b_out": self._journal.out_id, "b_item": item.item_id, "b_preparation": dumps(preparation)}
        await self._journal.write_batched(record_preparations, row)

    def stream_results(self, shard: int) -> Iterator[StoredResult]:
        """A shard's results, in the source's order."""
        statement = _SELECT_STORED.where(items.c.out_id == self._journal.out_id, items.c.shard == shard)
        return map(_to_stored_result, self._journal.stream(statement.order_by(items.c.item_index)))

    def stream_failures(self, shard: int) -> Iterator[bytes]:
        """A shard's failures as rows in JSON, in the source's order."""
        conditions = (items.c.out_id == self._journal.out_id, items.c.shard == shard, items.c.state == "failed")
        for row in self._journal.stream(select(items.c.failure).where(*conditions).order_by(items.c.item_index)):
            yield rename_kind_in_row(row[0])

    def count_by_state(self) -> dict[tuple[str, str | None], int]:
        """The number of items by state and, for failed ones, error kind."""
        statement = (
            select(items.c.state, items.c.error_kind, func.count())
            .where(items.c.out_id == self._journal.out_id)
            .group_by(items.c.state, items.c.error_kind)
        )
        rows = self._journal.read_blocking(lambda connection: connection.execute(statement).all())
        counts: dict[tuple[str, str | None], int] = {}
        for state, kind, number in rows:
            key = (str(state), to_kind_now(str(kind)) if state == "failed" else None)
            counts[key] = counts.get(key, 0) + int(number)
        return counts

    def find_transient_kinds(self) -> set[str]:
        """The error kinds of failed items that a later run does again by itself."""
        condition = and_(items.c.out_id == self._journal.out_id, items.c.state == "failed", items.c.transient == 1)
        statement = select(items.c.error_kind).where(condition).distinct()
        return {str(row[0]) for row in self._journal.read_blocking(lambda c: c.execute(statement).all())}

    def sample_failures(self, kind: str, limit: int) -> list[dict[str, Any]]:
        """The first failures of one kind, at most ``limit``, for summaries."""
        statement = select(items.c.failure).where(
            items.c.out_id == self._journal.out_id,
            items.c.state == "failed",
            items.c.error_kind.in_(list_stored_kinds([kind])),
        )
        rows = self._journal.read_blocking(
            lambda c: c.execute(statement.order_by(items.c.item_index).limit(limit)).all()
        )
        return [orjson.loads(rename_kind_in_row(row[0])) for row in rows]

    def sample_results(self, limit: int) -> list[dict[str, Any]]:
        """The first results, at most ``limit``, shard by shard, for the report."""
        statement = select(items.c.result).where(items.c.out_id == self._journal.out_id, items.c.result.is_not(None))
        rows = self._journal.read_blocking(
            lambda c: c.execute(statement.order_by(items.c.shard, items.c.item_index).limit(limit)).all()
        )
        return [orjson.loads(row[0]) for row in rows]

    def find_finished(self, ids: Sequence[str]) -> dict[str, tuple[str, bool, str]]:
        """Fingerprint, whether it failed, and location of those of ``ids`` for which a run would request nothing."""
        columns = select(items.c.item_id, items.c.fingerprint, items.c.state, items.c.location)
        is_made_again = and_(items.c.state == "pending", items.c.error_kind.in_(KINDS_MADE_AGAIN), _HAS_CURRENT_RESULT)
        has_ended = and_(items.c.state.in_(("done", "failed")), items.c.transient == 0)
        is_finished = or_(has_ended, is_made_again)
        condition = and_(items.c.out_id == self._journal.out_id, items.c.item_id.in_(ids), is_finished)
        rows = self._journal.read_blocking(lambda connection: connection.execute(columns.where(condition)).all())
        return {
            str(item_id): (str(fingerprint), state == "failed", str(location))
            for item_id, fingerprint, state, location in rows
        }

    def find_lacking_try(self, ids: Sequence[str]) -> set[str]:
        """Those of ``ids`` that are done, and of which the next run makes a later try that failed in passing."""
        condition = and_(items.c.out_id == self._journal.out_id, items.c.item_id.in_(ids), self._lacks_try())
        statement = select(items.c.item_id).where(condition)
        return {str(row[0]) for row in self._journal.read_blocking(lambda c: c.execute(statement).all())}

    def count_lacking_try(self) -> int:
        """The number of all such items."""
        statement = select(func.count()).where(items.c.out_id == self._journal.out_id, self._lacks_try())
        return int(self._journal.read_blocking(lambda connection: connection.execute(statement).scalar()) or 0)

    @staticmethod
    def _lacks_try() -> ColumnElement[bool]:
        return and_(items.c.state == "done", items.c.transient == 1)

    def stream_all_results(self) -> Iterator[bytes]:
        """Every result as a row in JSON, also of items that are pending again."""
        statement = select(items.c.result).where(items.c.out_id == self._journal.out_id, items.c.result.is_not(None))
        for row in self._journal.stream(statement):
            yield row[0]

    def stream_stored_results(self) -> Iterator[StoredResult]:
        """Every result, also of items that are pending again, in the order of the plan."""
        statement = _SELECT_STORED.where(items.c.out_id == self._journal.out_id)
        return map(_to_stored_result, self._journal.stream(statement.order_by(items.c.shard, items.c.item_index)))

    def stream_done_results(self) -> Iterator[bytes]:
        """The result of every item that is done, as a row in JSON."""
        statement = select(items.c.result).where(items.c.out_id == self._journal.out_id, items.c.state == "done")
        for row in self._journal.stream(statement):
            yield row[0]

    def load_results_after(self, position: ItemPosition, limit: int) -> list[tuple[ItemPosition, bytes]]:
        """The next results of done items behind a position, each with its own."""
        order = (items.c.shard, items.c.item_index, items.c.item_id)
        statement = (
            select(*order, items.c.result)
            .where(items.c.out_id == self._journal.out_id, items.c.state == "done", items.c.result.is_not(None))
            .where(tuple_(*order) > tuple_(*map(literal, position)))
            .order_by(*order)
            .limit(limit)
        )
        rows = self._journal.read_blocking(lambda connection: connection.execute(statement).all())
        return [(ItemPosition(int(shard), int(index), str(item_id)), row) for shard, index, item_id, row in rows]

    def load_results(self, ids: Sequence[str]) -> list[bytes]:
        """The results of those of ``ids`` that have one, in the order of ``ids``."""
        statement = select(items.c.item_id, items.c.result).where(
            items.c.out_id == self._journal.out_id, items.c.item_id.in_(ids), items.c.result.is_not(None)
        )
        found = dict(self._journal.read_blocking(lambda connection: connection.execute(statement).tuples().all()))
        return [found[item_id] for item_id in ids if item_id in found]

    def find_locations(self, ids: Sequence[str] | None = None) -> dict[str, str | None]:
        """The path or URL, by item id, of every item that has a result, or of those of ``ids`` that do."""
        statement = select(items.c.item_id, items.c.location).where(
            items.c.out_id == self._journal.out_id, items.c.result.is_not(None)
        )
        if ids is not None:
            statement = statement.where(items.c.item_id.in_(ids))
        return {
            str(row[0]): None if row[1] is None else text_to_path(row[1]) for row in self._journal.stream(statement)
        }

    def find_outdated_ids(self) -> list[str]:
        """The ids of items whose outdated row could not be made again from the journal."""
        statement = select(items.c.item_id).where(
            items.c.out_id == self._journal.out_id, items.c.state == "done", items.c.error_kind == OUTDATED
        )
        return [str(row[0]) for row in self._journal.stream(statement)]

    def stream_flagged_ids(self) -> Iterator[str]:
        """The ids of items whose results have flags; read from the results themselves."""
        statement = select(items.c.item_id, items.c.result).where(
            items.c.out_id == self._journal.out_id, items.c.result.is_not(None), items.c.state.in_(("done", "pending"))
        )
        for item_id, result in self._journal.stream(statement):
            if orjson.loads(result).get("flags"):
                yield str(item_id)


_SELECT_STORED = select(items.c.result, items.c.item_id, items.c.file_stem, items.c.location).where(
    items.c.result.is_not(None)
)


def _to_stored_result(row: Any) -> StoredResult:
    result, item_id, file_stem, location = row
    return StoredResult(result, item_id, file_stem, None if location is None else text_to_path(location))


def record_results(connection: Connection, rows: Sequence[dict[str, Any]]) -> Sequence[None]:
    """Record results; their shards become dirty."""
    connection.execute(_RECORD_RESULT, rows)
    return _mark_shards_dirty(connection, rows)


def record_failures(connection: Connection, rows: Sequence[dict[str, Any]]) -> Sequence[None]:
    """Record failures. A result for unchanged input stays, with the kind of error that kept it from being replaced.

    One that was made of a reply which is no answer goes.
    """
    connection.execute(_RECORD_FAILURE, rows)
    return _mark_shards_dirty(connection, rows)


def record_preparations(connection: Connection, rows: Sequence[dict[str, Any]]) -> Sequence[None]:
    """Record preparations of items whose state stays as it is."""
    connection.execute(_RECORD_PREPARATION, rows)
    return [None] * len(rows)


def _mark_shards_dirty(connection: Connection, rows: Sequence[dict[str, Any]]) -> Sequence[None]:
    changed_shards = {(t["b_out"], t["b_shard"]) for t in rows}
    connection.execute(_MARK_DIRTY, [{"b_out": out, "b_shard": shard} for out, shard in changed_shards])
    return [None] * len(rows)


_RECORD_RESULT = (
    update(items)
    .where(*BOUND_ITEM)
    .values(
        state="done",
        error_kind=null(),
        transient=bindparam("transient"),
        sample=bindparam("b_sample"),
        result=bindparam("b_payload"),
        result_fingerprint=items.c.fingerprint,
        failure=null(),
        preparation=bindparam("b_preparation"),
    )
)
_HAS_CURRENT_RESULT = and_(items.c.result.is_not(None), items.c.result_fingerprint == items.c.fingerprint)
_RESULT_IS_CURRENT = and_(
    _HAS_CURRENT_RESULT,
    func.coalesce(items.c.error_kind, "") != NO_ANSWER,
)
_RECORD_FAILURE = (
    update(items)
    .where(*BOUND_ITEM)
    .values(
        sample=bindparam("b_sample"),
        state=case((_RESULT_IS_CURRENT, "done"), else_="failed"),
        error_kind=bindparam("error_kind"),
        transient=case((_RESULT_IS_CURRENT, 0), else_=bindparam("transient")),
        result=case((_RESULT_IS_CURRENT, items.c.result), else_=null()),
        failure=case((_RESULT_IS_CURRENT, null()), else_=bindparam("b_payload")),
        preparation=bindparam("b_preparation"),
    )
)
_RECORD_PREPARATION = update(items).where(*BOUND_ITEM).values(preparation=bindparam("b_preparation"))
_MARK_DIRTY = (
    update(shards).where(shards.c.out_id == bindparam("b_out"), shards.c.shard == bindparam("b_shard")).values(dirty=1)
)
