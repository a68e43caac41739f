"""The retry policy: when a request is sent again, how long it waits before, and when it gives up."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from mediamill.tasks.calls.failure_streak import FailureStreak
from mediamill.tasks.wire import Problem

T = TypeVar("T")

MAX_WAIT_SECONDS = 60.0
"""Maximum wait before one retry, whatever a server asks for."""

_FREE_WAIT_SECONDS = 10.0
"""A retry that waited for so long takes nothing from the budget: those that wait add little load, and where many do, as
no new items begin meanwhile, each success would allow less than one more."""
_TIMER_MARGIN_SECONDS = 0.001
"""A timer may fire by the clock's step too early; without it the token would not be there yet."""
_TRANSIENT_STATUSES = frozenset({408, 421, 424, 425, 429, 499})
_MIN_SERVER_ERROR = 500


def is_transient_status(status: int) -> bool:
    """True for an HTTP status after which another try may succeed."""
    return status in _TRANSIENT_STATUSES or status >= _MIN_SERVER_ERROR


class RetryableError(Exception):
    """An attempt failed, and another may succeed.

    Attributes:
        problem: why it failed; its ``wait`` is the provider's own hint.
        status: of the error reply, where there was one.
        streak: the failures in a row that it belongs to, where a gate counts them.
        is_alone: True where it fails while others are answered.
        attempts: how many there were in all, once it leaves :func:`send_with_retries`.
    """

    def __init__(
        self,
        problem: Problem,
        status: int | None = None,
        streak: FailureStreak | None = None,
        *,
        is_alone: bool = False,
    ) -> None:
        super().__init__(problem.message)
        self.is_alone = is_alone
        self.problem = problem
        self.status = status
        self.streak = streak
        self.attempts = 0


class RetryBudget:
    """Bounds the retries of all calls of a run by what succeeds, so that a failing provider does not get more load.

    Each success allows ``per_success`` retries, and up to ``burst`` of them may be saved; beside that there are
    ``per_second``. With none left, retries wait their turn; none is refused. Used on one event loop.
    """

    def __init__(self, *, per_success: float = 1.0, burst: float = 50.0, per_second: float = 5.0) -> None:
        self._per_success = per_success
        self._burst = burst
        self._per_second = per_second
        self._tokens = burst
        self._updated_at: float | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def record_success(self) -> None:
        """Count an attempt that succeeded."""
        self._tokens = min(self._burst, self._tokens + self._per_success)
        if self._waiting:
            self._grant()

    async def take(self) -> None:
        """Wait until a retry may be made, first come, first served."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._grant()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():  # granted at the same moment
                self._tokens += 1
            raise

    def _grant(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        elapsed = now - (now if self._updated_at is None else self._updated_at)
        self._updated_at = now
        self._tokens = min(self._burst, self._tokens + elapsed * self._per_second)
        while self._waiting and (self._tokens >= 1 or self._waiting[0].done()):
            future = self._waiting.popleft()
            if not future.done():
                self._tokens -= 1
                future.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            self._timer = loop.call_later((1 - self._tokens) / self._per_second + _TIMER_MARGIN_SECONDS, self._grant)


class OutageGate(Protocol):
    """What a retry policy needs of a provider's gate."""

    @property
    def is_out(self) -> bool:
        """Whether the provider is out."""

    def time(self) -> float:
        """A clock that stops during outages, in seconds."""

    async def pause(self, seconds: float) -> None:
        """Sleep; an outage ends it."""

    async def confirm_outage(self, first: FailureStreak) -> bool:
        """Whether a call that used up its retries, and first failed in that streak, may have failed by an outage."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How one call is retried.

    Attributes:
        max_retries: so there are up to ``max_retries + 1`` attempts; those that an outage failed are not counted.
        total_seconds: from the first attempt; after that no further one is begun. Outages are not counted.
        base_wait: seconds; retry n waits a random time below ``base_wait * 2**n`` when the provider gave no hint.
        max_wait: seconds before one retry.
        max_wait_alone: the same where others are answered, so that there is nothing to wait for.
        budget: shared by all calls; None for no limit.
        gate: of the provider; None where nothing is known of outages.
        exempt_kinds: kinds of problem that take nothing from the budget, because the limiter already paces them.
        step_aside: entered while a call waits, so that others take its place.
        measure_room: how much room is left for calls that wait, from 0 to 1: the less, the shorter are long waits.
        sleep, clock, jitter: replaced by tests; ``jitter`` gives a random number from 0 to 1. With a gate it has the
            clock.
    """

    max_retries: int = 5
    total_seconds: float = 900.0
    base_wait: float = 0.5
    max_wait: float = MAX_WAIT_SECONDS
    max_wait_alone: float = 4.0
    budget: RetryBudget | None = None
    gate: OutageGate | None = None
    exempt_kinds: frozenset[str] = frozenset({"rate_limit"})
    step_aside: Callable[[], AbstractContextManager[None]] = nullcontext
    measure_room: Callable[[], float] = lambda: 1.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = field(default=random.random)

    def wait(self, problem: Problem, attempt: int, *, is_alone: bool = False) -> float:
        """Seconds before the retry that follows attempt number ``attempt`` (from 1), without the budget's.

        A hint is obeyed, up to ``max_wait``, and lengthened by up to a tenth, so that requests which got the same hint
        do not come back together. Where many wait it is obeyed for less long: with no room left for those that wait,
        nothing else would be sent. Without a hint the wait is exponential with full jitter.
        """
        if problem.wait is not None and problem.wait >= 0:
            return min(self.max_wait * self.measure_room(), problem.wait) * (1 + 0.1 * self.jitter())
        max_wait = min(self.max_wait, self.max_wait_alone) if is_alone else self.max_wait
        return self.jitter() * min(max_wait, self.base_wait * 2.0 ** min(attempt, 30))


