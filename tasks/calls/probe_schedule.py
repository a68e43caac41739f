"""When the next probe goes to a provider that is out, and which request it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from mediamill.tasks.calls.admission import Admission
from mediamill.tasks.calls.failure_streak import FailureStreak
from mediamill.tasks.calls.named_timers import NamedTimers

_FIRST_SECONDS, _GROWTH, _MAX_SECONDS, _MAX_REFUSED_SECONDS = 0.5, 1.6, 5.0, 15.0
_MAX_HINT_SECONDS, _MAX_REFUSED_HINT_SECONDS = 10.0, 60.0
"""Maximum wait for the next probe, whatever a server asks for: it is one request. One that refuses is there, and may
mean what it says."""


class ProbeSchedule:
    """One probe at a time, each after a longer wait; on the event loop that runs now and with its clock.

    Args:
        timers: those of the gate.
        give_turn: makes the first request that waits the probe; whether one waits.

    Attributes:
        n_failed: how many probes of this outage failed.
    """

    def __init__(self, timers: NamedTimers, give_turn: Callable[[], bool]) -> None:
        self.n_failed = 0
        self._loop = asyncio.get_running_loop()
        self._timers = timers
        self._give_turn = give_turn
        self._probe: Admission | Literal["due", "chosen"] | None = None
        self._wait = _FIRST_SECONDS
        self._next_at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the next request that comes is the probe."""
        return self._probe == "due"

    @property
    def next_at(self) -> float | None:
        """When the next probe goes out, by the loop's clock; None while one is under way."""
        return None if isinstance(self._probe, Admission) else self._next_at

    def choose(self, admission: Admission) -> None:
        """Make a request the probe."""
        self._probe = admission

    def has_turn(self, admission: Admission) -> bool:
        """Whether a request that is ready is the probe. It becomes it where none is, or the one chosen is not ready."""
        if self.is_due or (isinstance(self._probe, Admission) and not self._probe.is_ready):
            self._probe = admission
        return self._probe is admission

    def end(self, admission: Admission) -> bool:
        """Note the end of a request; whether it was the probe."""
        is_probe = self._probe is admission
        if is_probe:
            self._probe = None
        return is_probe

    def begin(self) -> None:
        """An outage begins: the first probe goes out soon, unless one is under way."""
        self.n_failed = 0
        if self._probe is None:
            self.schedule()

    def schedule(self) -> None:
        """Send the next probe after the wait as it is."""
        self._schedule_in(self._wait)

    def schedule_at_once(self) -> None:
        """Send another request as the probe now: the one that was chosen is not sent."""
        self._probe = None
        self._schedule_in(0.0)

    def schedule_after_failure(self, streak: FailureStreak, *, believes_hint: bool) -> None:
        """Send the next probe after a longer wait, or after what the provider asks for, within reason."""
        max_wait, max_hint = _MAX_SECONDS, _MAX_HINT_SECONDS
        if streak.is_refusal:
            max_wait, max_hint = _MAX_REFUSED_SECONDS, _MAX_REFUSED_HINT_SECONDS
        self._wait = min(self._wait * _GROWTH, max_wait)
        self._schedule_in(max(self._wait, min(streak.wait or 0.0, max_hint) if believes_hint else 0.0))

    def forget_wait(self) -> None:
        """The provider answers: the next outage begins with a short wait."""
        self._wait = _FIRST_SECONDS

    def stop(self) -> None:
        """Send no probe."""
        self._probe = None
        self._timers.set("probe", None)

    def _schedule_in(self, seconds: float) -> None:
        self._next_at = self._loop.time() + seconds
        self._timers.set("probe", self._next_at, self._fall_due)

    def _fall_due(self) -> None:
        """The first request that waits is the probe, else the next one that comes."""
        self._probe = "chosen"
        if not self._give_turn():
            self._probe = "due"
