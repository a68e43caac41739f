"""The limiter: when the next request of one provider, model and operation may go.

Configured limits are never exceeded; below them the server's own are learned from its headers and
refusals. Waiting is first come, first served, retries before first attempts, without polling: one timer at most, for
the head of the queue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mediamill.tasks.calls.adaptive import AdaptiveRate
from mediamill.tasks.calls.adaptive_window import FIRST_SIZE, AdaptiveWindow
from mediamill.tasks.calls.call_log import log_limit_change
from mediamill.tasks.calls.gcra import Gcra
from mediamill.tasks.calls.limiter_pause import Pause
from mediamill.tasks.domain import Usage
from mediamill.tasks.wire import Quota, RateLimits

_MINUTE_SECONDS = 60.0
_HOUR_SECONDS = 3600.0
_CONFIGURED_MARGIN = 0.985
_LOGGED_CUT, _LOGGED_GROWTH = 0.01, 1.25
"""How much a rate must differ, and a limit have grown, for a line in the log: they move in many small steps."""
_MAX_OVERLOAD_PAUSE_SECONDS = 2.0
"""For how long all wait after overload, whatever a server asks for: the gate sees an outage only by failures."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Permission to send one request, to be given back with :meth:`Limiter.release`.

    ``wait`` is the seconds it was waited for, ``granted_at`` the event loop's time when it was given. ``paced`` is
    True when the pace, and not the concurrency, held the request back. ``size`` is how many might be in flight then.
    """

    number: int
    granted_at: float
    wait: float
    paced: bool
    size: float


class _Waiter:
    __slots__ = ("future", "queued_at", "usage")

    def __init__(self, usage: Usage, future: asyncio.Future[Permit], queued_at: float) -> None:
        self.usage = usage
        self.future = future
        self.queued_at = queued_at


class Limiter:
    """Limits the requests of one (provider, model, operation). Used on one event loop, with that loop's clock.

    Args:
        quota: the configured limits; None for none.
        name: of provider, model and operation, for the log.
    """

    def __init__(self, quota: Quota | None = None, name: str = "limiter") -> None:
        quota = quota or Quota()
        self.name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._window = AdaptiveWindow(quota.start or FIRST_SIZE, quota.concurrency)
        self._rate = AdaptiveRate()
        self._max_requests_per_second = quota.rpm * _CONFIGURED_MARGIN / _MINUTE_SECONDS if quota.rpm else None
        self._max_tokens_per_second = quota.tpm * 0.97 / _MINUTE_SECONDS if quota.tpm else None
        self._stated_tokens_per_second: float | None = None
        self._limit_share = 1.0
        audio_seconds_per_hour = quota.audio_seconds_per_hour
        self._requests = Gcra(self._max_requests_per_second)
        self._tokens = Gcra(self._max_tokens_per_second)
        # An hour's budget may be taken a twentieth at a time: rate and tolerance together stay within the hour.
        self._audio = Gcra(
            audio_seconds_per_hour * 0.95 / _HOUR_SECONDS if audio_seconds_per_hour else None,
            burst_seconds=_HOUR_SECONDS / 20,
        )
        self._pause = Pause()
        self._size_at_success = self._window.size
        self._in_flight = 0
        self._next_number = 0
        self._retries: deque[_Waiter] = deque()  # go first: behind others each would wait for all items again
        self._queue: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._logged_rate, self._logged_concurrency = self.requests_per_second, quota.concurrency

    @property
    def in_flight(self) -> int:
        """Permits that were given and not yet given back."""
        return self._in_flight

    @property
    def concurrency(self) -> int:
        """How many requests may be in flight now."""
        return int(self._window.size)

    @property
    def requests_per_second(self) -> float | None:
        """The rate now; None when nothing limits it."""
        return self._requests.rate

    @property
    def pace(self) -> float | None:
        """The requests a second that the server accepts, as far as that was learned."""
        return self._rate.claim

    @property
    def noise(self) -> float:
        """The share of requests that the server refuses whatever the pace, as far as that was learned."""
        return self._rate.noise

    @property
    def sent(self) -> int:
        """Permits that were ever given."""
        return self._next_number

    @property
    def is_held_back(self) -> bool:
        """Whether requests wait, and not for others to end."""
        return bool(self._retries or self._queue) and self._in_flight < self.concurrency

    async def acquire(self, usage: Usage, *, is_retry: bool = False) -> Permit:
        """Wait for permission to send a request that may use up to ``usage``; a retry goes before first attempts."""
        loop = self._loop or self._bind_loop()
        now = loop.time()
        ahead = self._retries if is_retry else self._retries or self._queue
        if not ahead and self._in_flight < self._window.get_size(now) and self._compute_ready_at(usage) <= now:
            return self._grant(usage, now, now, paced=False)
        waiter = _Waiter(usage, loop.create_future(), now)
        (self._retries if is_retry else self._queue).append(waiter)
        self._grant_waiting()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled():
                self.release(waiter.future.result(), "unused")  # granted at the same moment
            else:
                self._grant_waiting()
            raise

    def release(
        self, permit: Permit, outcome: str, limits: RateLimits | None = None, wait: float | None = None
    ) -> None:
        """Give a permit back, with the outcome of its request.

        Args:
            permit: from :meth:`acquire`; given back exactly once.
            outcome: ``ok``, or the problem's kind: ``rate_limit`` lowers the rate, ``overloaded`` the
                concurrency, anything else is neutral.
            limits: the limits in the reply's headers; None without a reply.
            wait: seconds the provider wants its clients to wait; the whole limiter waits, after overload a few at most.
        """
        loop = self._loop or self._bind_loop()
        now = loop.time()
        self._in_flight -= 1
        rate_before, concurrency_before = self.requests_per_second, self.concurrency
        if limits is not None:
            self._apply_stated_limits(limits, now)
        number = permit.number
        if outcome == "ok":
            self._window.record_accepted(number)
            self._size_at_success = permit.size  # not what failures have left of it since
            self._rate.record_accepted(number, permit.granted_at, now)
            self._pause.record_accepted(number, now - permit.granted_at, now)
        elif outcome == "rate_limit":
            self._pause.record_refused(number, now - permit.granted_at)
            seconds = self._rate.record_refusal(number, self._next_number, permit.granted_at, now, wait)
            self._pause.begin(now, seconds, self._window.size, is_probed=self._rate.refusals_in_a_row > 1)
        elif outcome == "overloaded":
            follows_refusal = self._pause.record_refused(number, now - permit.granted_at)
            if self._window.record_overload(number, self._next_number, now) and follows_refusal:
                self._pause.begin(now, min(wait or 0.0, _MAX_OVERLOAD_PAUSE_SECONDS), self._window.size)
        if outcome not in ("ok", "rate_limit", "unused"):
            self._rate.record_failure()
        self._set_pace()
        if rate_before is None:
            self._requests.spend(1.0, now)  # the first request at a new pace waits for its turn
        self._log_changes(rate_before, concurrency_before, outcome)
        if self._retries or self._queue:
            self._grant_waiting()

    def forget_outage(self, *, by_refusals: bool = False) -> None:
        """End pauses, and take back what was cut since the last success, ``by_refusals`` also the rate.

        It was an outage, not too much load, and its gate decides when the provider is tried.
        """
        if by_refusals:
            loop = self._loop or self._bind_loop()
            self._rate.forget_block(loop.time())
            self._set_pace()
        self._window.restore_size(max(self._window.size, self._size_at_success))
        self._pause.end()
        self._grant_waiting()

    def export_state(self) -> dict[str, Any]:
        """What was learned, as JSON, for :meth:`restore_state` in a later run."""
        return {"rate": self._rate.export_state(self._loop.time() if self._loop else 0.0)}

    def restore_state(self, state: Mapping[str, Any], seconds_ago: float = 0.0) -> None:
        """Start from what an earlier run had learned ``seconds_ago``; configured limits still hold.

        A state that is invalid or too old is ignored.
        """
        rate = state.get("rate")
        if isinstance(rate, dict):
            self._rate.restore_state(rate, seconds_ago)
        self._set_pace()
        self._logged_rate = self.requests_per_second

    def share_pace(self, pace: float | None, limit_share: float, others: float) -> None:
        """Go on at a pace that leaves other runs their part of a limit.

        Args:
            pace: in requests a second; None to leave it as it is.
            limit_share: the share of limits the provider states that is used.
            others: the requests a second of other runs.
        """
        loop = self._loop or self._bind_loop()
        rate_before, self._limit_share = self._requests.rate, limit_share
        self._rate.share_pace(pace, limit_share, others)
        self._set_pace()
        rate, self._requests.rate = self._requests.rate, rate_before
        self._requests.set_rate(rate, loop.time())
        self._set_token_rate()
        if self._retries or self._queue:
            self._grant_waiting()

    def _bind_loop(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.get_running_loop()
        return self._loop

    def _apply_stated_limits(self, limits: RateLimits, now: float) -> None:
        if limits.requests_per_second:
            self._rate.state_limit(limits.requests_per_second, now)
        if limits.tokens_per_second:
            self._stated_tokens_per_second = limits.tokens_per_second
            self._set_token_rate()

    def _set_token_rate(self) -> None:
        if self._stated_tokens_per_second is not None:
            stated = self._stated_tokens_per_second * self._limit_share * _CONFIGURED_MARGIN
            configured = self._max_tokens_per_second
            self._tokens.rate = stated if configured is None else min(stated, configured)

    def _set_pace(self) -> None:
        pace = self._rate.pace
        configured = self._max_requests_per_second
        self._requests.rate = configured if pace is None else pace if configured is None else min(pace, configured)

    def _log_changes(self, rate_before: float | None, concurrency_before: int, outcome: str) -> None:
        """Log each cut, unless it leads back to what was logged last, and growth once it comes to a quarter of that."""
        rate, logged_rate, concurrency = self.requests_per_second, self._logged_rate, self.concurrency
        if rate is not None and (rate_before is None or rate < rate_before):
            if logged_rate is None or abs(rate / logged_rate - 1) > _LOGGED_CUT:
                cause = "stated by the provider" if outcome == "ok" else outcome
                log_limit_change(self.name, "rate", rate_before, rate, cause)
                self._logged_rate = rate
        elif rate is not None and logged_rate is not None and rate >= _LOGGED_GROWTH * logged_rate:
            log_limit_change(self.name, "rate", logged_rate, rate, "grown back")
            self._logged_rate = rate
        if concurrency < concurrency_before:
            if concurrency != self._logged_concurrency:
                log_limit_change(self.name, "concurrency", concurrency_before, concurrency, outcome)
                self._logged_concurrency = concurrency
        elif concurrency >= _LOGGED_GROWTH * self._logged_concurrency:
            log_limit_change(self.name, "concurrency", self._logged_concurrency, concurrency, "grown back")
            self._logged_concurrency = concurrency

    def _compute_ready_at(self, usage: Usage) -> float:
        """The moment from which a request of ``usage`` may go, as far as rates and pauses decide."""
        ready_at = self._requests.ready_at()
        if self._tokens.rate is not None and _sum_tokens(usage):
            ready_at = max(ready_at, self._tokens.ready_at())
        if self._audio.rate is not None and usage.audio_seconds:
            ready_at = max(ready_at, self._audio.ready_at())
        return self._pause.get_ready_at(ready_at)

    def _grant(self, usage: Usage, queued_at: float, now: float, *, paced: bool) -> Permit:
        self._requests.spend(1.0, now)
        if self._tokens.rate is not None:
            self._tokens.spend(_sum_tokens(usage), now)
        if self._audio.rate is not None and usage.audio_seconds:
            self._audio.spend(float(usage.audio_seconds), now)
        self._pause.record_sent(now)
        permit = Permit(self._next_number, now, now - queued_at, paced, self._window.size)
        self._next_number += 1
        self._in_flight += 1
        self._rate.record_sent(permit.number, now, paced=paced)
        if self._rate.pace is not None:
            rate_before = self.requests_per_second
            self._set_pace()
            self._log_changes(rate_before, self.concurrency, "measured")
        return permit

    def _grant_waiting(self) -> None:
        """Grant permits from the head of the queue as far as the limits allow; else set the timer."""
        loop = self._loop or self._bind_loop()
        while queue := self._retries or self._queue:
            waiter = queue[0]
            if waiter.future.done():  # cancelled while it waited
                queue.popleft()
                continue
            now = loop.time()
            if self._in_flight >= self._window.get_size(now):
                if (grows_at := self._window.grows_at()) is not None:
                    self._set_timer(max(grows_at, now), loop)
                return  # otherwise the next release comes back here
            ready_at = self._compute_ready_at(waiter.usage)
            if ready_at > now:
                self._set_timer(ready_at, loop)
                return
            queue.popleft()
            rate = self._requests.rate
            paced = rate is not None and self._requests.ready_at() + 1 / rate > now  # not held back by the window
            waiter.future.set_result(self._grant(waiter.usage, waiter.queued_at, now, paced=paced))

    def _set_timer(self, ready_at: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            if self._timer.when() == ready_at:
                return
            self._timer.cancel()
        self._timer = loop.call_at(ready_at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._grant_waiting()


def _sum_tokens(usage: Usage) -> float:
    return float((usage.input_tokens or 0) + (usage.output_tokens or 0))
