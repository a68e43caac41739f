"""A worker's part of the budget: it spends what the run has granted it, and asks for more before it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from mediamill.tasks.money.budget import Budget, Reservation
from mediamill.tasks.workers.messages import Money, MoneyGranted, MoneyRefused, MoneyResumed, MoneyReturned, MoneyWanted


class LeasedBudget(Budget):
    """The budget of a worker process. ``limit`` is what it was granted so far. Used on one event loop.

    Args:
        send: sends a message to the run.
    """

    def __init__(self, send: Callable[[Any], None]) -> None:
        super().__init__(Decimal(0))
        self._send = send
        self._granted = Decimal(0)
        self._promised = Decimal(0)  # granted to a request that has not taken it yet
        self._is_short = False
        self._wanted: asyncio.Future[None] | None = None

    @property
    def money(self) -> Money:
        """What is charged and reserved."""
        return Money(self.spent, self.unknown, self.reserved)

    def take(self, answer: MoneyGranted | MoneyRefused) -> None:
        """Take in the run's answer to what was wanted, or its word that money is short."""
        wanted = self._wanted
        if isinstance(answer, MoneyRefused):
            if wanted is not None and not wanted.done():
                wanted.set_exception(answer.error)
            return
        self._is_short = answer.is_short
        self._grant(answer.usd)
        if answer.usd and wanted is not None and not wanted.done():
            self._promised = answer.usd
            wanted.set_result(None)
        self._return_spare()

    def resume(self, max_usd: Decimal | None) -> Reservation:
        """Reserve again what an earlier process left charged; the run counts it as this worker's from now on."""
        usd = max_usd or Decimal(0)
        self._grant(usd)
        self._send(MoneyResumed(usd))
        return self._hold(usd)

    def release(self, reservation: Reservation) -> None:
        """Give back what was reserved: to the run, where money is short."""
        super().release(reservation)
        self._return_spare()

    async def _make_room(self, max_usd: Decimal) -> None:
        if self._wanted is None:
            self._wanted = asyncio.get_running_loop().create_future()
            self._send(MoneyWanted(max_usd))
        wanted = self._wanted
        try:
            await asyncio.shield(wanted)
        finally:
            if wanted.done() and self._wanted is wanted:
                self._wanted = None
                self._promised = Decimal(0)

    def _grant(self, usd: Decimal) -> None:
        self._granted += usd
        self.limit = self._granted

    def _return_spare(self) -> None:
        """Return what nothing in flight needs, where money is short, and say what is charged."""
        if self._is_short:
            spare = self._granted - self.spent - self.unknown - self.reserved - self._promised
            self._grant(-spare)
            self._send(MoneyReturned(spare, self.money))
