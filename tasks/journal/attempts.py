"""Attempts: the bill. One row for each request sent, whatever its outcome."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import func, or_, select

from mediamill.tasks.journal.claims import CHANGED_BY_OTHER_OUT
from mediamill.tasks.journal.database import JournalDatabase
from mediamill.tasks.journal.tables import attempts, runs

_EXCLUDED_COLUMNS = {"reply_status", "reply_headers", "reply_body", "reply_blob", "out_id", "changed_in"}
_COLUMNS = [column for column in attempts.c if column.name not in _EXCLUDED_COLUMNS]


@dataclass(frozen=True, slots=True)
class Spending:
    """What an OUT's attempts cost in US dollars: ``known`` for certain, and at most ``unknown_max`` more.

    ``unknowns`` attempts have no known cost; ``unstated`` of them have no ceiling either.
    """

    known: Decimal = Decimal(0)
    unknown_max: Decimal = Decimal(0)
    unknowns: int = 0
    unstated: int = 0


class Attempts:
    """The attempts of one OUT."""

    def __init__(self, journal: JournalDatabase) -> None:
        self._journal = journal

    def stream_run(self, run_id: str) -> Iterator[dict[str, Any]]:
        """One run's attempts in the order in which they were sent, as rows for the ``calls`` part."""
        conditions = (attempts.c.out_id == self._journal.out_id, attempts.c.run_id == run_id)
        yield from self._stream(
            select(*_COLUMNS).where(*conditions).order_by(attempts.c.started_at, attempts.c.call_id)
        )

    def stream_all(self) -> Iterator[dict[str, Any]]:
        """Every attempt of this OUT."""
        yield from self._stream(select(*_COLUMNS).where(attempts.c.out_id == self._journal.out_id))

    def list_blobs(self) -> list[str]:
        """The names of the blobs that hold replies to this OUT's attempts."""
        conditions = (attempts.c.out_id == self._journal.out_id, attempts.c.reply_blob.is_not(None))
        statement = select(attempts.c.reply_blob).where(*conditions).distinct().order_by(attempts.c.reply_blob)
        return list(self._journal.read_blocking(lambda connection: connection.execute(statement).scalars().all()))

    def find_runs_to_publish(self) -> list[str]:
        """The ids of the runs whose attempts were added or changed since a run last finished."""
        unfinished_runs = select(runs.c.run_id).where(
            runs.c.out_id == self._journal.out_id, runs.c.finished_at.is_(None)
        )
        conditions = (
            attempts.c.out_id == self._journal.out_id,
            or_(attempts.c.changed_in.in_(unfinished_runs), attempts.c.changed_in == CHANGED_BY_OTHER_OUT),
        )
        statement = select(attempts.c.run_id).where(*conditions).distinct()
        return sorted(self._journal.read_blocking(lambda connection: connection.execute(statement).scalars().all()))

    def sum_costs(self, run_id: str | None = None) -> Spending:
        """What this OUT's attempts cost, or one run's."""
        statement = select(attempts.c.cost_usd, attempts.c.cost_max_usd).where(
            attempts.c.out_id == self._journal.out_id
        )
        if run_id is not None:
            statement = statement.where(attempts.c.run_id == run_id)
        known = unknown_max = Decimal(0)
        unknowns = unstated = 0
        for cost, cost_max in self._journal.stream(statement):
            if cost is not None:
                known += Decimal(cost)
                continue
            unknowns += 1
            if cost_max is None:
                unstated += 1
            else:
                unknown_max += Decimal(cost_max)
        return Spending(known, unknown_max, unknowns, unstated)

    def count_unstated(self, run_id: str) -> int:
        """How many requests without a known price or ceiling the run sent, or ended for an earlier run."""
        conditions = (
            attempts.c.out_id == self._journal.out_id,
            or_(attempts.c.run_id == run_id, attempts.c.changed_in == run_id),
            attempts.c.cost_usd.is_(None),
            attempts.c.cost_max_usd.is_(None),
        )
        statement = select(func.count()).where(*conditions)
        return int(self._journal.read_blocking(lambda connection: connection.execute(statement).scalar_one()))

    def _stream(self, statement: Any) -> Iterator[dict[str, Any]]:
        for row in self._journal.stream(statement):
            attempt = {str(name): value for name, value in row._mapping.items()}  # noqa: SLF001
            attempt["item_ids"] = orjson.loads(attempt["item_ids"])
            attempt["request_keys"] = orjson.loads(attempt["request_keys"])
            attempt["usage"] = orjson.loads(attempt["usage"]) if attempt["usage"] else None
            yield attempt
