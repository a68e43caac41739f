"""The budget: nothing is spent or reserved beyond the limit, and a request waits only while that can help."""

from __future__ import annotations

import asyncio
import contextlib
import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.domain import Cost
from mediamill.tasks.errors import BudgetReached, Unpriced
from mediamill.tasks.money.budget import Budget, Reservation


def make_cost(usd: str | None) -> Cost:
    return Cost(None if usd is None else Decimal(usd), "unknown" if usd is None else "metered")


async def reserve(budget: Budget, usd: str) -> Reservation:
    return await asyncio.wait_for(budget.reserve(Decimal(usd)), 5)


async def start_waiting_reservation(budget: Budget, usd: str) -> asyncio.Task[Reservation]:
    task = asyncio.create_task(budget.reserve(Decimal(usd)))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_the_limit_can_be_spent_exactly() -> None:
    budget = Budget(Decimal("0.30"), spent=Decimal("0.1"), unknown=Decimal("0.1"))
    (await reserve(budget, "0.1")).settle(make_cost("0.1"))
    with pytest.raises(BudgetReached, match=r"\$0.30 .*up to \$0.0001; \$0.20 spent, up to \$0.10 more") as caught:
        await reserve(budget, "0.0001")
    assert "--budget" in (caught.value.hint or "")


async def test_a_budget_of_zero_allows_free_requests() -> None:
    budget = Budget(Decimal(0))
    (await reserve(budget, "0")).settle(make_cost("0"))
    with pytest.raises(BudgetReached):
        await reserve(budget, "0.01")


async def test_an_unpriced_request_is_refused_only_when_there_is_a_limit() -> None:
    with pytest.raises(Unpriced):
        await Budget(Decimal(1)).reserve(None)
    free = Budget(None)
    (await free.reserve(None)).settle(make_cost("5"))
    assert free.spent == 5


async def test_a_reservation_waits_for_requests_in_flight_and_takes_what_they_leave() -> None:
    budget = Budget(Decimal(1))
    first = await reserve(budget, "0.8")
    waiting = await start_waiting_reservation(budget, "0.5")
    first.settle(make_cost("0.3"))
    (await asyncio.wait_for(waiting, 5)).release()
    assert (budget.spent, budget.reserved, budget.unknown) == (Decimal("0.3"), Decimal(0), Decimal(0))


@pytest.mark.parametrize("outcome", ["settle", "unknown", "keep"])
async def test_a_waiting_reservation_fails_when_requests_in_flight_use_the_rest(outcome: str) -> None:
    budget = Budget(Decimal(1))
    first = await reserve(budget, "0.8")
    waiting = [await start_waiting_reservation(budget, "0.5") for _ in range(3)]
    if outcome == "keep":
        first.charge_unknown()
    else:
        first.settle(make_cost("0.8" if outcome == "settle" else None))
    for task in waiting:
        with pytest.raises(BudgetReached):
            await asyncio.wait_for(task, 5)
    assert budget.spent + budget.unknown == Decimal("0.8")


async def test_a_reservation_that_can_never_fit_fails_at_once() -> None:
    budget = Budget(Decimal(1))
    await reserve(budget, "0.5")
    with pytest.raises(BudgetReached):
        await reserve(budget, "1.1")


async def test_a_cancelled_waiter_leaves_the_others_their_turn() -> None:
    budget = Budget(Decimal(1))
    first = await reserve(budget, "1")
    cancelled, waiting = await start_waiting_reservation(budget, "1"), await start_waiting_reservation(budget, "1")
    cancelled.cancel()
    first.release()
    assert (await asyncio.wait_for(waiting, 5)).usd == 1
    assert cancelled.cancelled()


async def test_the_first_outcome_of_a_reservation_counts() -> None:
    budget = Budget(Decimal(1))
    first = await reserve(budget, "0.6")
    first.charge_unknown()
    first.release()
    first.settle(make_cost("0.1"))
    assert (budget.spent, budget.unknown, budget.reserved) == (Decimal(0), Decimal("0.6"), Decimal(0))


async def test_a_resumed_job_is_reserved_again_once() -> None:
    budget = Budget(Decimal(1), unknown=Decimal("0.7"))
    resumed = budget.resume(Decimal("0.4"))
    assert (budget.unknown, budget.reserved) == (Decimal("0.3"), Decimal("0.4"))
    resumed.settle(make_cost("0.2"))
    assert (budget.spent, budget.unknown, budget.reserved) == (Decimal("0.2"), Decimal("0.3"), Decimal(0))


def read_totals(budget: Budget) -> tuple[Decimal, Decimal, Decimal]:
    return budget.spent, budget.unknown, budget.reserved


NOTHING, RESERVED = Decimal(0), Decimal("0.6")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, asyncio.CancelledError])
async def test_a_block_that_fails_undecided_leaves_the_maximum_charged(error: type[BaseException]) -> None:
    budget = Budget(Decimal(1))
    with pytest.raises(error), await reserve(budget, "0.6"):
        raise error
    assert read_totals(budget) == (NOTHING, RESERVED, NOTHING)


