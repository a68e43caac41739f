"""The gate before a provider: open to all while it answers, to one probe at a time while it does not.

A request that waits here holds no permit, no place on the wire and no money. When the provider is back, those that
wait go on at a rate that doubles with the answers. When it stays away for longer than the run waits, the run stops.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from mediamill.tasks.calls import call_log
from mediamill.tasks.calls.admission import Admission
from mediamill.tasks.calls.circuit_breaker import UNREACHABLE_KINDS, CircuitBreaker, FailureStreak
from mediamill.tasks.errors import ProviderDown, RunStopped
from mediamill.tasks.summary import Outage
from mediamill.tasks.wire import Problem

DEFAULT_WAIT_SECONDS = 600.0
"""Seconds that a run waits for a provider, unless its job says otherwise."""
UNREACHED_WAIT_SECONDS = 20.0
"""The same where nothing has answered at the provider's address in this run: it may be the wrong one."""

_FIRST_PROBE_SECONDS, _PROBE_GROWTH, _MAX_PROBE_SECONDS = 0.5, 1.6, 5.0
_MAX_HINT_SECONDS = 10.0
"""Maximum wait for the next probe, whatever a server asks for: it is one request."""
_RAMP_START, _RAMP_STEP, _RAMP_SECONDS = 8, 2, 5.0
"""Once the provider is back, 8 requests go out, then 2 for each that is answered, and after 5 s all that wait."""
_MAX_CAUSE_CHARACTERS = 160

_Turn: TypeAlias = Literal["go", "probe", "look"]
"""What a request that waited may do: go, go as the probe, or look again, because the run may be ending."""


