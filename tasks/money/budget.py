"""The budget: what is in flight is reserved at its ceiling, so that spending never passes the limit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Self

from mediamill.tasks.domain import Cost, format_decimal
from mediamill.tasks.errors import BudgetReached, Unpriced


class Budget:
    """Money an OUT may spend, used on one event loop.

    Args:
        limit: dollars in all; None for no limit.
        spent: known cost of earlier runs.
        unknown: ceilings of attempts whose outcome nobody knows; they stay charged.
    """

    def __init__(self, limit: Decimal | None, spent: Decimal = Decimal(0), unknown: Decimal = Decimal(0)) -> None:
        self.limit = limit
        self.spent = spent
        self.unknown = unknown
        self.reserved = Decimal(0)
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def reserve(self, max_usd: Decimal | None) -> Reservation:
        """Hold ``max_usd`` for a request; waits while only requests in flight stand in the way.

        Raises:
            Unpriced: when there is a limit and ``max_usd`` is not known.
            BudgetReached: when even without those in flight it would pass the limit.
        """
        if self.limit is None:
            return self._hold(max_usd or Decimal(0))
        if max_usd is None:
            raise Unpriced(
                "its cost has no known ceiling, and a budget is set",
                hint="leave out --budget, or give its price in a file that MEDIAMILL_PRICES names",
            )
        while self.spent + self.unknown + self.reserved + max_usd > self.limit:
            if not self.reserved or self.spent + self.unknown + max_usd > self.limit:
                raise self._budget_reached_error(max_usd)
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        return self._hold(max_usd)

    def resume(self, max_usd: Decimal | None) -> Reservation:
        """Hold again what an earlier process left charged: for a job that still runs, or a reply not yet settled."""
        usd = max_usd or Decimal(0)
        self.unknown = max(self.unknown - usd, Decimal(0))
        return self._hold(usd)

    def release(self, reservation: Reservation) -> None:
        """What was held is no longer in flight, and whoever waits looks again. A reservation calls this, once."""
        self.reserved -= reservation.usd
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _hold(self, usd: Decimal) -> Reservation:
        self.reserved += usd
        return Reservation(self, usd)

    def _budget_reached_error(self, max_usd: Decimal) -> BudgetReached:
        charged = f"${format_decimal(self.spent)} spent"
        if self.unknown:
            charged += f", up to ${format_decimal(self.unknown)} more for requests without an answer"
        return BudgetReached(
            f"the budget of ${format_decimal(self.limit or Decimal(0))} does not cover the next request "
            f"(up to ${format_decimal(max_usd)}; {charged})",
            hint="run again with a higher --budget to go on",
        )


class Reservation:
    """Money held for one request in flight: ``with await budget.reserve(ceiling) as reservation``.

    The first of :meth:`settle`, :meth:`release` and :meth:`charge_unknown` decides what becomes of it. Where the block
    ends without a decision, by an exception or a cancellation for example, its ceiling stays charged: the request may
    have been billed.

    Attributes:
        usd: dollars that are held.
    """

    def __init__(self, budget: Budget, usd: Decimal) -> None:
        self.usd = usd
        self._budget = budget
        self._is_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.charge_unknown()

    def settle(self, cost: Cost) -> None:
        """The request is answered: its cost takes the place of what was held; an unknown cost stays held."""
        if cost.usd is None:
            self.charge_unknown()
        elif self._close():
            self._budget.spent += cost.usd
            self._budget.release(self)

    def charge_unknown(self) -> None:
        """Nobody knows whether the request was billed: its ceiling stays charged."""
        if self._close():
            self._budget.unknown += self.usd
            self._budget.release(self)

    def release(self) -> None:
        """The request was not billed."""
        if self._close():
            self._budget.release(self)

    @contextmanager
    def release_on_error(self) -> Iterator[None]:
        """Nothing is on the wire in this block: where it fails, nothing was billed."""
        try:
            yield
        except BaseException:
            self.release()
            raise

    def _close(self) -> bool:
        """False when it has been decided before: the first decision counts, and money is freed once."""
        was_open, self._is_open = self._is_open, False
        return was_open
