"""Limits: when the next request of one provider, model and operation may go.

Configured limits are never exceeded; below them the server's own are learned from its headers and
refusals. Waiting is first come, first served, without polling: one timer at most, for the head of the queue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mediamill.tasks.calls.adaptive import AdaptiveRate, AdaptiveWindow
from mediamill.tasks.domain import Usage
from mediamill.tasks.wire import Quota, RateLimits

_MINUTE = 60.0
_HOUR = 3600.0
_MARGIN = 0.985
_RAMP = 1.0
"""Seconds over which those who waited for a pause are let go."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to send one request, to be given back with :meth:`Limiter.release`.

    ``wait`` is the seconds waited for it, ``sent`` the loop's time when it was given.
    """

    number: int
    sent: float
    wait: float
    paced: bool


class Pacer:
    """Even spacing of quantities in time: the generic cell rate algorithm, one number of state.

    Lets ``rate`` units a second through, evenly, with ``burst`` seconds' worth of tolerance.

    One request larger than the tolerance still goes, and what follows waits for it to be paid off. The
    tolerance also makes up for late timers, so that the rate is reached on a busy event loop.
    """

    __slots__ = ("_burst", "_due", "rate")

    def __init__(self, rate: float | None, burst: float = 0.05) -> None:
        self.rate = rate
        self._burst = burst
        self._due = float("-inf")

    def ready_at(self) -> float:
        """The moment from which the next request may go."""
        return self._due - self._burst if self.rate is not None else float("-inf")

    def spend(self, amount: float, now: float) -> None:
        """Count a request of ``amount`` units that goes now."""
        if self.rate is not None:
            self._due = max(self._due, now) + amount / self.rate


class _Waiter:
    __slots__ = ("began", "future", "usage")

    def __init__(self, usage: Usage, future: asyncio.Future[Permit], began: float) -> None:
        self.usage = usage
        self.future = future
        self.began = began


class Limiter:
    """One for each (provider, model, operation), used on one event loop, whose clock it goes by."""

    def __init__(self, quota: Quota | None = None) -> None:
        quota = quota or Quota()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._window = AdaptiveWindow(quota.start or quota.concurrency, quota.concurrency)
        self._rate = AdaptiveRate()
        self._rpm = quota.rpm * _MARGIN / _MINUTE if quota.rpm else None
        self._tps = quota.tpm * 0.97 / _MINUTE if quota.tpm else None
        audio = quota.audio_seconds_per_hour
        self._requests = Pacer(self._rpm)
        self._tokens = Pacer(self._tps)
        # An hour's budget may be taken a twentieth at a time: rate and tolerance together stay within the hour.
        self._audio = Pacer(audio * 0.95 / _HOUR if audio else None, burst=_HOUR / 20)
        self._ramp = Pacer(None)
        self._ramp_ends = float("-inf")
        self._paused_until = float("-inf")
        self._in_flight = 0
        self._next = 0
        self._queue: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        """Permits that are out."""
        return self._in_flight

    @property
    def concurrency(self) -> int:
        """How many may be out at once now."""
        return int(self._window.size)

    @property
    def requests_per_second(self) -> float | None:
        """The pace now; None when nothing limits it."""
        return self._requests.rate

    async def acquire(self, usage: Usage) -> Permit:
        """Wait for leave to send a request that may use ``usage``."""
        loop = self._loop or self._bind()
        now = loop.time()
        if not self._queue and self._in_flight < int(self._window.size) and self._ready_at(usage) <= now:
            return self._grant(usage, now, now, paced=False)
        waiter = _Waiter(usage, loop.create_future(), now)
        self._queue.append(waiter)
        self._pump()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled():
                self.release(waiter.future.result(), "unused")  # granted in the very moment it was given up
            else:
                self._pump()
            raise

    def release(
        self, permit: Permit, outcome: str, limits: RateLimits | None = None, wait: float | None = None
    ) -> None:
        """Give a permit back and tell what became of the request.

        Args:
            permit: from :meth:`acquire`; given back exactly once.
            outcome: ``ok``, or the problem's kind: ``rate_limit`` lowers the rate, ``overloaded`` the
                concurrency, anything else is neutral.
            limits: what the reply's headers told.
            wait: seconds the provider asked to wait; the whole limiter does.
        """
        loop = self._loop or self._bind()
        now = loop.time()
        self._in_flight -= 1
        if limits is not None:
            self._learn(limits, now)
        if outcome == "ok":
            self._window.accepted()
        elif outcome == "rate_limit":
            rate, number = self._rate, permit.number
            self._pause(now, rate.refused(number, self._next, permit.sent, now, wait, paced=permit.paced))
        elif outcome == "overloaded":
            self._window.refused(permit.number, self._next)
            self._pause(now, wait or 0.0)
        self._set_pace()
        if self._queue:
            self._pump()

    def state(self) -> dict[str, Any]:
        """What was learned, as JSON, for :meth:`restore` in a later run."""
        return {"rate": self._rate.state(), "window": self._window.size, "tokens": self._tokens.rate}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Begin where an earlier run left off; configured limits still hold and nonsense is ignored."""
        rate = state.get("rate")
        if isinstance(rate, dict):
            self._rate.restore(rate)
        self._window.restore(state.get("window"))
        self._set_pace()

    def _bind(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.get_running_loop()
        return self._loop

    def _learn(self, limits: RateLimits, now: float) -> None:
        if limits.requests_per_second:
            self._rate.state_limit(limits.requests_per_second, now)
        if limits.tokens_per_second:
            stated = limits.tokens_per_second * _MARGIN
            self._tokens.rate = stated if self._tps is None else min(stated, self._tps)

    def _set_pace(self) -> None:
        pace = self._rate.pace
        self._requests.rate = self._rpm if pace is None else pace if self._rpm is None else min(pace, self._rpm)

    def _pause(self, now: float, seconds: float) -> None:
        if seconds > 0 and now + seconds > self._paused_until:
            self._paused_until = now + seconds
            self._ramp = Pacer(max(4.0, self._window.size) / _RAMP)
            self._ramp_ends = self._paused_until + _RAMP

    def _ready_at(self, usage: Usage) -> float:
        """The moment from which a request of ``usage`` may go, concurrency aside."""
        ready = max(self._paused_until, self._requests.ready_at())
        if self._tokens.rate is not None and _tokens(usage):
            ready = max(ready, self._tokens.ready_at())
        if self._audio.rate is not None and usage.audio_seconds:
            ready = max(ready, self._audio.ready_at())
        if ready < self._ramp_ends:
            ready = max(ready, min(self._ramp.ready_at(), self._ramp_ends))
        return ready

    def _grant(self, usage: Usage, began: float, now: float, *, paced: bool) -> Permit:
        self._requests.spend(1.0, now)
        if self._tokens.rate is not None:
            self._tokens.spend(_tokens(usage), now)
        if self._audio.rate is not None and usage.audio_seconds:
            self._audio.spend(float(usage.audio_seconds), now)
        if now < self._ramp_ends:
            self._ramp.spend(1.0, now)
        permit = Permit(self._next, now, now - began, paced)
        self._next += 1
        self._in_flight += 1
        self._rate.granted(permit.number, now, paced=paced)
        if self._rate.pace is not None:
            self._set_pace()
        return permit

    def _pump(self) -> None:
        """Let the head of the queue go, and those behind it, as far as they may now; else set the timer."""
        loop = self._loop or self._bind()
        while self._queue:
            waiter = self._queue[0]
            if waiter.future.done():  # cancelled while it waited
                self._queue.popleft()
                continue
            if self._in_flight >= int(self._window.size):
                return  # the next release comes back here
            now = loop.time()
            ready = self._ready_at(waiter.usage)
            if ready > now:
                self._wake_at(ready, loop)
                return
            self._queue.popleft()
            rate = self._requests.rate
            paced = rate is not None and self._requests.ready_at() + 1 / rate > now  # not held back by the window
            waiter.future.set_result(self._grant(waiter.usage, waiter.began, now, paced=paced))

    def _wake_at(self, ready: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            if self._timer.when() == ready:
                return
            self._timer.cancel()
        self._timer = loop.call_at(ready, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._pump()


def _tokens(usage: Usage) -> float:
    return float((usage.input_tokens or 0) + (usage.output_tokens or 0))