class ProviderGate:
    """The gate of one run to one endpoint of its provider, on the event loop that runs now and with its clock.

    Args:
        name: the provider's name.
        check_stop: raises RunStopped once the run is to end.
        request_stop: ends the run.
        wait_seconds: how long the run waits for a provider that is out; None for the default.
        on_outage: called when an outage is noticed.
        run_id: for the log.
    """

    def __init__(
        self,
        name: str,
        *,
        check_stop: Callable[[], None],
        request_stop: Callable[[RunStopped], None],
        wait_seconds: float | None = None,
        on_outage: Callable[[], None] = lambda: None,
        run_id: str = "",
    ) -> None:
        self.outages = 0
        self._loop = asyncio.get_running_loop()
        self._name = name
        self._check_stop = check_stop
        self._request_stop = request_stop
        self._wait_seconds = wait_seconds
        self._on_outage = on_outage
        self._run_id = run_id
        self._breaker = CircuitBreaker()
        self._has_answered = False
        self._waiting: deque[asyncio.Future[_Turn]] = deque()
        self._sleeping: set[asyncio.Future[None]] = set()
        self._probe: Admission | Literal["due", "chosen"] | None = None
        self._probe_wait = _FIRST_PROBE_SECONDS
        self._next_probe_at = 0.0
        self._ramp_tokens: int | None = None
        self._past_outage_seconds = 0.0
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def is_out(self) -> bool:
        """Whether the provider does not answer, so that nothing but probes is sent."""
        return self._breaker.is_open

    @property
    def outage(self) -> FailureStreak | None:
        """The failures of the outage that lasts now; None while the provider answers."""
        return self._breaker.streak if self.is_out else None

    def time(self) -> float:
        """The loop's clock without the time of outages: for what a request may take in all."""
        return self._loop.time() - self.measure_outage_seconds()

    def measure_outage_seconds(self) -> float:
        """Seconds for which the provider was out so far."""
        streak = self._breaker.streak
        current = self._loop.time() - streak.began_at if streak is not None and streak.is_outage else 0.0
        return self._past_outage_seconds + current

    def describe_outage(self) -> Outage | None:
        """The outage that lasts now, for people to read; None while the provider answers."""
        streak = self._breaker.streak
        if streak is None or not streak.is_outage:
            return None
        now, today = self._loop.time(), datetime.now().astimezone()
        return Outage(
            provider=self._name,
            since=(today - timedelta(seconds=now - streak.began_at)).isoformat(timespec="seconds"),
            cause=_describe_cause(streak),
            next_try_s=None if isinstance(self._probe, Admission) else max(0.0, self._next_probe_at - now),
            gives_up_at=(today + timedelta(seconds=self._get_end_of_wait(streak) - now)).isoformat(timespec="seconds"),
        )

    async def admit(self, request: str) -> Admission:
        """Wait until a request may be sent.

        Args:
            request: what tells it from others: its request key.

        Raises:
            RunStopped: when the run is to end.
        """
        while True:
            self._check_stop()
            turn = self._take_turn() or await self._wait_for_turn()
            if turn == "look":
                continue
            admission = Admission(self, request)
            if turn == "probe":
                self._probe = admission
            return admission

    async def pause(self, seconds: float) -> None:
        """Sleep before a retry; an outage ends it, because then the gate decides when to go on."""
        if self.is_out:
            return
        alarm: asyncio.Future[None] = self._loop.create_future()
        self._sleeping.add(alarm)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await alarm
        finally:
            self._sleeping.discard(alarm)

    def confirm_outage(self, first: FailureStreak) -> bool:
        """Whether an outage may have used up a request's retries; ``first`` is the streak in which it failed first."""
        was_out = self.is_out
        may_be_outage = self._breaker.confirm(first, self._loop.time())
        if self.is_out and not was_out:
            self._begin_outage(first)
        return may_be_outage

    def wake_all(self) -> None:
        """Let all that wait see that the run is to end."""
        for future in self._take_waiting():
            future.set_result("look")
        self._wake_sleepers()

    def close(self) -> None:
        """End every timer; the run is over."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def may_go(self, admission: Admission) -> bool:
        """Whether an admitted request may still go. The first one that is ready when a probe is due becomes it."""
        if not self.is_out or admission is self._probe:
            return True
        if self._probe == "due" or (isinstance(self._probe, Admission) and not self._probe.is_ready):
            self._probe = admission
        return admission is self._probe

    def start(self) -> int:
        """A request goes out; its number."""
        return self._breaker.start(self._loop.time())

    def succeed(self, admission: Admission, number: int) -> None:
        """The provider answered."""
        streak, self._has_answered = self._breaker.streak, True
        self._breaker.succeed(number, self._loop.time())
        if self._probe is admission:
            self._probe = None
        if streak is not None and streak.is_outage and not self.is_out:
            self._end_outage(streak)
        elif self._ramp_tokens is not None:
            self._ramp_tokens += _RAMP_STEP
            self._admit_waiting()

    def fail(self, admission: Admission, number: int, problem: Problem, status: int | None) -> FailureStreak | None:
        """A request failed in a way that another may not."""
        was_out = self.is_out
        self._has_answered = self._has_answered or problem.kind not in UNREACHABLE_KINDS
        streak = self._breaker.fail(
            number,
            self._loop.time(),
            request=admission.request,
            kind=problem.kind,
            message=problem.message,
            status=status,
        )
        if self._probe is admission:
            self._probe = None
            self._probe_wait = min(self._probe_wait * _PROBE_GROWTH, _MAX_PROBE_SECONDS)
            self._schedule_probe(problem.wait or 0.0)
        elif streak is not None and streak.is_outage and not was_out:
            self._begin_outage(streak)
        elif self._ramp_tokens is not None:
            self._ramp_tokens += 1
            self._admit_waiting()
        return streak

    def abandon(self, admission: Admission, number: int | None) -> None:
        """An admitted request was not sent, or ended in a way that says nothing of the provider."""
        if number is not None:
            self._breaker.forget(number)
        if self._probe is admission:
            self._probe = None
            self._schedule_probe(0.0, own_wait=0.0)
        elif self._ramp_tokens is not None:
            self._ramp_tokens += 1
            self._admit_waiting()

    def _take_turn(self) -> _Turn | None:
        """The turn of a request that comes now; None when it has to wait."""
        if self.is_out:
            return "probe" if self._probe == "due" else None
        if self._ramp_tokens is None:
            return "go"
        if self._waiting or not self._ramp_tokens:
            return None
        self._ramp_tokens -= 1
        return "go"

    async def _wait_for_turn(self) -> _Turn:
        future: asyncio.Future[_Turn] = self._loop.create_future()
        self._waiting.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():  # its turn came at the same moment
                self._return_turn(future.result())
            raise

    def _return_turn(self, turn: _Turn) -> None:
        if turn == "probe":
            self._probe = None
            self._schedule_probe(0.0, own_wait=0.0)
        elif turn == "go" and self._ramp_tokens is not None:
            self._ramp_tokens += 1
            self._admit_waiting()

    def _begin_outage(self, streak: FailureStreak) -> None:
        self.outages += 1
        self._breaker.is_recovering = False
        self._ramp_tokens = None
        self._set_timer("ramp", None)
        self._on_outage()
        self._wake_sleepers()
        self._schedule_probe(0.0)
        self._set_timer("give_up", self._get_end_of_wait(streak), self._give_up)
        call_log.log_outage(self._name, self._run_id, streak.kind, streak.status, self._get_wait_seconds())

    def _end_outage(self, streak: FailureStreak) -> None:
        seconds = self._loop.time() - streak.began_at
        self._past_outage_seconds += seconds
        self._probe, self._probe_wait = None, _FIRST_PROBE_SECONDS
        self._set_timer("probe", None)
        self._set_timer("give_up", None)
        self._breaker.is_recovering = True
        self._ramp_tokens = _RAMP_START
        self._set_timer("ramp", self._loop.time() + _RAMP_SECONDS, self._end_ramp)
        call_log.log_outage_end(self._name, self._run_id, seconds)
        self._admit_waiting()

    def _end_ramp(self) -> None:
        self._breaker.is_recovering = False
        self._ramp_tokens = None
        for future in self._take_waiting():
            future.set_result("go")

    def _admit_waiting(self) -> None:
        """Let as many go as the ramp allows, first come, first served."""
        while self._ramp_tokens and (future := self._pop_waiting()) is not None:
            self._ramp_tokens -= 1
            future.set_result("go")

    def _schedule_probe(self, hint: float, own_wait: float | None = None) -> None:
        wait = max(self._probe_wait if own_wait is None else own_wait, min(hint, _MAX_HINT_SECONDS))
        self._next_probe_at = self._loop.time() + wait
        self._set_timer("probe", self._next_probe_at, self._choose_probe)

    def _choose_probe(self) -> None:
        """The first request that waits is the probe, else the next one that comes."""
        future = self._pop_waiting()
        self._probe = "due" if future is None else "chosen"
        if future is not None:
            future.set_result("probe")

    def _give_up(self) -> None:
        streak = self._breaker.streak
        if streak is None:
            return
        waited = self._loop.time() - streak.began_at
        since = f"{datetime.now().astimezone() - timedelta(seconds=waited):%H:%M:%S}"
        what, first_step = "does not answer", ""
        if not self._has_answered:
            what, first_step = "has not answered at all", "check the network and --base-url, then "
        message = f"{self._name} {what} since {since} ({_describe_cause(streak)}); the run waited {waited:.0f} s for it"
        hint = f"{first_step}run the same command again to go on; --wait-for-provider sets how long a run waits"
        self._request_stop(ProviderDown(message, hint=hint))
        self.wake_all()

    def _get_wait_seconds(self) -> float:
        if self._wait_seconds is not None:
            return self._wait_seconds
        return DEFAULT_WAIT_SECONDS if self._has_answered else UNREACHED_WAIT_SECONDS

    def _get_end_of_wait(self, streak: FailureStreak) -> float:
        return streak.began_at + self._get_wait_seconds()

    def _wake_sleepers(self) -> None:
        for alarm in self._sleeping:
            if not alarm.done():
                alarm.set_result(None)

    def _pop_waiting(self) -> asyncio.Future[_Turn] | None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                return future
        return None

    def _take_waiting(self) -> list[asyncio.Future[_Turn]]:
        waiting, self._waiting = self._waiting, deque()
        return [future for future in waiting if not future.done()]

    def _set_timer(self, name: str, at: float | None, call: Callable[[], None] = lambda: None) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
        if at is not None:
            self._timers[name] = self._loop.call_at(at, call)


def _describe_cause(streak: FailureStreak) -> str:
    text = " ".join(streak.message.split())
    text = text if len(text) <= _MAX_CAUSE_CHARACTERS else text[: _MAX_CAUSE_CHARACTERS - 3] + "..."
    return text or streak.kind
