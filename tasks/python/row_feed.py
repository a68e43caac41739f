"""The results of a run as they come: first those that OUT had, then each as its item ends, every one once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.outcomes import ItemPosition
from mediamill.tasks.out.status import open_existing
from mediamill.tasks.sinks.json_to_arrow import to_table
from mediamill.tasks.sinks.schema import deserialize_schema

_BATCH_ROWS = 200


class RowFeed:
    """Listens to a run, and gives its rows to whoever iterates, from any thread, any number of times.

    It holds ids alone; rows are read from the journal as they are taken.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ids: list[str] = []
        self._run_id: str | None = None
        self._has_ended = False

    def on_planned(self, run_id: str) -> None:
        """The items of the run are known."""
        with self._changed:
            self._run_id = run_id
            self._changed.notify_all()

    def on_result(self, item_id: str) -> None:
        """An item has a result."""
        with self._changed:
            self._ids.append(item_id)
            self._changed.notify_all()

    def end(self) -> None:
        """The run is over."""
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def iterate(self, out: Path) -> Iterator[dict[str, Any]]:
        """The rows of OUT, as long as the run works on it. A run that ended before it was planned gives none."""
        run_id = self._wait_for_plan()
        if run_id is None:
            return
        journal = open_existing(out)
        try:
            for rows in _load_earlier(journal, run_id):
                yield from _to_rows(journal, rows)
            position = 0
            while ids := self._wait_for_ids(position):
                position += len(ids)
                yield from _to_rows(journal, journal.outcomes.load_results(ids))
        finally:
            journal.close()

    def _wait_for_plan(self) -> str | None:
        with self._changed:
            self._changed.wait_for(lambda: self._run_id is not None or self._has_ended)
            return self._run_id

    def _wait_for_ids(self, position: int) -> list[str]:
        """The next ids behind ``position``; none once the run is over and all were taken."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._ids) > position or self._has_ended)
            return self._ids[position : position + _BATCH_ROWS]


def _load_earlier(journal: Journal, run_id: str) -> Iterator[list[bytes]]:
    """The results that this run leaves as they are, in batches; its own come by their ids."""
    position = ItemPosition()
    while page := journal.outcomes.load_results_after(position, _BATCH_ROWS):
        position = page[-1][0]
        yield [row for _, row in page if orjson.loads(row).get("run_id") != run_id]


def _to_rows(journal: Journal, rows: Sequence[bytes]) -> list[dict[str, Any]]:
    """Rows as Python values, of the same types as in the Parquet parts."""
    schemas = journal.output.load_schemas()
    assert schemas is not None, "a planned run has frozen its schemas"
    values: list[dict[str, Any]] = to_table(rows, deserialize_schema(schemas[0])).to_pylist() if rows else []
    return values
