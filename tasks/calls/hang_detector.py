"""Requests that hang: found by what the provider's other answers took, and abandoned so that they can be sent again.

A request is overdue when it made no progress for longer than :class:`ResponseTimes` says, or, before anything is known,
for longer than its work should take. It is abandoned when the provider has answered one that was sent clearly later.
While the provider answers nothing at all, waiting is all there is: one overdue request now and then is abandoned and
sent again, to find out when the provider is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from mediamill.tasks.calls.response_times import MIN_DEADLINE_SECONDS, Deadline, ResponseTimes
from mediamill.tasks.calls.transport_errors import ReplyLost
from mediamill.tasks.calls.transports import OnProgress, ProgressKind
from mediamill.tasks.wire import Reply

OVERDUE = "overdue"
"""Kind of problem of a request that was abandoned."""

_LATER_SHARE = 0.5
"""A request counts as overtaken by one that was sent at least this share of its deadline later, and as waiting in a
silence when no reply came for that long. Requests that were sent together are not answered in order."""
_EXTRA_SHARE, _EXTRA_BURST = 0.25, 10.0
"""Abandoned requests per answered one, and at once while others are answered. After a silence as many as are in flight
may be abandoned beside that share: they are lost. So were those that are answered in time when they are sent again:
they give their share back, and once more, up to as many as are in flight."""
_CONFIRMED_TOKENS = 2.0
_FIRST_PROBE_SECONDS, _PROBE_GROWTH, _MAX_PROBE_SECONDS = 5.0, 1.5, 10.0
_DEADLINE_GROWTH, _CONFIRMED_GROWTH = 2.0, 1.4
"""A request that was abandoned gets twice the time when it is sent again: it may be slow by itself. Where nearly all of
them were answered in time then, requests hang at random, and the time grows less."""
_MIN_CONFIRMED, _MAX_SLOW_SHARE = 5, 0.1
_MAX_REMEMBERED = 10_000


@dataclass(slots=True, eq=False)
class _Exchange:
    """A request on the wire. ``sent_at`` is None until it is connected."""

    key: str
    size: float
    scope: asyncio.Timeout
    is_last: bool = False
    first_deadline: Deadline | None = None
    deadline: Deadline | None = None
    sent_at: float | None = None
    progressed_at: float = 0.0
    longest_silence: float = 0.0
    waited_in_silence: bool = False
    timer: asyncio.TimerHandle | None = None

    @property
    def margin(self) -> float:
        return _LATER_SHARE * self.deadline.seconds if self.deadline else float("inf")


class HangDetector:
    """Watches the repeatable requests to one provider, model and operation. Used on one event loop, with its clock.

    Args:
        times: what is known of the provider's silences.
    """

    def __init__(self, times: ResponseTimes | None = None) -> None:
        self.times = times or ResponseTimes()
        self._overdue: list[_Exchange] = []
        self._in_flight = self._max_in_flight = 0
        self._answers = self._abandoned = 0
        self._replied_at = float("-inf")  # when something came last, or when waiting began
        self._answered_sent_at = float("-inf")  # when the latest of the requests that were answered had been sent
        self._tokens = _EXTRA_BURST
        self._times_abandoned: dict[str, int] = {}
        self._confirmed = self._slow = 0  # requests that were abandoned, and then answered in time or late
        self._probe_at = float("-inf")
        self._probe_wait = _FIRST_PROBE_SECONDS
        self._review_timer: asyncio.TimerHandle | None = None

    async def watch(
        self,
        send: Callable[[OnProgress], Awaitable[Reply]],
        *,
        key: str,
        size: float,
        host: str,
        is_last: bool = False,
        estimated_seconds: float | None = None,
    ) -> Reply:
        """Send a request, and abandon it when it hangs.

        Args:
            send: sends it. It reports progress to its argument, first that the request is connected.
            key: the same for each attempt at the same request.
            size: of its work, see :func:`measure_work`.
            host: named in messages.
            is_last: it would not be sent again, so it is not abandoned.
            estimated_seconds: how long it is silent at most, see :func:`estimate_seconds`; None where only the
                provider's own answers tell.

        Raises:
            ReplyLost: ``overdue`` when it was abandoned: it may have been carried out and billed.
        """
        loop = asyncio.get_running_loop()
        if self._in_flight == 0:
            self._replied_at = loop.time()
        self._in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self._in_flight)
        scope = asyncio.timeout(None)
        estimated = None if estimated_seconds is None else Deadline(estimated_seconds, None)
        exchange = _Exchange(key, size, scope, is_last, estimated)
        try:
            async with scope:
                reply = await send(partial(self._note_progress, exchange, loop))
        except TimeoutError:
            if not scope.expired():
                raise
            raise self._record_abandoned(exchange, host, loop.time()) from None
        finally:
            self._in_flight -= 1
            self._forget(exchange)
        self._record_reply(exchange, reply, loop.time())
        return reply

    def list_overdue(self) -> list[str]:
        """The keys of the requests that are overdue, and on the wire all the same."""
        return [exchange.key for exchange in self._overdue]

    def _note_progress(self, exchange: _Exchange, loop: asyncio.AbstractEventLoop, kind: ProgressKind) -> None:
        now = loop.time()
        if kind == "received":
            self._replied_at = now
        if exchange.sent_at is None:
            exchange.sent_at = now
            exchange.timer = loop.call_at(now + MIN_DEADLINE_SECONDS, self._check, exchange, loop)
        else:
            exchange.longest_silence = max(exchange.longest_silence, now - exchange.progressed_at)
        exchange.progressed_at = now

    def _check(self, exchange: _Exchange, loop: asyncio.AbstractEventLoop) -> None:
        """The exchange's timer: it is overdue, unless there was progress, or is not measured yet."""
        now = loop.time()
        exchange.deadline = self.times.find_deadline(exchange.size) or exchange.first_deadline
        if exchange.is_last:
            return
        due_at = now + MIN_DEADLINE_SECONDS if exchange.deadline is None else self._compute_due_at(exchange)
        if due_at > now:
            is_known = exchange.deadline is not None and exchange.deadline.usual is not None
            next_at = due_at if is_known else min(due_at, now + MIN_DEADLINE_SECONDS)
            exchange.timer = loop.call_at(next_at, self._check, exchange, loop)
            return
        exchange.timer = None
        self._overdue.append(exchange)
        self._review(now)

    def _compute_due_at(self, exchange: _Exchange) -> float:
        assert exchange.deadline is not None
        is_random = self._confirmed >= _MIN_CONFIRMED and self._slow <= _MAX_SLOW_SHARE * self._confirmed
        growth = _CONFIRMED_GROWTH if is_random else _DEADLINE_GROWTH
        times_abandoned = self._times_abandoned.get(exchange.key, 0)
        return exchange.progressed_at + growth**times_abandoned * exchange.deadline.seconds

    def _record_reply(self, exchange: _Exchange, reply: Reply, now: float) -> None:
        """Any reply ends a silence; only an answer shows that requests sent before it are lost."""
        self._replied_at, self._probe_wait = now, _FIRST_PROBE_SECONDS
        if exchange.sent_at is None or reply.status >= 400:  # noqa: PLR2004 - HTTP's errors
            return
        silence = max(exchange.longest_silence, now - exchange.progressed_at)
        is_late = exchange.deadline is not None and silence > exchange.deadline.seconds
        self.times.record_answer(exchange.size, silence, is_late=is_late)
        self._answers += 1
        self._tokens = min(max(_EXTRA_BURST, self._tokens), self._tokens + _EXTRA_SHARE)
        if times_abandoned := self._times_abandoned.pop(exchange.key, 0):
            self._judge_abandoned(times_abandoned, is_late=is_late)
        self._answered_sent_at = max(self._answered_sent_at, exchange.sent_at)
        if self._overdue:
            self._review(now)

    def _judge_abandoned(self, times: int, *, is_late: bool) -> None:
        """A request was answered that had been abandoned so many times: it hung, or it is slow by itself."""
        if is_late:
            self._slow += 1
            return
        self._confirmed += 1
        self._abandoned -= times
        max_tokens = max(_EXTRA_BURST, float(self._max_in_flight))
        self._tokens = min(max_tokens, self._tokens + _CONFIRMED_TOKENS * times)

    def _record_abandoned(self, exchange: _Exchange, host: str, now: float) -> ReplyLost:
        silence = now - exchange.progressed_at
        if not exchange.waited_in_silence:
            self.times.record_abandoned(exchange.size, silence)
        self._times_abandoned[exchange.key] = self._times_abandoned.pop(exchange.key, 0) + 1
        if len(self._times_abandoned) > _MAX_REMEMBERED:
            self._times_abandoned.pop(next(iter(self._times_abandoned)))
        return ReplyLost(OVERDUE, f"{host}: nothing came for {silence:.1f} s; {_describe(exchange.deadline)}")

    def _review(self, now: float) -> None:
        """Abandon what was overtaken, or in a silence one request when it is time to try again."""
        silent = []
        for exchange in list(self._overdue):
            assert exchange.sent_at is not None
            if self._compute_due_at(exchange) > now:  # the server has gone on sending
                self._overdue.remove(exchange)
                self._check(exchange, asyncio.get_running_loop())
            elif self._may_abandon(exchange):
                self._abandon(exchange, now)
            elif now - self._replied_at >= exchange.margin:
                exchange.waited_in_silence = True
                silent.append(exchange)
        if silent and now >= self._probe_at:
            self._abandon(max(silent, key=lambda exchange: exchange.sent_at or 0.0), now)  # it is the latest probe
            self._probe_at = now + self._probe_wait
            self._probe_wait = min(self._probe_wait * _PROBE_GROWTH, _MAX_PROBE_SECONDS)
        if self._overdue and self._review_timer is None:
            next_at = self._probe_at if silent else now + min(e.margin for e in self._overdue)
            self._review_timer = asyncio.get_running_loop().call_at(next_at, self._review_again)

    def _review_again(self) -> None:
        self._review_timer = None
        if self._overdue:
            self._review(asyncio.get_running_loop().time())

    def _may_abandon(self, exchange: _Exchange) -> bool:
        """Others that were sent later are answered, and it is one of the few, or the provider had been silent."""
        if exchange.sent_at is None or self._answered_sent_at < exchange.sent_at + exchange.margin:
            return False
        if exchange.waited_in_silence:
            return self._abandoned < self._max_in_flight + _EXTRA_SHARE * self._answers
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _abandon(self, exchange: _Exchange, now: float) -> None:
        self._abandoned += 1
        self._overdue.remove(exchange)
        exchange.scope.reschedule(now)

    def _forget(self, exchange: _Exchange) -> None:
        if exchange.timer is not None:
            exchange.timer.cancel()
        if exchange in self._overdue:
            self._overdue.remove(exchange)


def _describe(deadline: Deadline | None) -> str:
    if deadline is None or deadline.usual is None:
        return f"such a request should take less than {deadline.seconds if deadline else 0.0:.0f} s"
    return f"99 % of such requests are answered within {deadline.usual:.1f} s"
