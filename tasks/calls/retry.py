"""The retry policy: when a request is sent again, how long it waits before, and when it gives up."""

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
"""Maximum wait before one retry, whatever a server asks for."""

_TRANSIENT_STATUSES = frozenset({408, 425, 429})
_MIN_SERVER_ERROR = 500


def is_transient_status(status: int) -> bool:
    """True for an HTTP status after which another try may succeed."""
    return status in _TRANSIENT_STATUSES or status >= _MIN_SERVER_ERROR


class RetryableError(Exception):
    """An attempt failed, and another may succeed.

    Attributes:
        problem: why it failed; its ``wait`` is the provider's own hint.
        status: of the error reply, where there was one.
        attempts: how many there were in all, once it leaves :func:`send_with_retries`.
    """

    def __init__(self, problem: Problem, status: int | None = None) -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.status = status
        self.attempts = 0


class RetryBudget:
    """A token bucket over all calls of a process, so that an outage does not multiply the load.

    A retry takes a token. A success brings ``refill_per_success`` of one back, and time brings ``per_second``. With no
    token left a retry waits its turn, so that retries come at ``per_second`` and no faster; none is refused.
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
        """Count an attempt that succeeded."""
        self._tokens = min(self._burst, self._tokens + self._refill_per_success)

    def take(self) -> float:
        """Take a token; returns the seconds until there is one."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._updated_at) * self._per_second)
        self._updated_at = now
        self._tokens -= 1
        return max(0.0, -self._tokens / self._per_second)

    def give_back(self) -> None:
        """Return the token of a retry that was not made after all."""
        self._tokens = min(self._burst, self._tokens + 1)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How one call is retried.

    Attributes:
        max_retries: so there are up to ``max_retries + 1`` attempts.
        total_seconds: from the first attempt; after that no further one is begun.
        base_wait: seconds; retry n waits a random time below ``base_wait * 2**n`` when the provider gave no hint.
        max_wait: seconds before one retry.
        budget: shared by all calls; None for no limit.
        exempt_kinds: kinds of problem that take nothing from the budget, because the limiter already paces them.
        sleep, clock, jitter: replaced by tests; ``jitter`` gives a random number from 0 to 1.
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
        """Seconds before the retry that follows attempt number ``attempt`` (from 1), without the budget's.

        A hint is obeyed, up to ``max_wait``, and lengthened by up to a tenth, so that requests which got the same hint
        do not come back together. Without a hint the wait is exponential with full jitter.
        """
        if problem.wait is not None and problem.wait >= 0:
            return min(self.max_wait, problem.wait) * (1 + 0.1 * self.jitter())
        return self.jitter() * min(self.max_wait, self.base_wait * 2.0 ** min(attempt, 30))


async def send_with_retries(
    send_once: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    on_retry: Callable[[RetryableError, float], None] | None = None,
) -> T:
    """Call ``send_once`` until it returns, raises anything but :class:`RetryableError`, or the policy gives up.

    Args:
        send_once: makes one attempt.
        policy: when there is another, and how long the pause before it is.
        on_retry: called before each pause, with why the attempt failed and the pause in seconds.

    Raises:
        RetryableError: the last one, with ``attempts`` set.
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
        before_sleep=lambda state: on_retry(_get_error(state), state.upcoming_sleep) if on_retry else None,
        reraise=True,
    )

    async def replay_first_attempt() -> T:  # tenacity's first attempt is the one above
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
    """A policy for one call, as tenacity wants it: it asks for the wait first, then whether to stop."""

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


def _get_error(state: RetryCallState) -> RetryableError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, RetryableError)
    return error


def _get_problem(state: RetryCallState) -> Problem:
    return _get_error(state).problem
