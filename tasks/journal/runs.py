"""Runs: when each started, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import Connection, case, delete, insert, select, update

from mediamill.tasks.journal.claim_owners import begin_counting, select_counting_run
from mediamill.tasks.journal.database import JournalDatabase
from mediamill.tasks.journal.tables import documents, items, outs, parts, runs, shards, sidecars
from mediamill.tasks.not_taken import NotTaken

_NOT_TAKEN = "not_taken"
_MAX_SEARCHED_RUNS = 100


class Runs:
    """The runs of one OUT."""

    def __init__(self, journal: JournalDatabase) -> None:
        self._journal = journal

    async def start(self, run_id: str) -> None:
        """Record a run's start; from now on this journal writes for it."""
        self._journal.keep_leases(run_id)
        row = {"run_id": run_id, "out_id": self._journal.out_id, "started_at": time.time_ns() // 1000}

        def start_run(connection: Connection) -> None:
            connection.execute(insert(runs), row)
            begin_counting(connection, self._journal.out_id, run_id)

        await self._journal.write(start_run)

    async def record_not_taken(self, not_taken: NotTaken) -> None:
        """Record what the run's source holds and the run does not take, before its summary is known."""
        summary = orjson.dumps({_NOT_TAKEN: asdict(not_taken)}).decode()
        mine = runs.c.run_id == self._journal.run_id
        statement = update(runs).where(mine).values(summary=summary)
        await self._journal.write(lambda connection: connection.execute(statement))

    async def finish(self, state: str, summary: Mapping[str, Any]) -> None:
        """Record the run's end, after it has published everything; unfinished earlier runs are closed as crashed."""
        columns = {"finished_at": time.time_ns() // 1000}
        unfinished = (runs.c.out_id == self._journal.out_id, runs.c.finished_at.is_(None))
        summary_json = orjson.dumps(summary).decode()

        def end_runs(connection: Connection) -> None:
            mine = runs.c.run_id == self._journal.run_id
            connection.execute(update(runs).where(mine).values(state=state, summary=summary_json, **columns))
            connection.execute(update(runs).where(*unfinished).values(state="crashed", **columns))

        await self._journal.write(end_runs)

    async def withdraw(self, run_id: str) -> bool:
        """Forget a run that was refused before any item; an OUT of which there is nothing else is bound no more.

        Returns:
            Whether OUT is bound no more.
        """
        out_id = self._journal.out_id

        def forget(connection: Connection) -> bool:
            connection.execute(delete(runs).where(runs.c.run_id == run_id))
            has_run = select(runs.c.run_id).where(runs.c.out_id == out_id).limit(1)
            has_outcome = select(items.c.item_id).where(items.c.out_id == out_id, items.c.state != "pending").limit(1)
            if any(connection.execute(each).first() is not None for each in (has_run, has_outcome)):
                return False
            for table in (items, shards, parts, documents, sidecars, outs):
                connection.execute(delete(table).where(table.c.out_id == out_id))
            return True

        return await self._journal.write(forget)

    def load_endpoint_runs(self) -> list[tuple[int, dict[str, Any]]]:
        """The runs that paid for an endpoint by the hour: when each started (microseconds), and its summary."""
        statement = select(runs.c.started_at, runs.c.summary).where(
            runs.c.out_id == self._journal.out_id, runs.c.summary.is_not(None)
        )
        rows = self._journal.read_blocking(lambda connection: connection.execute(statement).all())
        summaries = ((int(started), orjson.loads(summary)) for started, summary in rows)
        return [(started, summary) for started, summary in summaries if Decimal(summary.get("endpoint_usd") or 0)]

    def load_not_taken(self) -> NotTaken | None:
        """What the latest run that read its source did not take; None before one has."""
        statement = (
            select(runs.c.summary)
            .where(runs.c.out_id == self._journal.out_id, runs.c.summary.is_not(None))
            .order_by(runs.c.started_at.desc())
            .limit(_MAX_SEARCHED_RUNS)
        )
        rows = self._journal.read_blocking(lambda connection: connection.execute(statement).scalars().all())
        found = (orjson.loads(summary).get(_NOT_TAKEN) for summary in rows)
        return next((NotTaken.from_dict(values) for values in found if values is not None), None)

    def find_end(self, run_id: str) -> tuple[str, dict[str, Any]] | None:
        """A run's end: its state and its summary; None when it has none."""
        statement = select(runs.c.state, runs.c.summary).where(runs.c.run_id == run_id, runs.c.finished_at.is_not(None))
        row = self._journal.read_blocking(lambda connection: connection.execute(statement).first())
        return None if row is None else (str(row[0]), orjson.loads(row[1] or "{}"))

    def load_last(self) -> dict[str, Any] | None:
        """The latest run's row; ``finished_at`` is None while it runs or when it crashed. None without a run.

        The latest is the one that last counted for OUT, whatever the clock said when each began; where all were run by
        an older program, the one with the latest start.
        """
        counts = runs.c.run_id == select_counting_run(self._journal.out_id).scalar_subquery()
        statement = (
            select(runs)
            .where(runs.c.out_id == self._journal.out_id)
            .order_by(case((counts, 0), else_=1), runs.c.started_at.desc())
            .limit(1)
        )
        row = self._journal.read_blocking(lambda connection: connection.execute(statement).mappings().first())
        return None if row is None else dict(row)
