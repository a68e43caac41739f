"""The budget holds, whatever the order in which requests are reserved and settled."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.domain import Cost
from mediamill.tasks.errors import BudgetReached, Unpriced
from mediamill.tasks.money.budget import Budget, Reservation
from tests.helpers.hypothesis_profile import make_repeatable

USD = Decimal
UNKNOWN = Cost(None, "unknown")


def metered_cost(usd: Decimal) -> Cost:
    """A known cost."""
    return Cost(usd, "metered")


async def run_ready_tasks() -> None:
    """Let every task go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


cents = st.integers(0, 40).map(lambda n: USD(n) / 100)
steps = st.lists(
    st.tuples(st.sampled_from(["reserve", "settle", "unknown", "keep", "release", "cancel"]), cents, st.integers(0, 7)),
    max_size=40,
)


@make_repeatable()
@given(cents, cents, cents, steps)
def test_the_limit_holds_in_any_interleaving(
    limit: Decimal, spent: Decimal, unknown: Decimal, planned: list[tuple[str, Decimal, int]]
) -> None:
    asyncio.run(check_interleaving(Budget(limit, min(spent, limit), USD(0)), planned))
    asyncio.run(check_interleaving(Budget(limit, USD(0), min(unknown, limit)), planned))


async def check_interleaving(budget: Budget, planned: list[tuple[str, Decimal, int]]) -> None:
    reservations: list[Reservation] = []
    waiting: list[asyncio.Task[None]] = []

    async def reserve(max_usd: Decimal) -> None:
        reservations.append(await budget.reserve(max_usd))

    for step, usd, which in planned:
        if step == "reserve":
            waiting.append(asyncio.create_task(reserve(usd)))
        elif step == "cancel" and waiting:
            waiting[which % len(waiting)].cancel()
        elif reservations and step != "cancel":
            _end_reservation(step, reservations.pop(which % len(reservations)), usd)
        await run_ready_tasks()
        check_budget(budget, reservations)
    for _ in range(len(planned) + 1):
        while reservations:
            reservations.pop().release()
            await run_ready_tasks()
    check_budget(budget, reservations)
    assert all(task.done() for task in waiting), "a reservation waits although nothing is in flight"
    for task in waiting:
        if not task.cancelled():
            assert task.exception() is None or isinstance(task.exception(), BudgetReached)


def _end_reservation(step: str, reservation: Reservation, usd: Decimal) -> None:
    if step == "settle":
        reservation.settle(metered_cost(min(usd, reservation.usd)))
    elif step == "unknown":
        reservation.settle(UNKNOWN)
    elif step == "keep":
        reservation.charge_unknown()
    else:
        reservation.release()


def check_budget(budget: Budget, reservations: list[Reservation]) -> None:
    assert budget.limit is not None
    assert budget.spent + budget.unknown + budget.reserved <= budget.limit
    assert budget.reserved == sum((r.usd for r in reservations), USD(0))


async def test_a_waiting_reservation_goes_on_when_another_cost_less() -> None:
    budget = Budget(USD(1))
    first = await budget.reserve(USD(1))
    second = asyncio.create_task(budget.reserve(USD("0.6")))
    await run_ready_tasks()
    assert not second.done()
    first.settle(metered_cost(USD("0.4")))
    assert (await second).usd == USD("0.6")
    assert budget.spent == USD("0.4")


async def test_every_waiting_reservation_is_tried_again() -> None:
    budget = Budget(USD(3))
    first = await budget.reserve(USD(3))
    waiting = [asyncio.create_task(budget.reserve(USD(1))) for _ in range(3)]
    await run_ready_tasks()
    assert not any(task.done() for task in waiting)
    first.release()
    assert [r.usd for r in await asyncio.gather(*waiting)] == [USD(1)] * 3


async def test_a_waiting_reservation_fails_when_nothing_will_be_left() -> None:
    budget = Budget(USD(1))
    first = await budget.reserve(USD(1))
    second = asyncio.create_task(budget.reserve(USD("0.6")))
    await run_ready_tasks()
    first.charge_unknown()
    with pytest.raises(BudgetReached, match=r"up to \$1.00 more for requests without an answer"):
        await second


async def test_the_error_names_the_budget_the_maximum_and_what_is_spent() -> None:
    budget = Budget(USD("0.50"), spent=USD("0.30"))
    await budget.reserve(USD("0.10"))
    with pytest.raises(BudgetReached) as reached:
        await budget.reserve(USD("0.25"))
    assert str(reached.value) == (
        "the budget of $0.50 does not cover the next request (up to $0.25; $0.30 spent)"
        " (run again with a higher --budget to go on)"
    )
    assert reached.value.exit_code == 4


async def test_a_budget_of_zero_refuses_the_smallest_cost() -> None:
    budget = Budget(USD(0))
    assert (await budget.reserve(USD(0))).usd == 0
    with pytest.raises(BudgetReached, match=r"\$0.00 spent"):
        await budget.reserve(USD("0.000000000001"))


async def test_an_unpriced_request_under_a_budget_names_the_price_file() -> None:
    with pytest.raises(Unpriced, match="no known ceiling") as refused:
        await Budget(USD(1)).reserve(None)
    assert refused.value.kind == "unpriced"
    assert "MEDIAMILL_PRICES" in str(refused.value)


async def test_without_a_limit_everything_is_allowed_and_counted() -> None:
    budget = Budget(None)
    (await budget.reserve(None)).settle(metered_cost(USD(5)))
    (await budget.reserve(USD(2))).charge_unknown()
    assert (budget.spent, budget.unknown, budget.reserved) == (USD(5), USD(2), USD(0))


async def test_a_resumed_job_is_not_charged_twice() -> None:
    budget = Budget(USD(1), unknown=USD("0.7"))
    job = budget.resume(USD("0.7"))
    assert (budget.unknown, budget.reserved) == (USD(0), USD("0.7"))
    job.settle(metered_cost(USD("0.5")))
    assert (budget.spent, budget.unknown, budget.reserved) == (USD("0.5"), USD(0), USD(0))
