"""The one retry policy: when a request is sent again, how long is waited before, and when to give up."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from mediamill.tasks.wire import Problem

T = TypeVar("T")

MAX_WAIT_SECONDS = 60.0
"""Most seconds before one repeat, whatever a server asks for."""


class RetryableError(Exception):
    """An attempt failed in a way that another may not.

    Attributes:
        problem: why; its ``wait`` is the provider's own hint.
        status: of the error reply, where there was one.
        attempts: how many were made in all, once it leaves :func:`retrying`.
    """

    def __init__(self, problem: Problem, status: int | None = None) -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.status = status
        self.attempts = 0


class RetryBudget:
    """A token bucket over all calls of a process, so that an outage does not multiply the load.

    A repeat takes a token; a success brings ``share`` of one back and time brings ``per_second``. With none
    left a repeat is not refused but waits its turn, so repeats come at ``per_second`` and no faster.
    """

    def __init__(
        self,
        *,
        refill_per_success: float = 0.1,
        burst: float = 50.0,
        per_second: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._refill_per_success = refill_per_success
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._tokens = burst
        self._updated_at = clock()

    def record_success(self) -> None:
        """Count an attempt that was answered."""
        self._tokens = min(self._burst, self._tokens + self._refill_per_success)

    def take(self) -> float:
        """Take a token; the seconds until it is there."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._updated_at) * self._per_second)
        self._updated_at = now
        self._tokens -= 1
        return max(0.0, -self._tokens / self._per_second)

    def give_back(self) -> None:
        """Return a token whose repeat was not made after all."""
        self._tokens = min(self._burst, self._tokens + 1)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How one call is repeated.

    Attributes:
        retries: most repeats, so ``retries + 1`` attempts.
        total: seconds from the first attempt after which no further one is begun.
        base: seconds; repeat n waits a random time below ``base * 2**n`` when the provider gave no hint.
        longest: most seconds before one repeat.
        budget: shared by all calls; None for no bound.
        exempt: kinds of problem that take nothing from the budget: the limiter already paces them.
        sleep, clock, chance: the world, for tests.
    """

    max_retries: int = 5
    total_seconds: float = 900.0
    base_wait: float = 0.5
    max_wait: float = MAX_WAIT_SECONDS
    budget: RetryBudget | None = None
    exempt_kinds: frozenset[str] = frozenset({"rate_limit"})
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = field(default=random.random)

    def wait(self, problem: Problem, attempt: int) -> float:
        """Seconds before the repeat that follows attempt number ``attempt`` (from 1), without the budget's.

        A hint is obeyed, up to ``longest``, and stretched by up to a tenth so that those who were told
        the same do not come back together. Without one: exponential with full jitter.
        """
        if problem.wait is not None and problem.wait >= 0:
            return min(self.max_wait, problem.wait) * (1 + 0.1 * self.jitter())
        return self.jitter() * min(self.max_wait, self.base_wait * 2.0 ** min(attempt, 30))


async def send_with_retries(send_once: Callable[[], Awaitable[T]], policy: RetryPolicy) -> T:
    """Call ``send_once`` until it returns, raises anything but :class:`TryAgain`, or the policy gives up.

    Raises:
        TryAgain: the last one, with ``attempts`` set.
    """
    rules = _TenacityRules(policy)
    first_error: RetryableError | None = None
    try:
        result: T = await send_once()  # most calls succeed at once and need no retryer
    except RetryableError as error:
        first_error = error
    else:
        if policy.budget:
            policy.budget.record_success()
        return result
    retryer = AsyncRetrying(
        retry=retry_if_exception_type(RetryableError),
        wait=rules.wait,
        stop=rules.stop,
        sleep=policy.sleep,
        reraise=True,
    )

    async def replay_first_attempt() -> T:  # its first attempt is the one that was made
        nonlocal first_error
        if first_error is not None:
            error, first_error = first_error, None
            raise error
        return await send_once()

    try:
        result = await retryer(replay_first_attempt)
    except RetryableError as error:
        error.attempts = int(retryer.statistics.get("attempt_number", 1))
        raise
    if policy.budget:
        policy.budget.record_success()
    return result


class _TenacityRules:
    """A policy applied to one call; tenacity asks for the wait first, then whether to stop."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._began_at = policy.clock()

    def wait(self, state: RetryCallState) -> float:
        if state.attempt_number > self._policy.max_retries:
            return 0.0
        seconds = self._policy.wait(_get_problem(state), state.attempt_number)
        budget = self._find_budget(state)
        return max(seconds, budget.take()) if budget else seconds

    def stop(self, state: RetryCallState) -> bool:
        if state.attempt_number > self._policy.max_retries:
            return True
        if self._policy.clock() - self._began_at + state.upcoming_sleep <= self._policy.total_seconds:
            return False
        if budget := self._find_budget(state):
            budget.give_back()
        return True

    def _find_budget(self, state: RetryCallState) -> RetryBudget | None:
        return None if _get_problem(state).kind in self._policy.exempt_kinds else self._policy.budget


def _get_problem(state: RetryCallState) -> Problem:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, RetryableError)
    return error.problem
