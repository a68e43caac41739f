"""The budget of a run with several workers: it is granted to them in parts, so that no request waits for a round trip.

What is granted is never more than the limit leaves. Once it is all granted and one wants more, money is short: from
then on each worker returns what its requests in flight do not need.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from mediamill.tasks.money.budget import Budget
from mediamill.tasks.workers.messages import Money, MoneyGranted, MoneyRefused

_GRANTS_LEFT = 4
"""A grant is what the limit leaves, divided by the workers and by this: the parts become smaller towards the end."""


@dataclass(slots=True)
class _Lease:
    granted: Decimal = Decimal(0)
    money: Money = field(default_factory=Money)


class MoneyPool:
    """Grants the run's budget to its workers, and keeps the run's own :class:`Budget` up to date.

    Args:
        budget: of the run, with what earlier runs have charged.
        workers: how many share it.
        send: sends a message to a worker, by its number.
    """

    def __init__(self, budget: Budget, workers: int, send: Callable[[int, Any], None]) -> None:
        self._budget = budget
        self._workers = workers
        self._send = send
        self._spent_before, self._unknown_before = budget.spent, budget.unknown
        self._ended = Money()
        self._lost = Decimal(0)  # granted to workers that died: what they spent of it is not known
        self._leases: dict[int, _Lease] = {}
        self._wants: deque[tuple[int, Decimal]] = deque()
        self._is_short = False

    def join(self, worker: int) -> None:
        """Count a worker in, before it wants anything."""
        self._leases[worker] = _Lease()
        if self._is_short:
            self._send(worker, MoneyGranted(is_short=True))

    def leave(self, worker: int, *, is_dead: bool) -> None:
        """Count a worker out. Everything that a dead one was granted stays charged, as it may have spent it."""
        lease = self._leases.pop(worker, None)
        if lease is None:
            return
        self._ended = _add(self._ended, lease.money)
        if is_dead:
            self._lost += max(lease.granted - lease.money.spent - lease.money.unknown, Decimal(0))
        self._wants = deque(want for want in self._wants if want[0] != worker)
        self._update()

    def want(self, worker: int, usd: Decimal) -> None:
        """A worker wants ``usd`` more."""
        self._wants.append((worker, usd))
        self._serve()

    def take_back(self, worker: int, usd: Decimal, money: Money) -> None:
        """A worker returns ``usd``."""
        self._leases[worker].granted -= usd
        self.report(worker, money)

    def resume(self, worker: int, usd: Decimal) -> None:
        """A worker holds again what was charged before as unknown."""
        self._unknown_before = max(self._unknown_before - usd, Decimal(0))
        self._leases[worker].granted += usd
        self._update()

    def report(self, worker: int, money: Money) -> None:
        """What a worker has charged and reserved."""
        if worker in self._leases:
            self._leases[worker].money = money
        self._update()

    def _update(self) -> None:
        moneys = [self._ended, *(lease.money for lease in self._leases.values())]
        self._budget.spent = self._spent_before + sum((money.spent for money in moneys), Decimal(0))
        self._budget.unknown = self._unknown_before + self._lost + sum((money.unknown for money in moneys), Decimal(0))
        self._serve()

    def _serve(self) -> None:
        limit = self._budget.limit
        while self._wants and limit is not None:
            worker, usd = self._wants[0]
            charged = self._spent_before + self._unknown_before + self._lost + self._ended.spent + self._ended.unknown
            left = limit - charged - sum((lease.granted for lease in self._leases.values()), Decimal(0))
            if left >= usd:
                part = usd if self._is_short else max(usd, left / (_GRANTS_LEFT * self._workers))
                self._wants.popleft()
                self._leases[worker].granted += part
                self._send(worker, MoneyGranted(part, is_short=self._is_short))
            elif self._budget.spent + self._budget.unknown + usd > limit:
                self._wants.popleft()
                self._send(worker, MoneyRefused(self._budget.build_error(usd)))
            else:
                if not self._is_short:
                    self._is_short = True
                    for number in self._leases:
                        self._send(number, MoneyGranted(is_short=True))
                return


def _add(first: Money, second: Money) -> Money:
    return Money(first.spent + second.spent, first.unknown + second.unknown)
