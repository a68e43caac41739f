"""The budget: what is in flight is reserved at its ceiling, so that spending never passes the limit."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from decimal import Decimal

from mediamill.tasks.domain import Cost
from mediamill.tasks.errors import BudgetReached, Unpriced


@dataclass(frozen=True, slots=True, eq=False)
class Reservation:
    """Money held for one request in flight."""

    usd: Decimal


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
        self._open: set[Reservation] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def reserve(self, most: Decimal | None) -> Reservation:
        """Hold ``most`` for a request; waits while only requests in flight stand in the way.

        Raises:
            Unpriced: when there is a limit and ``most`` is not known.
            BudgetReached: when even without those in flight it would pass the limit.
        """
        if self.limit is None:
            return self._hold(most or Decimal(0))
        if most is None:
            raise Unpriced(
                "its cost has no known ceiling, and a budget is set",
                hint="leave out --budget, or give its price in a file that MEDIAMILL_PRICES names",
            )
        while self.spent + self.unknown + self.reserved + most > self.limit:
            if not self.reserved or self.spent + self.unknown + most > self.limit:
                raise self._reached(most)
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        return self._hold(most)

    def settle(self, reservation: Reservation, cost: Cost) -> None:
        """The request is answered: its cost takes the place of what was held; an unknown cost stays held."""
        if not self._let_go(reservation):
            return
        if cost.usd is None:
            self.unknown += reservation.usd
        else:
            self.spent += cost.usd

    def keep(self, reservation: Reservation) -> None:
        """Nobody knows whether the request was billed: its ceiling stays charged."""
        if self._let_go(reservation):
            self.unknown += reservation.usd

    def release(self, reservation: Reservation) -> None:
        """The request was not billed."""
        self._let_go(reservation)

    def adopt(self, most: Decimal | None) -> Reservation:
        """Hold again what an earlier process left charged for a job that is still running."""
        usd = most or Decimal(0)
        self.unknown = max(self.unknown - usd, Decimal(0))
        return self._hold(usd)

    def _hold(self, usd: Decimal) -> Reservation:
        self.reserved += usd
        reservation = Reservation(usd)
        self._open.add(reservation)
        return reservation

    def _let_go(self, reservation: Reservation) -> bool:
        """False when it has been settled, kept or released before: the first outcome counts, money is freed once."""
        if reservation not in self._open:
            return False
        self._open.remove(reservation)
        self.reserved -= reservation.usd
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
        return True

    def _reached(self, most: Decimal) -> BudgetReached:
        charged = f"${_plain(self.spent)} spent"
        if self.unknown:
            charged += f", up to ${_plain(self.unknown)} more for requests without an answer"
        return BudgetReached(
            f"the budget of ${_plain(self.limit or Decimal(0))} does not cover the next request "
            f"(up to ${_plain(most)}; {charged})",
            hint="run again with a higher --budget to go on",
        )


def _plain(usd: Decimal) -> str:
    return format(usd.normalize(), "f") if usd else "0"