async def send_with_retries(
    send_once: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    on_retry: Callable[[RetryableError, float], None] | None = None,
) -> T:
    """Call ``send_once`` until it returns, raises anything but :class:`RetryableError`, or the policy gives up.

    Args:
        send_once: makes one attempt.
        policy: when there is another, and how long the pause before it is.
        on_retry: called before each pause, with why the attempt failed and the pause in seconds, without what the
            budget and the gate add.

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
        stop=rules.stop,  # type: ignore[arg-type]  # it awaits coroutines too
        sleep=rules.sleep,
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
    """A policy for one call, as tenacity wants it: it asks for the wait first, then whether to stop, then sleeps."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._errors: list[RetryableError] = []
        self._clock = policy.gate.time if policy.gate else policy.clock
        self._began_at = self._clock()

    def wait(self, state: RetryCallState) -> float:
        error = _get_error(state)
        self._errors.append(error)
        if self._is_by_outage(error):
            return 0.0  # the gate decides when to go on
        return self._policy.wait(error.problem, self._count_attempts(), is_alone=error.is_alone)

    async def stop(self, state: RetryCallState) -> bool:
        is_last = self._count_attempts() > self._policy.max_retries
        is_late = self._clock() - self._began_at + state.upcoming_sleep > self._policy.total_seconds
        if not is_last and not is_late:
            return False
        gate = self._policy.gate
        for is_refusal in (False, True):
            first = next((error.streak for error in self._errors if self._counts(error, is_refusal=is_refusal)), None)
            if gate is not None and first is not None and await gate.confirm_outage(first):
                return False
        return True

    async def sleep(self, seconds: float) -> None:
        policy, error = self._policy, self._errors[-1]
        is_paced = error.problem.kind in policy.exempt_kinds or seconds >= _FREE_WAIT_SECONDS
        with policy.step_aside():
            await (policy.sleep if policy.gate is None else policy.gate.pause)(seconds)
            if policy.budget is not None and not is_paced and not self._is_by_outage(error):
                await policy.budget.take()

    def _count_attempts(self) -> int:
        return sum(not self._is_by_outage(error) for error in self._errors)

    def _counts(self, error: RetryableError, *, is_refusal: bool) -> bool:
        return not self._is_by_outage(error) and is_refusal == (error.problem.kind == "rate_limit")

    @staticmethod
    def _is_by_outage(error: RetryableError) -> bool:
        return error.streak is not None and error.streak.is_outage


def _get_error(state: RetryCallState) -> RetryableError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, RetryableError)
    return error
