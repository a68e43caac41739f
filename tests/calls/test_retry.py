"""The retry policy: waits, bounds, and the budget that keeps an outage small. No real time passes."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.calls.retry import RetryableError, RetryBudget, RetryPolicy, send_with_retries
from mediamill.tasks.wire import Problem
from tests.calls.virtual_time import run_virtual


class FakeClock:
    """A clock that moves on when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    def read(self) -> float:
        return self.now


def make_failing_send(times: int, kind: str = "server", **problem: Any) -> tuple[Callable[[], Any], list[int]]:
    calls: list[int] = []

    async def send_once() -> str:
        calls.append(1)
        if len(calls) <= times:
            raise RetryableError(Problem("retry", kind, "boom", **problem))
        return "done"

    return send_once, calls


def make_policy(clock: FakeClock, **more: Any) -> RetryPolicy:
    return RetryPolicy(**{"sleep": clock.sleep, "clock": clock.read, "jitter": lambda: 1.0, **more})


async def test_retries_until_success() -> None:
    clock = FakeClock()
    send, calls = make_failing_send(3)
    assert await send_with_retries(send, make_policy(clock)) == "done"
    assert len(calls) == 4
    assert clock.sleeps == [1.0, 2.0, 4.0]


async def test_gives_up_after_max_retries() -> None:
    clock = FakeClock()
    send, calls = make_failing_send(99)
    with pytest.raises(RetryableError) as caught:
        await send_with_retries(send, make_policy(clock, max_retries=2))
    assert len(calls) == caught.value.attempts == 3
    assert caught.value.problem.message == "boom"


async def test_gives_up_after_total_seconds() -> None:
    clock = FakeClock()
    send, _ = make_failing_send(99, wait=20.0)
    with pytest.raises(RetryableError):
        await send_with_retries(send, make_policy(clock, max_retries=20, total_seconds=70.0))
    assert clock.now <= 70


async def test_without_retries_there_is_one_attempt_and_no_sleep() -> None:
    clock = FakeClock()
    send, calls = make_failing_send(99)
    with pytest.raises(RetryableError):
        await send_with_retries(send, make_policy(clock, max_retries=0))
    assert (len(calls), clock.sleeps) == (1, [])


async def test_other_errors_and_cancellation_are_not_retried() -> None:
    clock = FakeClock()
    for error in (ValueError("no"), asyncio.CancelledError()):

        async def send_once(error: BaseException = error) -> None:
            raise error

        with pytest.raises(type(error)):
            await send_with_retries(send_once, make_policy(clock))
    assert clock.sleeps == []


async def test_a_plain_function_that_returns_an_awaitable_is_accepted() -> None:
    send, _ = make_failing_send(0)
    assert await send_with_retries(functools.partial(next, iter([send()])), make_policy(FakeClock())) == "done"


@given(st.none() | st.floats(allow_nan=True, allow_infinity=True), st.integers(1, 10_000), st.floats(0, 1))
def test_every_wait_is_within_bounds(hint: Any, attempt: Any, jitter: Any) -> None:
    wait = RetryPolicy(jitter=lambda: jitter).wait(Problem("retry", "x", "x", wait=hint), attempt)
    assert 0 <= wait <= 66


def test_a_wait_hint_is_obeyed_and_jittered() -> None:
    problem = Problem("retry", "rate_limit", "x", wait=10.0)
    assert RetryPolicy(jitter=lambda: 0.0).wait(problem, 1) == 10
    assert RetryPolicy(jitter=lambda: 1.0).wait(problem, 1) == pytest.approx(11)


def test_retries_come_as_often_as_successes_and_a_few_a_second_beside_them() -> None:
    async def take_all() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        budget = RetryBudget(burst=10, per_second=2)
        began_at = loop.time()
        await asyncio.gather(*(budget.take() for _ in range(110)))
        without_success = loop.time() - began_at
        waiting = asyncio.gather(*(budget.take() for _ in range(100)))
        await asyncio.sleep(0)
        for _ in range(100):
            budget.record_success()
        began_at = loop.time()
        await waiting
        return without_success, loop.time() - began_at

    without_success, with_successes = run_virtual(take_all)
    assert without_success == pytest.approx(50, abs=0.2)  # a hundred too many, at two a second
    assert with_successes == 0


def test_a_retry_that_is_cancelled_returns_its_token() -> None:
    async def cancel_at_the_grant() -> float:
        loop = asyncio.get_running_loop()
        budget = RetryBudget(burst=1, per_second=0.001)
        await budget.take()
        waiting = asyncio.create_task(budget.take())
        await asyncio.sleep(0)
        budget.record_success()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        began_at = loop.time()
        await budget.take()
        return loop.time() - began_at

    assert run_virtual(cancel_at_the_grant) == 0


async def test_rate_limit_retries_take_nothing_from_the_budget() -> None:
    clock = FakeClock()
    budget = RetryBudget(burst=1, per_second=0.001)
    send, _ = make_failing_send(4, kind="rate_limit", wait=1.0)
    await send_with_retries(send, make_policy(clock, budget=budget, jitter=lambda: 0.0))
    assert clock.sleeps == [1.0] * 4


async def test_a_retry_that_waited_long_takes_nothing_from_the_budget() -> None:
    clock = FakeClock()
    budget = RetryBudget(burst=1, per_second=0.001)
    send, _ = make_failing_send(4, wait=20.0)
    await send_with_retries(send, make_policy(clock, budget=budget, jitter=lambda: 0.0))
    assert clock.sleeps == [20.0] * 4


def test_where_many_wait_a_long_hint_is_obeyed_for_less_long() -> None:
    policy = RetryPolicy(jitter=lambda: 0.0, measure_room=lambda: 0.25)
    assert policy.wait(Problem("retry", "overloaded", "", wait=3600.0), 1) == 15.0
    assert policy.wait(Problem("retry", "overloaded", "", wait=10.0), 1) == 10.0


async def test_a_waiting_retry_stands_aside_and_comes_back() -> None:
    clock, states = FakeClock(), []

    @contextmanager
    def step_aside() -> Iterator[None]:
        states.append("aside")
        yield
        states.append("back")

    send, _ = make_failing_send(2)
    await send_with_retries(send, make_policy(clock, step_aside=step_aside))
    assert states == ["aside", "back"] * 2
