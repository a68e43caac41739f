"""Even spacing of quantities in time: the generic cell rate algorithm, one number of state."""

from __future__ import annotations


class Pacer:
    """Lets ``rate`` units a second through, evenly, with ``burst`` seconds' worth of tolerance.

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
