"""Requests whose answer was lost: they may be billed, so their maximum cost stays in the budget until settled.

Requests to a provider that bills nothing have a maximum of zero, and are none of them; an unknown maximum is no zero.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, or_, select, update

from mediamill.tasks.formatting import format_dollars
from mediamill.tasks.journal.claims import CHANGED_BY_OTHER_OUT, recover
from mediamill.tasks.journal.database import JournalDatabase
from mediamill.tasks.journal.tables import attempts, runs

STATED_BASIS = "stated"
"""``cost_basis`` of a request whose cost a person has stated, from the provider's own usage page."""


@dataclass(frozen=True, slots=True)
class LostRequest:
    """A request whose answer was lost. ``max_usd`` is the most it can have cost; None when that is not known."""

    call_id: str
    run_id: str
    started_at: int
    max_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class LostRequests:
    """The requests of an OUT whose answer was lost, not settled yet; ``runs`` says when each run began."""

    requests: tuple[LostRequest, ...] = ()
    runs: Mapping[str, int] | None = None

    @property
    def max_usd(self) -> Decimal:
        """What they hold of a budget: the most they can have cost, as far as that is known."""
        return sum((request.max_usd or Decimal(0) for request in self.requests), Decimal(0))

    @property
    def unpriced(self) -> int:
        """How many there are of which the most they can have cost is not known."""
        return sum(request.max_usd is None for request in self.requests)

    @property
    def run_ids(self) -> list[str]:
        """The runs that sent them, in order."""
        return sorted({request.run_id for request in self.requests})

    def describe(self) -> str:
        """How many there are and when they were sent, in words."""
        n_requests, run_ids = len(self.requests), self.run_ids
        count = "1 request whose answer was lost" if n_requests == 1 else f"{n_requests} requests whose answer was lost"
        starts = sorted((self.runs or {}).get(run_id) or self._find_first(run_id) for run_id in run_ids)
        began = f"{datetime.fromtimestamp(starts[0] / 1_000_000, UTC):%Y-%m-%d %H:%M} UTC" if starts else "no run"
        return f"{count} in the run of {began}" if len(starts) < 2 else f"{count} in {len(starts)} runs since {began}"  # noqa: PLR2004

    def describe_hold(self) -> str:
        """What they hold of the budget, in words."""
        return f"{format_dollars(self.max_usd)} is held by {self.describe()}"

    def _find_first(self, run_id: str) -> int:
        return min(request.started_at for request in self.requests if request.run_id == run_id)


class LostRequestLedger:
    """The lost requests of one OUT in its journal."""

    def __init__(self, journal: JournalDatabase) -> None:
        self._journal = journal

    def load(self, *, is_running: bool = False, run_ids: Collection[str] = ()) -> LostRequests:
        """The lost requests that are not settled.

        Args:
            is_running: a run works on OUT, so that what is being sent is not lost.
            run_ids: only those that these runs sent; of all runs by default.
        """
        return self._journal.read_blocking(lambda connection: self._load(connection, is_running, run_ids))

    def settle(self, costs: Mapping[str, Decimal], source: str) -> None:
        """Book the costs of lost requests, by call id; what they held of the budget is free then. All or nothing.

        The caller must hold OUT's lock. A request that is settled already keeps its cost.

        Args:
            costs: US dollars, by call id.
            source: who stated them, when, and of what they are a share.
        """
        rows = [{"b_call": call_id, "b_usd": str(usd), "b_source": source} for call_id, usd in costs.items()]
        self._journal.write_blocking(lambda connection: self._settle(connection, rows))

    def _load(self, connection: Connection, is_running: bool, run_ids: Collection[str]) -> LostRequests:  # noqa: FBT001
        conditions = [attempts.c.out_id == self._journal.out_id, _is_lost(is_running=is_running)]
        if run_ids:
            conditions.append(attempts.c.run_id.in_(run_ids))
        columns = (attempts.c.call_id, attempts.c.run_id, attempts.c.started_at, attempts.c.cost_max_usd)
        ordered = select(*columns).where(*conditions).order_by(attempts.c.started_at, attempts.c.call_id)
        requests = tuple(
            LostRequest(call_id, run_id, int(started), None if maximum is None else Decimal(maximum))
            for call_id, run_id, started, maximum in connection.execute(ordered)
            if maximum is None or Decimal(maximum)
        )
        starts = select(runs.c.run_id, runs.c.started_at).where(runs.c.out_id == self._journal.out_id)
        return LostRequests(requests, {str(run): int(start) for run, start in connection.execute(starts)})

    def _settle(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
        recover(connection, self._journal.out_id, self._journal.run_id)
        if rows:
            connection.execute(_BOOK, rows)
        # Whatever was changed here belongs to no run: the next one publishes it, should this process end now.
        mine = (attempts.c.out_id == self._journal.out_id, attempts.c.changed_in == self._journal.run_id)
        connection.execute(update(attempts).where(*mine).values(changed_in=CHANGED_BY_OTHER_OUT))


def _is_lost(*, is_running: bool) -> ColumnElement[bool]:
    lost = attempts.c.outcome == "unknown"
    return and_(attempts.c.cost_usd.is_(None), lost if is_running else or_(lost, attempts.c.outcome == "sending"))


_BOOK = (
    update(attempts)
    .where(attempts.c.call_id == bindparam("b_call"), attempts.c.cost_usd.is_(None))
    .values(
        cost_usd=bindparam("b_usd"),
        cost_basis=STATED_BASIS,
        price_source=bindparam("b_source"),
        changed_in=CHANGED_BY_OTHER_OUT,
    )
)
