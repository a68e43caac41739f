"""The gate before a provider: open to all while it answers, to one probe at a time while it does not.

A request that waits here holds no permit, no place on the wire and no money. When the provider is back, those that
wait go on at a rate that doubles with the answers. When it stays away for longer than the run waits, the run stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

from mediamill.tasks.calls import call_log
from mediamill.tasks.calls.admission import Admission
from mediamill.tasks.calls.circuit_breaker import CircuitBreaker
from mediamill.tasks.calls.failure_streak import HANGING_KINDS, FailureStreak
from mediamill.tasks.calls.life_sign import LifeSign
from mediamill.tasks.calls.named_timers import NamedTimers
from mediamill.tasks.calls.outage_patience import OutagePatience
from mediamill.tasks.calls.outage_words import build_outage, build_provider_down
from mediamill.tasks.calls.probe_schedule import ProbeSchedule
from mediamill.tasks.calls.silence_notice import SilenceNotice
from mediamill.tasks.calls.sleepers import Sleepers
from mediamill.tasks.calls.waiting_line import Turn, WaitingLine
from mediamill.tasks.errors import RunStopped
from mediamill.tasks.summary import Outage
from mediamill.tasks.wire import Problem

_SENT_AWAY_SECONDS = 5.0
"""How long after a refusal that asks for a long wait a success shows that others are answered."""
_MIN_SENT_AWAY = 4
"""How many probes must fail until the run ends because the provider is back later than it waits."""
_RAMP_START, _RAMP_STEP, _RAMP_SECONDS = 8, 2, 5.0
"""Once the provider is back, 8 requests go out, then 2 for each that is answered, and after 5 s all that wait."""


class ProviderGate:
    """The gate of one run to one endpoint of its provider, on the event loop that runs now and with its clock.

    Args:
        name: the provider's name.
        check_stop: raises RunStopped once the run is to end.
        request_stop: ends the run.
        wait_seconds: how long the run waits for a provider that is out; None for the default.
        on_outage: called when an outage is noticed.
        has_life: sends the provider's address a request that costs nothing; whether anything at all came back.
        list_overdue: the requests that hang, as far as others show that.
        run_id: for the log.
    """

    def __init__(
        self,
        name: str,
        *,
        check_stop: Callable[[], None],
        request_stop: Callable[[RunStopped], None],
        wait_seconds: float | None = None,
        on_outage: Callable[[FailureStreak], None] = lambda _: None,
        has_life: Callable[[], Awaitable[bool]] | None = None,
        list_overdue: Callable[[], Collection[str]] = tuple,
        run_id: str = "",
    ) -> None:
        self.outages = 0
        self._loop = asyncio.get_running_loop()
        self._name = name
        self._check_stop = check_stop
        self._request_stop = request_stop
        self._patience = OutagePatience(wait_seconds)
        self._on_outage = on_outage
        self._life_sign = LifeSign(has_life)
        self._judging: asyncio.Task[bool] | None = None
        self._run_id = run_id
        self._breaker = CircuitBreaker(list_overdue)
        self._silence = SilenceNotice(self._breaker, self._tell_silence)
        self._is_careful = False  # so many replies were lost that few requests are sent
        self._has_given_up = False
        self._waiting = WaitingLine(self._return_turn)
        self._sleepers = Sleepers()
        self._past_outage_seconds = 0.0
        self._timers = NamedTimers()
        self._probes = ProbeSchedule(self._timers, lambda: self._waiting.give("probe"))

    @property
    def is_out(self) -> bool:
        """Whether the provider does not answer, so that nothing but probes is sent."""
        return self._breaker.is_open

    @property
    def _is_shut(self) -> bool:
        return self._is_careful or self.is_out

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
        streak = self.outage
        if streak is None or self._has_given_up:
            return None
        now, end = self._loop.time(), self._patience.get_end(streak)
        return build_outage(self._name, streak, now, next_try_at=self._probes.next_at, gives_up_at=end)

    def measure_silence(self) -> float | None:
        """Seconds for which nothing was answered; None where requests are answered, or are known to fail."""
        return None if self.is_out else self._silence.measure()

    def is_suspect(self, request: str) -> bool:
        """Whether a request fails while others are answered, so that it may be to blame itself."""
        return self._breaker.is_suspect(request)

    async def admit(self, request: str) -> Admission:
        """Wait until a request may be sent.

        Args:
            request: what tells it from others: its request key.

        Raises:
            RunStopped: when the run is to end.
        """
        while True:
            self._check_stop()
            turn = self._take_turn() or await self._waiting.wait()
            if turn == "look":
                continue
            admission = Admission(self, request)
            if turn == "probe":
                self._probes.choose(admission)
            return admission

    async def pause(self, seconds: float) -> None:
        """Sleep before a retry; an outage ends it, because then the gate decides when to go on."""
        if not self.is_out:
            await self._sleepers.sleep(seconds)

    async def confirm_outage(self, first: FailureStreak) -> bool:
        """Whether an outage may have used up a request's retries; ``first`` is the streak in which it failed first.

        A single request may break its connection each time, or the provider may be gone: then nothing else at its
        address is answered either.
        """
        was_out = self.is_out
        if self._breaker.confirm(first, self._loop.time()):
            if self.is_out and not was_out:
                self._begin_outage(first)
            return True
        is_judged = first.only_unanswered and first is self._breaker.streak
        if not is_judged or await self._life_sign.look() or first is not self._breaker.streak:
            return False
        self._open(first)
        return True

    def wake_all(self) -> None:
        """Let all that wait see that the run is to end."""
        self._waiting.give_all("look")
        self._sleepers.wake_all()

    def close(self) -> None:
        """End every timer; the run is over."""
        self._timers.cancel_all()
        self._silence.close()
        if self._judging is not None:
            self._judging.cancel()

    def may_go(self, admission: Admission) -> bool:
        """Whether an admitted request may still go. The first one that is ready when a probe is due becomes it."""
        return not self._is_shut or self._probes.has_turn(admission)

    def start(self, admission: Admission) -> int:
        """A request goes out; its number."""
        number = self._breaker.start(self._loop.time(), admission.request)
        self._silence.note_sent(number, admission.work_seconds)
        return number

    def succeed(self, admission: Admission, number: int) -> None:
        """The provider answered."""
        before, self._patience.has_answered = self._breaker.streak, True
        self._breaker.succeed(number, self._loop.time(), admission.request)
        self._silence.note_reply(self._breaker.slowest_success)
        self._note_streak_end(admission, before)

    def refuse(self, admission: Admission, number: int, problem: Problem, status: int | None) -> FailureStreak:
        """The provider refused a request as one too many: it is there."""
        before, self._patience.has_answered = self._breaker.streak, True
        now = self._loop.time()
        self._silence.note_reply(self._breaker.slowest_success)
        streak = self._breaker.refuse(
            number, now, request=admission.request, message=problem.message, status=status, wait=problem.wait
        )
        if not streak.is_outage:
            if self._breaker.is_sent_away and "sent_away" not in self._timers:
                self._timers.set("sent_away", now + _SENT_AWAY_SECONDS, self._judge_refusals)
            self._note_streak_end(admission, before)
        elif before is not streak:
            self._begin_outage(streak)
        elif self._probes.end(admission):
            self._end_probe(streak)
        return streak

    def fail(self, admission: Admission, number: int, problem: Problem, status: int | None) -> FailureStreak | None:
        """A request failed in a way that another may not."""
        was_out, now = self.is_out, self._loop.time()
        self._patience.note_failure(problem.kind)
        if problem.kind not in HANGING_KINDS:
            self._silence.note_reply(self._breaker.slowest_success)
        streak = self._breaker.fail(
            number,
            now,
            request=admission.request,
            kind=problem.kind,
            message=problem.message,
            status=status,
            wait=problem.wait,
            is_lost=problem.billed,
        )
        is_new = streak is not None and streak.is_outage and not was_out
        is_probe = self._probes.end(admission)
        if streak is not None and is_new:
            self._begin_outage(streak)
        elif is_probe:
            self._end_probe(streak)
        else:
            self._waiting.allow(1)
        if not self._is_shut and self._breaker.loses_requests(now):
            self._begin_care()
        if streak is not None and not streak.is_outage:
            self._timers.set("judge", self._patience.get_judging_time(streak), self._judge_few)
        return streak

    def abandon(self, admission: Admission, number: int | None) -> None:
        """An admitted request was not sent, or ended in a way that says nothing of the provider."""
        if number is not None:
            self._breaker.forget(number)
        if self._probes.end(admission):
            self._probes.schedule_at_once()
        else:
            self._waiting.allow(1)

    def _take_turn(self) -> Turn | None:
        """The turn of a request that comes now; None when it has to wait."""
        if self._is_shut:
            return "probe" if self._probes.is_due else None
        return "go" if self._waiting.take() else None

    def _return_turn(self, turn: Turn) -> None:
        if turn == "probe":
            self._probes.schedule_at_once()
        elif turn == "go":
            self._waiting.allow(1)

    def _note_streak_end(self, admission: Admission, before: FailureStreak | None) -> None:
        """The provider answered: failures from before may be over."""
        self._probes.end(admission)
        if before is not None and before.is_outage and not self.is_out:
            self._end_outage(before)
        elif self._is_careful and self._breaker.streak is None:
            self._begin_ramp()
        else:
            self._waiting.allow(_RAMP_STEP)

    def _tell_silence(self, seconds: float) -> None:
        if not self.is_out:
            call_log.log_silence(self._name, self._run_id, seconds, self._breaker.out)

    def _open(self, streak: FailureStreak) -> None:
        if not self.is_out:
            self._breaker.open(streak)
            self._begin_outage(streak)

    def _begin_outage(self, streak: FailureStreak) -> None:
        self.outages += 1
        self._breaker.is_recovering = self._is_careful = False
        self._waiting.limit(None)
        self._timers.set("ramp", None)
        self._patience.begin(self._loop.time())
        self._on_outage(streak)
        self._sleepers.wake_all()
        self._probes.begin()
        self._timers.set("give_up", self._patience.get_end(streak), self._give_up)
        call_log.log_outage(self._name, self._run_id, streak, self._patience.seconds)

    def _end_outage(self, streak: FailureStreak) -> None:
        seconds = self._loop.time() - streak.began_at
        self._past_outage_seconds += seconds
        self._probes.forget_wait()
        self._timers.set("give_up", None)
        self._breaker.is_recovering = True
        call_log.log_outage_end(self._name, self._run_id, seconds)
        self._begin_ramp()

    def _begin_care(self) -> None:
        """One request at a time, until one is answered or an outage begins: each of the others might be paid for."""
        assert self._breaker.streak is not None
        self._is_careful = True
        self._waiting.limit(None)
        self._timers.set("ramp", None)
        self._probes.schedule()
        call_log.log_lost_replies(self._name, self._run_id, self._breaker.streak)

    def _begin_ramp(self) -> None:
        self._is_careful = False
        self._probes.stop()
        self._timers.set("ramp", self._loop.time() + _RAMP_SECONDS, self._end_ramp)
        self._waiting.limit(_RAMP_START)

    def _end_ramp(self) -> None:
        self._breaker.is_recovering = False
        self._waiting.limit(None)
        self._waiting.give_all("go")

    def _end_probe(self, streak: FailureStreak | None) -> None:
        """The probe failed: the next one goes out later."""
        self._probes.n_failed += 1
        if streak is None or not streak.is_outage:
            self._probes.schedule()
        elif self._patience.is_useless(streak) and self._probes.n_failed >= _MIN_SENT_AWAY:
            self._give_up()
        else:
            self._probes.schedule_after_failure(streak, believes_hint=not self._patience.is_useless(streak))

    def _give_up(self) -> None:
        if (streak := self._breaker.streak) is not None:
            self._has_given_up = True
            self._request_stop(build_provider_down(self._name, streak, self._loop.time(), self._patience))
            self.wake_all()

    def _judge_refusals(self) -> None:
        """A refusal wants a long wait: it is an outage where nothing was answered since."""
        refusals, now = self._breaker.refusals, self._loop.time()
        self._timers.set("sent_away", None)
        if refusals is None or self.is_out or not self._breaker.is_sent_away:
            return
        if self._breaker.judge_refusals(now):
            self._open(refusals)
        else:
            self._timers.set("sent_away", now + _SENT_AWAY_SECONDS, self._judge_refusals)

    def _judge_few(self) -> None:
        """All failed for as long as the run waits: see whether that is an outage, however few requests there were."""
        streak = self._breaker.streak
        if streak is None or streak.is_outage or self._loop.time() < self._patience.get_judging_time(streak):
            return
        if self._judging is None or self._judging.done():
            self._judging = self._loop.create_task(self.confirm_outage(streak))