async def test_a_block_that_ends_undecided_leaves_the_maximum_charged() -> None:
    budget = Budget(Decimal(1))
    with await reserve(budget, "0.6"):
        pass
    assert read_totals(budget) == (NOTHING, RESERVED, NOTHING)


@pytest.mark.parametrize(
    ("end", "left"),
    [
        ("settle", (Decimal("0.2"), NOTHING, NOTHING)),
        ("release", (NOTHING, NOTHING, NOTHING)),
        ("charge_unknown", (NOTHING, RESERVED, NOTHING)),
    ],
)
async def test_a_decision_holds_whatever_follows_it(end: str, left: tuple[Decimal, ...]) -> None:
    budget = Budget(Decimal(1))
    with contextlib.suppress(ValueError), await reserve(budget, "0.6") as reservation:
        if end == "settle":
            reservation.settle(make_cost("0.2"))
        else:
            getattr(reservation, end)()
        raise ValueError
    assert read_totals(budget) == left


async def test_a_request_cancelled_on_the_wire_stays_charged_and_wakes_the_waiting() -> None:
    budget = Budget(Decimal(1))

    async def request() -> None:
        with await budget.reserve(RESERVED) as reservation:
            await asyncio.sleep(60)
            reservation.release()

    task = asyncio.create_task(request())
    waiting = await start_waiting_for(task, budget)
    task.cancel()
    with pytest.raises(BudgetReached):
        await asyncio.wait_for(waiting, 5)
    assert task.cancelled()
    assert read_totals(budget) == (NOTHING, RESERVED, NOTHING)


async def start_waiting_for(task: asyncio.Task[None], budget: Budget) -> asyncio.Task[Reservation]:
    """Start a reservation that waits for what a task has reserved."""
    await asyncio.sleep(0)
    assert budget.reserved
    assert not task.done()
    return await start_waiting_reservation(budget, "0.5")


async def test_a_request_cancelled_before_it_is_sent_costs_nothing() -> None:
    budget = Budget(Decimal(1))

    async def request() -> None:
        with await budget.reserve(RESERVED) as reservation, reservation.release_on_error():
            await asyncio.sleep(60)

    task = asyncio.create_task(request())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert read_totals(budget) == (NOTHING, NOTHING, NOTHING)


async def test_release_on_error_changes_nothing_without_an_error() -> None:
    budget = Budget(Decimal(1))
    with await reserve(budget, "0.6") as reservation:
        with reservation.release_on_error():
            pass
        reservation.settle(make_cost("0.1"))
    assert read_totals(budget) == (Decimal("0.1"), NOTHING, NOTHING)


ENDS = st.sampled_from(["settle", "unknown", "keep", "release"])
REQUESTS = st.lists(st.tuples(st.integers(0, 60), st.floats(0, 1), ENDS, st.booleans()))


class ConcurrentRequests:
    """Requests on one budget in random order; some are cancelled at random moments."""

    def __init__(self, limit: int, width: int, seed: int) -> None:
        self.limit = limit
        self.budget = Budget(Decimal(limit))
        self.slots = asyncio.Semaphore(width)
        self.rng = random.Random(seed)

    def check_limit(self) -> None:
        assert min(self.budget.spent, self.budget.unknown, self.budget.reserved) >= 0
        assert self.budget.spent + self.budget.unknown + self.budget.reserved <= self.limit

    async def pause(self) -> None:
        for _ in range(self.rng.randrange(4)):
            await asyncio.sleep(0)

    async def request(self, max_usd: int, share: float, end: str) -> None:
        async with self.slots:
            try:
                reservation = await self.budget.reserve(Decimal(max_usd))
            except BudgetReached:
                return
            self.check_limit()
            try:
                await self.pause()
                if end == "release":
                    return
                if end == "keep":
                    reservation.charge_unknown()
                else:
                    reservation.settle(make_cost(str(int(max_usd * share)) if end == "settle" else None))
            finally:
                reservation.release()
                self.check_limit()

    async def run(self, requests: list[tuple[int, float, str, bool]]) -> None:
        tasks = [asyncio.create_task(self.request(max_usd, share, end)) for max_usd, share, end, _ in requests]
        for task, (*_, cancelled) in zip(tasks, requests, strict=True):
            await self.pause()
            if cancelled:
                task.cancel()
        async with asyncio.timeout(20):
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ended)


@given(limit=st.integers(0, 200), requests=REQUESTS, width=st.integers(1, 8), seed=st.integers(0, 2**16))
def test_no_order_of_events_exceeds_the_limit(
    limit: int, requests: list[tuple[int, float, str, bool]], width: int, seed: int
) -> None:
    """At each step all charges are within the limit; every request ends and nothing stays reserved."""
    concurrent = ConcurrentRequests(limit, width, seed)
    asyncio.run(concurrent.run(requests))
    assert concurrent.budget.reserved == 0
    concurrent.check_limit()
