"""The budget of a run that its workers share: never passed, used up, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections import deque
from decimal import Decimal
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.domain import Cost
from mediamill.tasks.errors import BudgetReached
from mediamill.tasks.money.budget import Budget
from mediamill.tasks.workers.leased_budget import LeasedBudget
from mediamill.tasks.workers.messages import MoneyResumed, MoneyReturned, MoneyWanted
from mediamill.tasks.workers.money_pool import MoneyPool

CENTS = st.integers(1, 40).map(lambda cents: Decimal(cents) / 100)


class Run:
    """A pool and its workers in one loop; messages arrive in order, some time after they were sent."""

    def __init__(self, limit: Decimal, workers: int) -> None:
        self.budget = Budget(limit, Decimal("0.05"), Decimal("0.05"))
        self.messages: deque[tuple[int, bool, Any]] = deque()
        self.pool = MoneyPool(self.budget, workers, lambda number, message: self._put(number, True, message))
        self.workers = {number: LeasedBudget(partial(self._put, number, False)) for number in range(1, workers + 1)}
        for number in self.workers:
            self.pool.join(number)

    def _put(self, number: int, to_worker: bool, message: Any) -> None:
        self.messages.append((number, to_worker, message))

    def deliver(self) -> None:
        number, to_worker, message = self.messages.popleft()
        if to_worker:
            self.workers[number].take(message)
        elif isinstance(message, MoneyWanted):
            self.pool.want(number, message.usd)
        elif isinstance(message, MoneyReturned):
            self.pool.take_back(number, message.usd, message.money)
        elif isinstance(message, MoneyResumed):
            self.pool.resume(number, message.usd)
        self.report()

    def report(self) -> None:
        for number, worker in self.workers.items():
            self.pool.report(number, worker.money)

    def sum_charged(self) -> Decimal:
        held = [worker.spent + worker.unknown + worker.reserved for worker in self.workers.values()]
        return Decimal("0.1") + sum(held, Decimal(0))


@given(limit=CENTS, workers=st.integers(1, 3), requests=st.lists(st.tuples(CENTS, CENTS, st.booleans()), max_size=25))
def test_the_budget_holds_whatever_the_workers_ask_for(
    limit: Decimal, workers: int, requests: list[tuple[Decimal, Decimal, bool]]
) -> None:
    async def spend(run: Run, number: int, most: Decimal, cost: Decimal, is_lost: bool) -> bool:
        try:
            reservation = await run.workers[number].reserve(most)
        except BudgetReached:
            return False
        assert run.sum_charged() <= limit
        with reservation:
            await asyncio.sleep(0)
            if not is_lost:
                reservation.settle(Cost(min(cost, most), "metered"))
        return True

    async def work() -> None:
        run = Run(limit, workers)
        tasks = [
            asyncio.create_task(spend(run, 1 + number % workers, *request)) for number, request in enumerate(requests)
        ]
        while run.messages or not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            if run.messages:
                run.deliver()
        run.report()
        charged = run.sum_charged()
        assert charged <= max(limit, Decimal("0.1"))
        assert run.budget.spent + run.budget.unknown == charged
        if not all(task.result() for task in tasks):
            assert charged + max(most for most, _, _ in requests) > limit

    asyncio.run(asyncio.wait_for(work(), 10))


def test_what_a_dead_worker_was_granted_stays_charged() -> None:
    run = Run(Decimal(1), 2)
    run.pool.want(1, Decimal("0.5"))
    run.pool.leave(1, is_dead=True)
    run.pool.want(2, Decimal("0.5"))
    assert run.budget.unknown == Decimal("0.55")
    assert [type(message).__name__ for _, _, message in run.messages] == ["MoneyGranted", "MoneyRefused"]


def test_a_request_that_is_taken_up_again_is_charged_once() -> None:
    run = Run(Decimal(1), 1)
    reservation = run.workers[1].resume(Decimal("0.05"))
    while run.messages:
        run.deliver()
    assert (run.sum_charged(), run.budget.unknown) == (Decimal("0.15"), Decimal(0))
    reservation.settle(Cost(Decimal("0.02"), "metered"))
    run.pool.report(1, run.workers[1].money)
    assert (run.budget.spent, run.budget.unknown) == (Decimal("0.07"), Decimal(0))
