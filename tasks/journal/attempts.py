"""Attempts: the bill. One row a request, whatever came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import func, or_, select

from mediamill.tasks.journal.claims import ELSEWHERE
from mediamill.tasks.journal.database import JournalDatabase
from mediamill.tasks.journal.tables import attempts, runs

_REPLY = {"reply_status", "reply_headers", "reply_body", "reply_blob", "out_id", "changed_in", "error_message"}
_COLUMNS = [column for column in attempts.c if column.name not in _REPLY]


@dataclass(frozen=True, slots=True)
class Spent:
    """Money this OUT's attempts came to: ``known`` for sure, ``unknown_max`` more at the most.

    ``unknowns`` attempts have no settled cost; of them ``unstated`` have no ceiling either.
    """

    known: Decimal = Decimal(0)
    unknown_max: Decimal = Decimal(0)
    unknowns: int = 0
    unstated: int = 0


class Attempts:
    """The attempts of one OUT."""

    def __init__(self, journal: JournalDatabase) -> None:
        self._journal = journal

    def of_run(self, run_id: str) -> Iterator[dict[str, Any]]:
        """One run's attempts in the order they were sent, as rows for the ``calls`` part."""
        mine = (attempts.c.out_id == self._journal.out_id, attempts.c.run_id == run_id)
        yield from self._rows(select(*_COLUMNS).where(*mine).order_by(attempts.c.started_at, attempts.c.call_id))

    def all(self) -> Iterator[dict[str, Any]]:
        """Every attempt of this OUT."""
        yield from self._rows(select(*_COLUMNS).where(attempts.c.out_id == self._journal.out_id))

    def to_publish(self) -> list[str]:
        """The runs whose attempts were made or settled since a run last finished."""
        open_runs = select(runs.c.run_id).where(runs.c.out_id == self._journal.out_id, runs.c.finished_at.is_(None))
        mine = (
            attempts.c.out_id == self._journal.out_id,
            or_(attempts.c.changed_in.in_(open_runs), attempts.c.changed_in == ELSEWHERE),
        )
        statement = select(attempts.c.run_id).where(*mine).distinct()
        return sorted(self._journal.read_now(lambda connection: connection.execute(statement).scalars().all()))

    def spent(self, run_id: str | None = None) -> Spent:
        """What this OUT's attempts cost, or one run's."""
        chosen = select(attempts.c.cost_usd, attempts.c.cost_max_usd).where(attempts.c.out_id == self._journal.out_id)
        if run_id is not None:
            chosen = chosen.where(attempts.c.run_id == run_id)
        known = unknown_max = Decimal(0)
        unknowns = unstated = 0
        for cost, most in self._journal.stream(chosen):
            if cost is not None:
                known += Decimal(cost)
                continue
            unknowns += 1
            if most is None:
                unstated += 1
            else:
                unknown_max += Decimal(most)
        return Spent(known, unknown_max, unknowns, unstated)

    def unstated(self, run_id: str) -> int:
        """The requests at no known price that a run sent, or whose end it found for an earlier run that had not."""
        mine = (
            attempts.c.out_id == self._journal.out_id,
            or_(attempts.c.run_id == run_id, attempts.c.changed_in == run_id),
            attempts.c.cost_usd.is_(None),
            attempts.c.cost_max_usd.is_(None),
        )
        statement = select(func.count()).where(*mine)
        return int(self._journal.read_now(lambda connection: connection.execute(statement).scalar_one()))

    def _rows(self, statement: Any) -> Iterator[dict[str, Any]]:
        for row in self._journal.stream(statement):
            told = {str(name): value for name, value in row._mapping.items()}  # noqa: SLF001
            told["item_ids"] = orjson.loads(told["item_ids"])
            told["request_keys"] = orjson.loads(told["request_keys"])
            told["usage"] = orjson.loads(told["usage"]) if told["usage"] else None
            yield told
