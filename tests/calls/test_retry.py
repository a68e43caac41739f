"""The retry policy: waits, bounds, and the budget that keeps an outage small. No real time passes."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.calls.retry import RetryableError, RetryBudget, RetryPolicy, send_with_retries
from mediamill.tasks.wire import Problem


class World:
    """A clock that sleeping moves on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


def failing(times: int, kind: str = "server", **problem: Any) -> tuple[Callable[[], Any], list[int]]:
    calls: list[int] = []

    async def send_once() -> str:
        calls.append(1)
        if len(calls) <= times:
            raise RetryableError(Problem("retry", kind, "boom", **problem))
        return "done"

    return send_once, calls


def policy(world: World, **more: Any) -> RetryPolicy:
    return RetryPolicy(**{"sleep": world.sleep, "clock": world.clock, "jitter": lambda: 1.0, **more})


async def test_retries_until_success() -> None:
    world = World()
    send, calls = failing(3)
    assert await send_with_retries(send, policy(world)) == "done"
    assert len(calls) == 4
    assert world.slept == [1.0, 2.0, 4.0]


async def test_gives_up_after_max_retries() -> None:
    world = World()
    send, calls = failing(99)
    with pytest.raises(RetryableError) as stopped:
        await send_with_retries(send, policy(world, max_retries=2))
    assert len(calls) == stopped.value.attempts == 3
    assert stopped.value.problem.message == "boom"


async def test_gives_up_after_total_seconds() -> None:
    world = World()
    send, _ = failing(99, wait=20.0)
    with pytest.raises(RetryableError):
        await send_with_retries(send, policy(world, max_retries=20, total_seconds=70.0))
    assert world.now <= 70


async def test_without_retries_there_is_one_attempt_and_no_sleep() -> None:
    world = World()
    send, calls = failing(99)
    with pytest.raises(RetryableError):
        await send_with_retries(send, policy(world, max_retries=0))
    assert (len(calls), world.slept) == (1, [])


async def test_other_errors_and_cancellation_are_not_retried() -> None:
    world = World()
    for error in (ValueError("no"), asyncio.CancelledError()):

        async def send_once(error: BaseException = error) -> None:
            raise error

        with pytest.raises(type(error)):
            await send_with_retries(send_once, policy(world))
    assert world.slept == []


async def test_a_plain_function_that_returns_an_awaitable_is_accepted() -> None:
    send, _ = failing(0)
    assert await send_with_retries(functools.partial(next, iter([send()])), policy(World())) == "done"


@given(st.none() | st.floats(allow_nan=True, allow_infinity=True), st.integers(1, 10_000), st.floats(0, 1))
def test_every_wait_is_within_bounds(hint: Any, attempt: Any, chance: Any) -> None:
    wait = RetryPolicy(jitter=lambda: chance).wait(Problem("retry", "x", "x", wait=hint), attempt)
    assert 0 <= wait <= 66


def test_a_wait_hint_is_obeyed_and_jittered() -> None:
    told = Problem("retry", "rate_limit", "x", wait=10.0)
    assert RetryPolicy(jitter=lambda: 0.0).wait(told, 1) == 10
    assert RetryPolicy(jitter=lambda: 1.0).wait(told, 1) == pytest.approx(11)


async def test_the_retry_budget_bounds_the_rate_of_retries() -> None:
    world = World()
    budget = RetryBudget(burst=10, per_second=2, clock=world.clock)
    waits = [budget.take() for _ in range(110)]
    assert waits[9] == 0
    assert waits[-1] == pytest.approx(50)  # a hundred too many, at two a second
    for _ in range(1200):
        budget.record_success()
    assert budget.take() == 0


async def test_rate_limit_retries_take_nothing_from_the_budget() -> None:
    world = World()
    budget = RetryBudget(burst=1, per_second=0.001, clock=world.clock)
    send, _ = failing(4, kind="rate_limit", wait=1.0)
    await send_with_retries(send, policy(world, budget=budget, jitter=lambda: 0.0))
    assert world.slept == [1.0] * 4


async def test_a_retry_that_is_not_sent_returns_its_token() -> None:
    world = World()
    budget = RetryBudget(burst=1, per_second=1, clock=world.clock)
    send, _ = failing(99, wait=50.0)
    with pytest.raises(RetryableError):
        await send_with_retries(send, policy(world, budget=budget, total_seconds=10.0))
    assert budget.take() == 0
