"""The generic cell rate algorithm: it spaces quantities evenly in time, with one number of state."""

from __future__ import annotations


class Gcra:
    """Lets ``rate`` units a second through, evenly, with a tolerance of ``burst_seconds`` of that rate.

    A request larger than the tolerance still goes, and the following ones wait until the rate has made up for it.
    The tolerance also makes up for late timers, so that the rate is reached on a busy event loop.
    """

    __slots__ = ("_burst_seconds", "_due_at", "rate")

    def __init__(self, rate: float | None, burst_seconds: float = 0.05) -> None:
        self.rate = rate
        self._burst_seconds = burst_seconds
        self._due_at = float("-inf")

    def ready_at(self) -> float:
        """The moment from which the next request may go."""
        return self._due_at - self._burst_seconds if self.rate is not None else float("-inf")

    def spend(self, amount: float, now: float) -> None:
        """Count a request of ``amount`` units that goes now."""
        if self.rate is not None:
            self._due_at = max(self._due_at, now) + amount / self.rate

    def set_rate(self, rate: float | None, now: float) -> None:
        """Go on at another rate, as if what was counted so far had gone at that rate."""
        if self.rate is not None and rate is not None and self._due_at > now:
            self._due_at = now + (self._due_at - now) * self.rate / rate
        self.rate = rate
