"""How long a run waits for a provider that is out, and when it is told that it waits for nothing."""

from __future__ import annotations

from mediamill.tasks.calls.failure_streak import UNREACHABLE_KINDS, FailureStreak

DEFAULT_WAIT_SECONDS = 600.0
"""Seconds that a run waits for a provider, unless its job says otherwise."""
UNREACHED_WAIT_SECONDS = 20.0
"""The same where nothing has answered at the provider's address in this run: it may be the wrong one."""
_MIN_WAIT_SECONDS = 5.0
"""However short a run waits, requests fail for so long before a few of them are taken for an outage."""

_MIN_USELESS_SECONDS = 60.0


class OutagePatience:
    """How long a run waits.

    Args:
        wait_seconds: what the job says; None for the default.
    """

    def __init__(self, wait_seconds: float | None) -> None:
        self.has_answered = False
        self._wait_seconds = wait_seconds
        self._opened_at = float("-inf")

    @property
    def seconds(self) -> float:
        """How long it waits for a provider."""
        if self._wait_seconds is not None:
            return self._wait_seconds
        return DEFAULT_WAIT_SECONDS if self.has_answered else UNREACHED_WAIT_SECONDS

    def note_failure(self, kind: str) -> None:
        """A request failed: all but those that reach nobody show that somebody is there."""
        self.has_answered = self.has_answered or kind not in UNREACHABLE_KINDS

    def begin(self, now: float) -> None:
        """An outage is known from now on."""
        self._opened_at = now

    def get_end(self, streak: FailureStreak) -> float:
        """When the run ends in an outage: never before it was known."""
        return max(self._opened_at, streak.began_at + self.seconds)

    def get_judging_time(self, streak: FailureStreak) -> float:
        """When a few failures that are no outage yet have lasted for as long as the run waits."""
        return streak.began_at + max(self.seconds, _MIN_WAIT_SECONDS)

    def is_useless(self, streak: FailureStreak) -> bool:
        """Whether the provider says that it is back later than the run waits, and not by a little."""
        if streak.wait is None or streak.back_at is None or streak.wait <= min(self.seconds, _MIN_USELESS_SECONDS):
            return False
        return streak.back_at > self.get_end(streak)
