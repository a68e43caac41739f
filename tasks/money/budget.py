"""The budget: requests in flight are reserved at their maximum cost, so that spending never exceeds the limit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Self

from mediamill.tasks.domain import Cost
from mediamill.tasks.errors import BudgetReached, Unpriced
from mediamill.tasks.formatting import format_dollars


@dataclass(frozen=True, slots=True)
class EarlierHold:
    """What requests whose answer earlier runs lost hold of a budget.

    Attributes:
        usd: the most they can have cost.
        words: the same in words: how much, by how many requests, of which run.
        hint: the ways out.
    """

    usd: Decimal
    words: str
    hint: str


class Budget:
    """The money that an OUT may spend, in US dollars. Used on one event loop.

    Args:
        limit: total; None for no limit.
        spent: known cost of earlier runs.
        unknown: maximum cost of attempts whose outcome is unknown; it stays charged.
        held: what earlier runs' lost requests hold of it.
    """

    def __init__(
        self,
        limit: Decimal | None,
        spent: Decimal = Decimal(0),
        unknown: Decimal = Decimal(0),
        held: EarlierHold | None = None,
    ) -> None:
        self.limit = limit
        self.spent = spent
        self.unknown = unknown
        self.reserved = Decimal(0)
        self._held = held
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def reserve(self, max_usd: Decimal | None) -> Reservation:
        """Reserve ``max_usd`` for a request; waits while it fits but for the requests in flight.

        Raises:
            Unpriced: when there is a limit and ``max_usd`` is not known.
            BudgetReached: when it would exceed the limit even without the requests in flight.
        """
        if self.limit is None:
            return self._hold(max_usd or Decimal(0))
        if max_usd is None:
            raise Unpriced(
                "its cost has no known ceiling, and a budget is set",
                hint="leave out --budget, or give its price in a file that MEDIAMILL_PRICES names",
            )
        while self.spent + self.unknown + self.reserved + max_usd > self.limit:
            await self._make_room(max_usd)
        return self._hold(max_usd)

    def resume(self, max_usd: Decimal | None) -> Reservation:
        """Reserve again what an earlier process left charged: for a job that still runs, or a reply not yet settled."""
        usd = max_usd or Decimal(0)
        self.unknown = max(self.unknown - usd, Decimal(0))
        return self._hold(usd)

    def release(self, reservation: Reservation) -> None:
        """Give back what was reserved, and wake who waits for it. A reservation calls this, once."""
        self.reserved -= reservation.usd
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def _make_room(self, max_usd: Decimal) -> None:
        """Wait until requests in flight have ended; raise BudgetReached where that can make no room."""
        if not self.reserved or (self.limit is not None and self.spent + self.unknown + max_usd > self.limit):
            raise self.build_error(max_usd)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def _hold(self, usd: Decimal) -> Reservation:
        self.reserved += usd
        return Reservation(self, usd)

    def build_error(self, max_usd: Decimal) -> BudgetReached:
        """The error that says that the budget does not cover a request of at most ``max_usd``."""
        charged = f"{format_dollars(self.spent)} spent"
        held = self._held
        others = self.unknown - (held.usd if held else Decimal(0))
        if held:
            charged += f", {held.words}"
        if others > 0:
            charged += f", up to {format_dollars(others)} more for requests without an answer"
        error = BudgetReached(
            f"the budget of {format_dollars(self.limit or Decimal(0))} does not cover the next request "
            f"(up to {format_dollars(max_usd)}; {charged})",
            hint=held.hint if held else "run again with a higher --budget to go on",
        )
        error.max_usd = max_usd
        return error


class Reservation:
    """Money reserved for one request in flight: ``with await budget.reserve(max_usd) as reservation``.

    The first call of :meth:`settle`, :meth:`release` or :meth:`charge_unknown` decides. Where the block ends without
    one, by an exception or a cancellation for example, the maximum cost stays charged: the request may have been
    billed.

    Attributes:
        usd: US dollars that are reserved.
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
        """Charge the cost of an answered request; where that is unknown, the maximum stays charged."""
        if cost.usd is None:
            self.charge_unknown()
        elif self._close():
            self._budget.spent += cost.usd
            self._budget.release(self)

    def charge_unknown(self) -> None:
        """Charge the maximum, because it is unknown whether the request was billed."""
        if self._close():
            self._budget.unknown += self.usd
            self._budget.release(self)

    def release(self) -> None:
        """Charge nothing: the request was not billed."""
        if self._close():
            self._budget.release(self)

    @contextmanager
    def release_on_error(self) -> Iterator[None]:
        """Release the reservation when this block fails: nothing is on the wire in it, so nothing was billed."""
        try:
            yield
        except BaseException:
            self.release()
            raise

    def _close(self) -> bool:
        """Close it; False when it was closed before: the first decision counts, and money is freed once."""
        was_open, self._is_open = self._is_open, False
        return was_open
